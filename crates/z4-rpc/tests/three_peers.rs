//! A cluster of three over real ports: adding, forwarding, delivering anywhere,
//! losing the leader, removing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use crate::support::client::{Client, ClientError};
use futures::executor::block_on;
use futures::StreamExt;
use grpcio::RpcStatusCode;
use support::{eventually, Peer, SnapshotsOfTest};
use z4_proto::generated::admin::{GetPeerStatusRequest, MemberRole as Role, PeerRole};
use z4_proto::generated::collection::CreateTaskRequest;

fn request(payload: &str) -> CreateTaskRequest {
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    request.set_payload(payload.as_bytes().to_vec());
    request
}

fn three() -> (Vec<Peer>, Vec<Client>) {
    let snapshots = SnapshotsOfTest::default();
    let peers = vec![
        Peer::bootstrapped("a", &snapshots),
        Peer::waiting("b", &snapshots),
        Peer::waiting("c", &snapshots),
    ];
    let clients: Vec<Client> = peers.iter().map(Peer::client).collect();
    clients[0].add_member("b", &peers[1].peer_address).unwrap();
    // Asked of a follower, done by the leader.
    clients[1].add_member("c", &peers[2].peer_address).unwrap();
    (peers, clients)
}

fn status(result: Result<(), ClientError>) -> (RpcStatusCode, String) {
    match result {
        Err(ClientError::Status { code, message }) => (code, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_peers_do_as_one() {
    let (peers, clients) = three();
    // A newcomer votes before it has applied that it does.
    eventually("c knows all", || {
        let info = clients[2].info().unwrap();
        let ids: Vec<_> = info.get_members().iter().map(|m| m.get_id()).collect();
        let voters = info
            .get_members()
            .iter()
            .filter(|m| m.get_role() == Role::MEMBER_ROLE_VOTER);
        let leader = info.get_leader_address() == peers[0].peer_address;
        leader && ids == ["a", "b", "c"] && voters.count() == 3
    });

    // Created anywhere, read anywhere, the leader named.
    for (at, client) in clients.iter().enumerate() {
        let created = client.create(&request("p")).unwrap();
        let expected = if at == 0 { "" } else { &peers[0].peer_address };
        assert_eq!(created.get_forwarded_to(), expected);
        let id = created.get_task().get_id();
        for client in &clients {
            let read = client.get("n", id).unwrap();
            assert_eq!(read.get_payload(), created.get_task().get_payload());
            let asked = created.get_task().get_deliver_at();
            assert_eq!(read.get_deliver_at(), asked);
        }
    }

    // Streams at followers share the tasks; each goes to one of them.
    let mut streams: Vec<_> = clients.iter().map(|c| c.stream("n").unwrap()).collect();
    for i in 0..297 {
        clients[i % 3].create(&request("q")).unwrap();
    }
    let mut seen = BTreeSet::new();
    let mut all = futures::stream::select_all(streams.drain(..));
    for _ in 0..300 {
        let task = block_on(all.next()).unwrap().unwrap();
        assert!(seen.insert(task.get_id().to_owned()), "twice");
    }

    // The leader changes; streams stay and go on.
    clients[1].transfer_leader("c").unwrap();
    eventually("c leads", || {
        let info = clients[0].info().unwrap();
        info.get_leader_id() == "c"
    });
    let created = clients[0].create(&request("r")).unwrap();
    assert_eq!(created.get_forwarded_to(), peers[2].peer_address);
    let task = block_on(all.next()).unwrap().unwrap();
    assert_eq!(task.get_id(), created.get_task().get_id());

    // The leader itself is removed, asked of a follower; it learns of it.
    clients[0].remove_member("c").unwrap();
    eventually("c learns that it was removed", || {
        let info = clients[2].info().unwrap();
        info.get_notice().contains("removed")
    });
    let created = clients[1].create(&request("s")).unwrap();
    assert_ne!(created.get_forwarded_to(), peers[2].peer_address);
    drop(all);
    drop(clients);
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn members_that_cannot_be_are_refused_and_harm_nothing() {
    let snapshots = SnapshotsOfTest::default();
    let a = Peer::bootstrapped("a", &snapshots);
    let b = Peer::waiting("b", &snapshots);
    let other = Peer::bootstrapped("x", &snapshots);
    let client = a.client();
    let dead = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let table = [
        (
            client.add_member("d", &dead),
            RpcStatusCode::FAILED_PRECONDITION,
            "no peer answers",
        ),
        (
            client.add_member("c", &b.peer_address),
            RpcStatusCode::FAILED_PRECONDITION,
            "is b, not c",
        ),
        (
            client.add_member("a", &b.peer_address),
            RpcStatusCode::ALREADY_EXISTS,
            "peer id a",
        ),
        (
            client.add_member("b", &a.peer_address),
            RpcStatusCode::ALREADY_EXISTS,
            "address",
        ),
        (
            client.add_member("b c", &dead),
            RpcStatusCode::INVALID_ARGUMENT,
            "member_id",
        ),
        (
            client.add_member("b", "nowhere"),
            RpcStatusCode::INVALID_ARGUMENT,
            "member_address",
        ),
        (
            client.remove_member("z"),
            RpcStatusCode::NOT_FOUND,
            "no member",
        ),
        (
            client.remove_member("a"),
            RpcStatusCode::FAILED_PRECONDITION,
            "last voter",
        ),
        (
            client.transfer_leader("z"),
            RpcStatusCode::NOT_FOUND,
            "no member",
        ),
    ];
    for (result, code, text) in table {
        let (got, message) = status(result);
        assert_eq!(got, code, "{message}");
        assert!(message.contains(text), "{message}");
    }
    // The two clusters of this test have one id: made another here by its data.
    let (code, message) = status(client.add_member("x", &other.peer_address));
    assert_eq!(code, RpcStatusCode::FAILED_PRECONDITION, "{message}");
    client.create(&request("still serving")).unwrap();
    client.add_member("b", &b.peer_address).unwrap();
    client.create(&request("still serving")).unwrap();
    drop(client);
    for peer in [a, b, other] {
        peer.stop();
    }
}

#[test]
fn each_member_says_how_it_is_whichever_is_asked() {
    let (mut peers, clients) = three();
    let ask = |client: &Client, id: &str| {
        let mut request = GetPeerStatusRequest::default();
        request.set_member_id(id.into());
        let answer = client.admin().get_peer_status(&request);
        answer.map(|answer| answer.get_peers().to_vec())
    };
    clients[1].create(&request("p")).unwrap();
    for client in &clients {
        let told = ask(client, "").unwrap();
        let of: Vec<_> = told
            .iter()
            .map(|peer| (peer.get_id(), peer.get_error(), peer.get_counters().created))
            .collect();
        assert_eq!(of, [("a", "", 0), ("b", "", 1), ("c", "", 0)]);
        assert_eq!(told[0].get_role(), PeerRole::PEER_ROLE_LEADER);
        assert_eq!(told[1].get_role(), PeerRole::PEER_ROLE_FOLLOWER);
    }
    let one = ask(&clients[0], "c").unwrap();
    assert_eq!((one.len(), one[0].get_id()), (1, "c"));
    let nobody = status(ask(&clients[0], "x").map(|_| ()).map_err(Into::into));
    assert_eq!(nobody.0, RpcStatusCode::NOT_FOUND);
    assert!(nobody.1.contains("no member x"), "{}", nobody.1);
    let odd = status(ask(&clients[0], "a b").map(|_| ()).map_err(Into::into));
    assert_eq!(odd.0, RpcStatusCode::INVALID_ARGUMENT);

    // One that is gone keeps nobody waiting.
    peers.remove(1).stop();
    let began_at = std::time::Instant::now();
    let told = ask(&clients[0], "").unwrap();
    let took = began_at.elapsed();
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    assert!(!told[1].get_error().is_empty() && !told[1].get_is_older());
    assert_eq!((told[0].get_error(), told[2].get_error()), ("", ""));
    drop(clients);
    peers.into_iter().for_each(Peer::stop);
}
