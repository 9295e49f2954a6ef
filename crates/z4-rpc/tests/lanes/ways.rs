//! Which way messages go: over lanes while they are up, else over gRPC.

use crate::dialled::Dialled;
use crate::support::client::Client;
use crate::support::{eventually, Peer, SnapshotsOfTest};
use crate::{alone, create, is_up, opening, sent, stop};

/// Three peers with their ports of lanes at these addresses.
fn three(lanes: [Option<&str>; 3]) -> (Vec<Peer>, Client) {
    let snapshots = SnapshotsOfTest::default();
    let peers = vec![
        Peer::bootstrapped_with("a", &snapshots, lanes[0]),
        Peer::waiting_with("b", &snapshots, lanes[1]),
        Peer::waiting_with("c", &snapshots, lanes[2]),
    ];
    let client = peers[0].client();
    client.add_member("b", &peers[1].peer_address).unwrap();
    client.add_member("c", &peers[2].peer_address).unwrap();
    (peers, client)
}

const HERE: Option<&str> = Some("127.0.0.1:0");
/// Members dial 127.0.0.1, where nobody listens then.
const ELSEWHERE: Option<&str> = Some("127.0.0.2:0");

fn others(n: usize) -> impl Iterator<Item = u64> {
    (1..=3).filter(move |id| *id != n as u64 + 1)
}

#[test]
fn messages_go_over_lanes() {
    let _alone = alone();
    let (peers, client) = three([HERE; 3]);
    for (n, peer) in peers.iter().enumerate() {
        eventually("all lanes are up", || others(n).all(|to| is_up(peer, to)));
    }
    let before: Vec<_> = peers
        .iter()
        .map(|p| (sent(p, "lane"), sent(p, "grpc")))
        .collect();
    create(&client, 200);
    for (peer, (lane, _)) in peers.iter().zip(&before) {
        let now = sent(peer, "lane");
        assert!(now >= lane + 150, "{now}, {lane} before");
    }
    // A busy machine may leave a lane in doubt for a moment.
    let by_grpc: u64 = peers
        .iter()
        .zip(&before)
        .map(|(p, b)| sent(p, "grpc") - b.1)
        .sum();
    let by_lane: u64 = peers
        .iter()
        .zip(&before)
        .map(|(p, b)| sent(p, "lane") - b.0)
        .sum();
    assert!(
        by_grpc < by_lane / 4,
        "{by_grpc} by gRPC, {by_lane} by lane"
    );
    // A member that is removed is told so, and its lanes are closed.
    client.remove_member("c").unwrap();
    eventually("c learns it", || {
        peers[2]
            .client()
            .info()
            .unwrap()
            .get_notice()
            .contains("removed")
    });
    create(&client, 10);
    drop(client);
    stop(peers);
}

#[test]
fn without_a_way_to_the_port_everything_goes_over_grpc() {
    let _alone = alone();
    let (peers, client) = three([HERE, ELSEWHERE, HERE]);
    eventually("a and c have lanes", || {
        is_up(&peers[0], 3) && is_up(&peers[2], 1)
    });
    create(&client, 50);
    assert!(!is_up(&peers[0], 2) && !is_up(&peers[2], 2));
    assert!(sent(&peers[0], "grpc") >= 50, "{}", sent(&peers[0], "grpc"));
    // What it sends goes over lanes all the same: the ways are one for each direction.
    eventually("b has a lane to a", || is_up(&peers[1], 1));
    client.transfer_leader("b").unwrap();
    create(&peers[1].client(), 50);
    assert!(sent(&peers[1], "lane") >= 50, "{}", sent(&peers[1], "lane"));
    drop(client);
    stop(peers);
}

#[test]
fn a_peer_without_a_port_of_lanes_has_none_and_the_others_have() {
    let _alone = alone();
    let (peers, client) = three([None, HERE, HERE]);
    eventually("b and c have lanes", || {
        is_up(&peers[1], 3) && is_up(&peers[2], 2)
    });
    create(&client, 50);
    assert_eq!(sent(&peers[0], "lane"), 0);
    for peer in &peers[1..] {
        assert!(!is_up(peer, 1));
        assert!(sent(peer, "grpc") >= 50, "{}", sent(peer, "grpc"));
    }
    drop(client);
    stop(peers);
}

#[test]
fn a_lane_that_breaks_comes_back_and_nothing_waits_for_it() {
    let _alone = alone();
    let (peers, client) = three([HERE; 3]);
    eventually("the lanes are up", || {
        is_up(&peers[0], 2) && is_up(&peers[0], 3)
    });
    for _ in 0..3 {
        // Somebody else shows a secret of the leader, which breaks its lane.
        let taken: Vec<Dialled> = peers[1..]
            .iter()
            .zip(2..)
            .map(|(peer, to)| Dialled::open(peer, &opening(1, to)))
            .collect();
        create(&client, 20);
        drop(taken);
        let before = sent(&peers[0], "lane");
        eventually("the lanes are up again", || {
            create(&client, 1);
            is_up(&peers[0], 2) && is_up(&peers[0], 3) && sent(&peers[0], "lane") > before + 20
        });
    }
    assert_eq!(peers[0].node.handle().status().leader, 1, "no election");
    drop(client);
    stop(peers);
}

#[test]
fn a_port_that_goes_away_keeps_nobody_from_writing() {
    let _alone = alone();
    let (mut peers, client) = three([HERE; 3]);
    eventually("the lanes are up", || {
        is_up(&peers[0], 2) && is_up(&peers[0], 3)
    });
    // From here on the followers take no lanes.
    for peer in &mut peers[1..] {
        peer.lane_port.take().unwrap().stop();
    }
    let before = sent(&peers[0], "grpc");
    create(&client, 50);
    eventually("no lane is up", || {
        !is_up(&peers[0], 2) && !is_up(&peers[0], 3)
    });
    create(&client, 50);
    assert!(sent(&peers[0], "grpc") >= before + 100);
    drop(client);
    stop(peers);
}
