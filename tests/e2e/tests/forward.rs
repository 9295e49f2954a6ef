//! Any peer takes a create, and says who leads.

use z4_e2e::{create, Cluster};

#[test]
fn followers_name_the_leader_and_the_leader_nobody() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let address = cluster.peers[leader].peer_address();
    for (n, peer) in cluster.peers.iter().enumerate() {
        let wanted = if n == leader { "" } else { address.as_str() };
        let client = peer.client();
        let request = create("forward", peer.spec.id.as_bytes());
        let unary = client.create(&request).expect("it is created");
        assert_eq!(
            unary.get_forwarded_to(),
            wanted,
            "{} by CreateTask",
            peer.spec.id
        );
        let accepted = client
            .collection
            .create_task_accepted(&request)
            .expect("it is taken");
        assert_eq!(
            accepted.get_forwarded_to(),
            wanted,
            "{} by CreateTaskAsync",
            peer.spec.id
        );
        for asynchronous in [false, true] {
            let answers =
                crate::streams::pipeline(&client, std::slice::from_ref(&request), asynchronous);
            assert_eq!(answers.len(), 1);
            assert_eq!(
                answers[0].get_forwarded_to(),
                wanted,
                "{} on a stream",
                peer.spec.id
            );
        }
    }
}
