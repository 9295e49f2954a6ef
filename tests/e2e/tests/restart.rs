//! A peer stops cleanly, comes back with its data, and refuses directories
//! that are not its own.

use std::time::Duration;

use z4_e2e::audit::{drain, Audit};
use z4_e2e::command::{clean, run, Finished};
use z4_e2e::load::Load;
use z4_e2e::ports::Port;
use z4_e2e::{binaries, create, Cluster, Edit, Peer, PeerSpec, Reader};

const LIMIT: Duration = Duration::from_secs(15);

/// A start that must fail did, and said these words.
fn refused(done: &Finished, words: &[&str]) {
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(done.code > 0, "exit code {}: {said}", done.code);
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

#[test]
fn sigterm_exits_0_and_the_data_is_there_again() {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let load = Load::start(&clients, "term", 4, Duration::ZERO);
    load.wait_for_more(30, LIMIT);
    let leader = cluster.wait_leader();
    let reader = Reader::open(&clients[leader], "idle");
    let status = cluster.peers[leader].terminate(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0), "{status}");
    drop(reader);
    load.wait_for_more(30, LIMIT);
    cluster.start_missing();
    load.wait_for_more(10, LIMIT);
    let told = load.finish();
    for peer in &mut cluster.peers {
        let status = peer.terminate(Duration::from_secs(10));
        assert_eq!(status.code(), Some(0), "{}: {status}", peer.spec.id);
    }
    cluster.start_missing();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let came = drain(&clients, "term", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
}

#[test]
fn a_waiting_peer_stops_on_sigterm_too() {
    let mut peer = Peer::started(PeerSpec::waiting("peer1"));
    assert_eq!(peer.terminate(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn bootstrap_is_ignored_at_a_restart_and_the_log_says_so() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let client = peer.client();
    let cluster = client.info().unwrap().get_cluster_id().to_owned();
    let made = client
        .create(&create("boot", "x").in_seconds(3_600))
        .unwrap();
    peer.terminate(LIMIT);
    let before = peer.log().len();
    peer.start();
    peer.wait_ready();
    assert_eq!(client.info().unwrap().get_cluster_id(), cluster);
    client
        .get("boot", made.get_task().get_id())
        .expect("it is there");
    let log = peer.log()[before..].to_lowercase();
    let line = log
        .lines()
        .find(|l| l.contains("bootstrap") && l.contains("ignor"));
    assert!(line.is_some(), "no line says so in {log}");
}

#[test]
fn a_second_process_on_the_same_directories_is_refused() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let ports = [Port::claim(), Port::claim(), Port::claim(), Port::claim()];
    let number = |n: usize| ports[n].number().to_string();
    let mut second = peer.command();
    second
        .env("Z4_SERVICE_PORT", number(0))
        .env("Z4_PEER_PORT", number(1))
        .env("Z4_METRICS_PORT", number(2))
        .env("Z4_PEER_LANE_PORT", number(3));
    let done = run(second, LIMIT);
    refused(&done, &[peer.folder_text().as_str()]);
    peer.client()
        .create(&create("first", "x"))
        .expect("the first serves on");
}

#[test]
fn a_second_process_on_the_same_ports_is_refused() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let other = Peer::new(PeerSpec::bootstrap("peer1"));
    for (name, address) in [
        ("Z4_SERVICE_PORT", peer.service_address()),
        ("Z4_PEER_PORT", peer.peer_address()),
        ("Z4_METRICS_PORT", peer.metrics_address()),
    ] {
        let port = address.rsplit(':').next().unwrap().to_owned();
        let mut second = other.command();
        second.env(name, &port);
        refused(&run(second, LIMIT), &[&port]);
    }
    peer.client()
        .create(&create("first", "x"))
        .expect("the first serves on");
}

#[test]
fn directories_of_another_peer_or_cluster_are_refused() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    let mut other = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    other.wait_ready();
    peer.terminate(LIMIT);
    other.terminate(LIMIT);
    peer.spec.id = "peer7".to_owned();
    refused(&peer.run_to_end(), &["peer1", "peer7"]);
    peer.spec.id = "peer1".to_owned();
    // The task data of one, the log of the other.
    let mut mixed = peer.command();
    mixed.env("Z4_DB_DATA_DIR", other.db_folder());
    refused(&run(mixed, LIMIT), &["cluster"]);
    let mut lost = peer.command();
    lost.env("Z4_PEER_DATA_DIR", peer.db_folder().with_file_name("fresh"));
    refused(&run(lost, LIMIT), &[peer.db_folder().to_str().unwrap()]);
    peer.start();
    peer.wait_ready();
}

#[test]
fn a_peer_without_an_id_says_what_is_missing() {
    let mut command = clean(&binaries::find("z4-server"));
    command.current_dir(std::env::temp_dir());
    let done = run(command, LIMIT);
    refused(&done, &["Z4_PEER_ID"]);
}

#[test]
fn bad_settings_are_refused_by_name() {
    let peer = Peer::new(PeerSpec::bootstrap("peer1"));
    for (name, value) in [
        ("Z4_SERVICE_PORT", "70000"),
        ("Z4_PEER_PORT", "x"),
        ("Z4_METRICS_PORT", "-1"),
        ("Z4_BOOTSTRAP_CLUSTER", "perhaps"),
        ("Z4_PEER_ADVERTISE_ADDR", "no port"),
        ("Z4_PEER_ID", "a b/c"),
        ("Z4_CONNECTIONS_MAX", "18446744073709551615"),
    ] {
        let mut command = peer.command();
        command.env(name, value);
        let done = run(command, LIMIT);
        let flag = name
            .trim_start_matches("Z4_")
            .to_lowercase()
            .replace('_', "-");
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(done.code > 0, "{name}={value}: {done:?}");
        assert!(
            said.contains(name) || said.contains(&flag),
            "{name} is not named in {said}"
        );
    }
}
