//! A peer is added only when it and all members reach each other, one at a time,
//! and an addition that was refused leaves the newcomer as it was.

use std::thread;

use z4_e2e::command::Finished;
use z4_e2e::{Cluster, Peer, PeerSpec, Tool};
use z4_proto::generated::admin::PeerRole;

/// How often two additions at once are tried.
const ROUNDS: usize = 6;
/// How often one that was told to wait asks again.
const TRIES: usize = 20;

fn add(tool: &Tool, id: &str, address: &str) -> Finished {
    tool.run(&["add-peer", "-p", address, "--id", id])
}

fn role(peer: &Peer) -> PeerRole {
    peer.client().info().unwrap().get_role()
}

#[test]
fn loopback_is_refused_as_soon_as_a_member_is_elsewhere() {
    let mut near = Peer::started(PeerSpec::bootstrap("peer1"));
    near.wait_ready();
    let done = add(&Tool::at(&near), "peer2", "10.255.0.2:6356");
    assert_eq!(done.code, 1, "{done:?}");
    for word in [
        "peer1 is at 127.0.0.1:",
        "Z4_PEER_ADVERTISE_ADDR of peer1",
        "10.255.0.2:6356",
    ] {
        assert!(done.stderr.contains(word), "{word}: {done:?}");
    }
    let elsewhere = ("Z4_PEER_ADVERTISE_ADDR", "10.255.0.1:6356");
    let mut far = Peer::started(PeerSpec::bootstrap("peer1").with(elsewhere.0, elsewhere.1));
    far.wait_ready();
    let newcomer = Peer::started(PeerSpec::waiting("peer2"));
    let done = add(&Tool::at(&far), "peer2", &newcomer.peer_address());
    assert_eq!(done.code, 1, "{done:?}");
    assert!(
        done.stderr.contains("Z4_PEER_ADVERTISE_ADDR of peer2"),
        "{done:?}"
    );
    assert_eq!(role(&newcomer), PeerRole::PEER_ROLE_WAITING);
}

#[test]
fn addresses_that_nobody_can_dial_are_refused_by_the_call_too() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    for address in ["0.0.0.0:6356", " 127.0.0.1:1", "bad host:1", "[::]:1"] {
        let refused = peer.client().add_member("peer2", address).unwrap_err();
        assert!(refused.message.contains("member_address"), "{refused}");
        // The tool sees it before it asks anybody.
        let done = add(&Tool::at(&peer), "peer2", address);
        assert_eq!(done.code, 2, "{address}: {done:?}");
    }
}

#[test]
fn a_newcomer_that_does_not_reach_a_member_is_not_touched() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let gone = cluster.others(leader)[0];
    let newcomer = Peer::started(PeerSpec::waiting("peer4"));
    cluster.peers[gone].kill();
    let tool = Tool::at(&cluster.peers[leader]);
    let done = add(&tool, "peer4", &newcomer.peer_address());
    assert_eq!(done.code, 1, "{done:?}");
    let named = [
        cluster.peers[gone].spec.id.clone(),
        cluster.peers[gone].peer_address(),
        "nothing was changed".to_owned(),
    ];
    for word in named {
        assert!(done.stderr.contains(&word), "{word}: {done:?}");
    }
    assert_eq!(role(&newcomer), PeerRole::PEER_ROLE_WAITING);
    let info = cluster.peers[leader].client().info().unwrap();
    assert_eq!(info.get_members().len(), 3, "{info:?}");
    let leader = cluster.start_missing();
    cluster.peers.push(newcomer);
    let address = cluster.peers[3].peer_address();
    let done = add(&Tool::at(&cluster.peers[leader]), "peer4", &address);
    assert_eq!(done.code, 0, "{done:?}");
    cluster.wait_settled();
}

/// Adds the peer; one that is told that members are changing asks again.
fn add_in_turn(tool: &Tool, id: &str, address: &str) -> Finished {
    let mut done = add(tool, id, address);
    for _ in 0..TRIES {
        if !done.stderr.contains("members are changing") {
            break;
        }
        done = add(tool, id, address);
    }
    done
}

#[test]
fn two_peers_are_added_at_once() {
    for round in 0..ROUNDS {
        let mut cluster = Cluster::single();
        cluster
            .peers
            .push(Peer::started(PeerSpec::waiting("peer2")));
        cluster
            .peers
            .push(Peer::started(PeerSpec::waiting("peer3")));
        let tool = Tool::at(&cluster.peers[0]);
        let done: Vec<Finished> = thread::scope(|scope| {
            let adding = [1, 2].map(|n| {
                let (tool, address) = (&tool, cluster.peers[n].peer_address());
                scope.spawn(move || add_in_turn(tool, &format!("peer{}", n + 1), &address))
            });
            adding.map(|thread| thread.join().unwrap()).into()
        });
        for done in &done {
            assert_eq!(done.code, 0, "round {round}: {done:?}");
        }
        cluster.wait_settled();
    }
}

#[test]
fn one_peer_is_added_twice_at_once() {
    let mut cluster = Cluster::single();
    cluster
        .peers
        .push(Peer::started(PeerSpec::waiting("peer2")));
    let tool = Tool::at(&cluster.peers[0]);
    let address = cluster.peers[1].peer_address();
    let done: Vec<Finished> = thread::scope(|scope| {
        let adding = [(), ()].map(|()| scope.spawn(|| add_in_turn(&tool, "peer2", &address)));
        adding.map(|thread| thread.join().unwrap()).into()
    });
    // Whichever came late finds a peer that is a member already, or waits for the
    // same end.
    let is_well = |done: &Finished| done.code == 0 || done.stderr.contains("member already");
    assert!(done.iter().all(is_well), "{done:?}");
    assert!(done.iter().any(|d| d.code == 0), "{done:?}");
    cluster.wait_settled();
    let info = cluster.peers[0].client().info().unwrap();
    assert_eq!(info.get_members().len(), 2, "{info:?}");
}
