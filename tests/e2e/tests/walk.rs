//! The lines of the administrator, exactly as written.

use std::time::{Duration, Instant};

use z4_e2e::command::{z4t, Finished};
use z4_e2e::ports::Port;
use z4_e2e::{create, Cluster, Peer, PeerSpec};

fn local(peer: &Peer) -> String {
    peer.service_address().replace("127.0.0.1", "localhost")
}

fn said(done: &Finished, line: &str) {
    let wanted = (0, format!("{line}\n"));
    assert_eq!((done.code, done.stdout.clone()), wanted, "{done:?}");
}

fn refused(done: &Finished, word: &str) {
    assert_ne!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, "", "{done:?}");
    assert_eq!(done.stderr.trim_end().lines().count(), 1, "{done:?}");
    assert!(done.stderr.contains(word), "{word} is not in {done:?}");
}

fn info_of(server: &str, leader: &str, members: &[(&str, String)]) -> String {
    let member = |(id, address): &(&str, String)| {
        format!("    {{\n      \"id\": \"{id}\",\n      \"address\": \"{address}\"\n    }}")
    };
    let members: Vec<String> = members.iter().map(member).collect();
    format!(
        "{{\n  \"server_id\": \"{server}\",\n  \"leader_address\": \"{leader}\",\n  \
         \"members\": [\n{}\n  ]\n}}\n",
        members.join(",\n")
    )
}

#[test]
fn info_add_and_remove_as_written() {
    let mut one = Peer::started(PeerSpec::bootstrap("peer1"));
    let two = Peer::started(PeerSpec::waiting("peer2"));
    one.wait_ready();
    let (target, leader) = (local(&one), one.peer_address());
    let alone = info_of("peer1", &leader, &[("peer1", leader.clone())]);
    let both = [("peer1", leader.clone()), ("peer2", two.peer_address())];

    assert_eq!(z4t(&["-t", &target, "info"]).stdout, alone);
    let added = z4t(&[
        "-t",
        &target,
        "-p",
        &two.peer_address(),
        "-id",
        "peer2",
        "add-peer",
    ]);
    said(&added, "peer added");
    assert_eq!(
        z4t(&["-t", &target, "info"]).stdout,
        info_of("peer1", &leader, &both)
    );
    // Flags may follow the command, and a follower may be asked.
    let at_follower = z4t(&["info", "-t", &local(&two)]);
    assert_eq!(at_follower.stdout, info_of("peer2", &leader, &both));
    let removed = z4t(&["-t", &target, "-id", "peer2", "remove-peer"]);
    said(&removed, "peer removed");
    assert_eq!(z4t(&["-t", &target, "info"]).stdout, alone);
}

#[test]
fn add_and_remove_at_a_follower() {
    let mut cluster = Cluster::of(2, &[]);
    let leader = cluster.wait_leader();
    let follower = local(&cluster.peers[cluster.others(leader)[0]]);
    let three = Peer::started(PeerSpec::waiting("peer3"));
    let added = z4t(&[
        "add-peer",
        "-t",
        &follower,
        "-p",
        &three.peer_address(),
        "-id",
        "peer3",
    ]);
    said(&added, "peer added");
    let removed = z4t(&["remove-peer", "-id", "peer3", "-t", &follower]);
    said(&removed, "peer removed");
}

#[test]
fn removing_an_unknown_peer_is_an_error() {
    let cluster = Cluster::single();
    let done = z4t(&[
        "-t",
        &local(&cluster.peers[0]),
        "-id",
        "nobody",
        "remove-peer",
    ]);
    refused(&done, "nobody");
}

#[test]
fn a_dead_address_is_refused_and_the_cluster_works_on() {
    let cluster = Cluster::single();
    let (target, dead) = (local(&cluster.peers[0]), Port::claim());
    let address = format!("127.0.0.1:{}", dead.number());
    let start = Instant::now();
    let done = z4t(&["-t", &target, "-p", &address, "-id", "peer2", "add-peer"]);
    refused(&done, &address);
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    let client = cluster.peers[0].client();
    assert_eq!(client.info().unwrap().get_members().len(), 1);
    client
        .create(&create("walk", "still here"))
        .expect("the cluster works on");
}

#[test]
fn a_taken_id_and_a_peer_of_another_cluster_are_refused() {
    let cluster = Cluster::of(2, &[]);
    let mut other = Peer::started(PeerSpec::bootstrap("peer9"));
    other.wait_ready();
    let newcomer = Peer::started(PeerSpec::waiting("peer2"));
    let target = local(&cluster.peers[0]);
    let taken = z4t(&[
        "-t",
        &target,
        "-p",
        &newcomer.peer_address(),
        "-id",
        "peer2",
        "add-peer",
    ]);
    refused(&taken, "peer2");
    let foreign = z4t(&[
        "-t",
        &target,
        "-p",
        &other.peer_address(),
        "-id",
        "peer9",
        "add-peer",
    ]);
    refused(&foreign, "cluster");
    // Neither is it taken under a name that it does not bear.
    let named = z4t(&[
        "-t",
        &target,
        "-p",
        &newcomer.peer_address(),
        "-id",
        "peer3",
        "add-peer",
    ]);
    refused(&named, "peer2");
    assert_eq!(
        cluster.peers[0]
            .client()
            .info()
            .unwrap()
            .get_members()
            .len(),
        2
    );
}

#[test]
fn wrong_usage_and_dead_targets_do_not_exit_0() {
    let dead = Port::claim();
    let target = format!("localhost:{}", dead.number());
    refused(&z4t(&["-t", &target, "info"]), &dead.number().to_string());
    for arguments in [
        &["-t", &target, "add-peer"][..],
        &["no-such-command"],
        &["info", "--what"],
    ] {
        let done = z4t(arguments);
        assert_ne!(done.code, 0, "{arguments:?}: {done:?}");
        assert!(!done.stderr.is_empty(), "{arguments:?}: {done:?}");
        assert!(!done.stderr.contains("panicked"), "{arguments:?}: {done:?}");
    }
}
