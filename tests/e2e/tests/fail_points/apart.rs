//! Points that are met in a situation of their own: damage, removal, a log that
//! another replaces, a full disk, a snapshot that does not go out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use z4_e2e::client::option;
use z4_e2e::command::z4t;
use z4_e2e::{create, http, wait, Cluster, Edit, Peer, PeerSpec};
use z4_proto::generated::admin::PeerRole;
use z4_proto::generated::collection::{Extend, ExtendLeasesRequest, LeaseTasksRequest};

use super::acts::{all_there, ended, set, CALL, ERROR, LIMIT};
use super::End;

/// As [`ERROR`], in the environment of a peer.
fn faults(point: &str) -> String {
    format!("{point}=return(disk on fire)")
}

/// The largest file of the folder with this ending.
fn largest(folder: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|found| found == ending));
    let largest = files.max_by_key(|path| std::fs::metadata(path).unwrap().len());
    largest.unwrap_or_else(|| panic!("no .{ending} in {}", folder.display()))
}

/// A peer alone that has tasks, stopped as by kill -9.
fn dead_peer() -> (Peer, std::collections::BTreeSet<String>) {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let client = peer.client();
    let made = (0..40).map(|n| {
        let answer = client.create(&create("points", vec![n; 1_024]));
        answer.unwrap().get_task().get_id().to_owned()
    });
    let made = made.collect();
    peer.kill();
    (peer, made)
}

/// `/readyz` is asked over a connection too, and the point is that of all ports:
/// a few connections fail, and those that come after are taken.
#[test]
fn a_port_that_accepts_nothing_for_a_while_serves_again() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let before = peer.log().len();
    // Without a descriptor, and with a socket that is none any more.
    for what in ["none%20left", "listener"] {
        set(&peer, "port.accept", &format!("20*return({what})"));
        let client = z4_e2e::Client::new(&peer.service_address());
        wait::until("a newcomer is served", LIMIT, || {
            let made = client.create(&create("points", what.as_bytes()));
            made.map(|_| ()).map_err(|e| e.to_string())
        });
        peer.wait_ready();
        assert!(peer.is_running(), "{what}");
    }
    let log = &peer.log()[before..];
    assert!(log.contains("no connection is accepted"), "{log}");
    assert!(log.contains("connections are accepted again"), "{log}");
}

#[test]
fn a_log_that_cannot_be_read_at_start_ends_the_peer() {
    let (mut peer, made) = dead_peer();
    let before = peer.log().len();
    peer.spec = peer.spec.clone().with("FAILPOINTS", &faults("log.read"));
    peer.start();
    ended(&mut peer, "log.read", End::Said, before, Instant::now());
    peer.spec.variables.clear();
    peer.start();
    peer.wait_ready();
    peer.wait_answers();
    all_there(&peer.client(), "log.read", &made);
}

#[test]
fn a_leader_that_cannot_read_what_a_follower_lacks_ends_and_another_leads() {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let leader = cluster.wait_leader();
    let [away, stays] = cluster.others(leader)[..] else {
        panic!("three peers");
    };
    cluster.peers[away].kill();
    let made = (0..40).map(|n| {
        let answer = clients[leader].create(&create("points", vec![n; 1_024]));
        answer.unwrap().get_task().get_id().to_owned()
    });
    let made = made.collect();
    // Both forget what they have in memory.
    for place in [leader, stays] {
        cluster.peers[place].kill();
    }
    for place in [leader, stays] {
        cluster.peers[place].start();
        cluster.peers[place].wait_answers();
    }
    let leader = cluster.wait_leader();
    let before = cluster.peers[leader].log().len();
    set(&cluster.peers[leader], "log.read", ERROR);
    cluster.peers[away].start();
    let since = Instant::now();
    ended(
        &mut cluster.peers[leader],
        "log.read",
        End::Said,
        before,
        since,
    );
    cluster.start_missing();
    for client in clients {
        all_there(&client, "log.read", &made);
    }
}

#[test]
fn a_damaged_peer_ends_even_if_it_cannot_note_it() {
    // With and without a mark on disk: it must not serve either way.
    let (mut peer, _) = dead_peer();
    let wal = largest(&peer.peer_folder().join("log"), "log");
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&wal, &bytes).unwrap();
    peer.spec = peer
        .spec
        .clone()
        .with("FAILPOINTS", &faults("quarantine.write"));
    for _ in 0..2 {
        let done = peer.run_to_end();
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_ne!(done.code, 0, "{said}");
        assert!(said.contains("disk on fire"), "{said}");
        assert!(
            said.to_lowercase().contains("checksum"),
            "the damage: {said}"
        );
        assert!(said.contains("add it anew"), "{said}");
        assert!(!peer.peer_folder().join("QUARANTINE").exists());
    }
    peer.spec.variables.clear();
    for _ in 0..2 {
        let done = peer.run_to_end();
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_ne!(done.code, 0, "{said}");
        assert!(said.contains("is quarantined"), "{said}");
    }
}

#[test]
fn a_peer_that_cannot_note_that_it_holds_the_level_ends() {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let before = peer.log().len();
    set(&peer, "level_hold.write", ERROR);
    let (target, since) = (peer.service_address(), Instant::now());
    let done = z4t(&["-t", &target, "upgrade", "hold"]);
    assert_ne!(done.code, 0, "{done:?}");
    ended(&mut peer, "level_hold.write", End::Said, before, since);
    let held = |peer: &Peer| {
        let info = peer.client().info().expect("it answers");
        info.get_members()[0].get_level_held()
    };
    peer.start();
    peer.wait_ready();
    assert!(!held(&peer), "it was not noted");
    assert_eq!(z4t(&["-t", &target, "upgrade", "hold"]).code, 0);
    peer.kill();
    peer.start();
    peer.wait_ready();
    assert!(held(&peer), "it was noted");
}

#[test]
fn a_removed_peer_that_cannot_note_it_ends_and_learns_it_again() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let gone = cluster.others(leader)[0];
    let client = cluster.peers[leader].client();
    let before = cluster.peers[gone].log().len();
    set(&cluster.peers[gone], "removed.mark", ERROR);
    let since = Instant::now();
    let id = cluster.peers[gone].spec.id.clone();
    client.remove_member(&id).expect("it is removed");
    ended(
        &mut cluster.peers[gone],
        "removed.mark",
        End::Said,
        before,
        since,
    );
    let term = client.info().unwrap().get_term();
    let peer = &mut cluster.peers[gone];
    peer.start();
    // It knows by its data, or the others tell it: it serves nobody, and when it
    // has noted it, it starts no more.
    let own = peer.client();
    wait::until("it knows that it is removed", LIMIT, || {
        let info = own.info().map_err(|e| e.to_string())?;
        let removed = info.get_role() == PeerRole::PEER_ROLE_REMOVED;
        wait::check(removed, || format!("{info:?}"))
    });
    let refused = own.create(&create("points", "x")).unwrap_err();
    assert!(refused.message.contains("removed"), "{refused}");
    // Three of the longest election time-outs.
    std::thread::sleep(Duration::from_secs(3));
    let info = client.info().unwrap();
    assert_eq!(info.get_term(), term, "the removed peer disturbed");
    client
        .create(&create("points", "x"))
        .expect("the others go on");
    cluster.peers[gone].kill();
    let spec = cluster.peers[gone].spec.clone();
    cluster.peers[gone].spec = spec.with("Z4_ON_REMOVED", "exit");
    let done = cluster.peers[gone].run_to_end();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(done.code == 0 && said.contains("removed"), "{said}");
}

#[test]
fn a_peer_whose_log_is_replaced_ends_between_bound_and_entries_and_comes_back() {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let old = cluster.wait_leader();
    let others = cluster.others(old);
    let mut made = std::collections::BTreeSet::new();
    let mut create_at = |place: usize| {
        let request = create("points", "x").id("kept");
        let answer = z4_e2e::client::create_anywhere(&clients, place, &request, LIMIT);
        made.insert(answer.expect("it is created").task_id);
    };
    create_at(old);
    let before = cluster.peers[old].log().len();
    set(&cluster.peers[old], "log.bound_lowered", ERROR);
    for place in &others {
        cluster.peers[*place].kill();
    }
    // Its own log has these, and no other.
    for n in 0..4 {
        let request = create("points", vec![n]);
        let limit = Duration::from_millis(200);
        clients[old].create_within(&request, limit).unwrap_err();
    }
    cluster.peers[old].pause();
    for place in &others {
        cluster.peers[*place].start();
        cluster.peers[*place].wait_answers();
    }
    wait::until("one of the others leads", LIMIT, || {
        let info = clients[others[0]].info().map_err(|e| e.to_string())?;
        let leader = info.get_leader_id();
        let leads = !leader.is_empty() && leader != cluster.peers[old].spec.id;
        wait::check(leads, || format!("{info:?}"))
    });
    create_at(others[0]);
    cluster.peers[old].resume();
    let peer = &mut cluster.peers[old];
    ended(
        peer,
        "log.bound_lowered",
        End::Killed,
        before,
        Instant::now(),
    );
    cluster.start_missing();
    for client in &clients {
        all_there(client, "log.bound_lowered", &made);
    }
}

/// Entries without creates: a lease is extended again and again.
fn extend_until_refused(peer: &Peer) {
    let collection = peer.client().collection;
    let mut request = LeaseTasksRequest::new();
    request.set_namespace("points".to_owned());
    request.set_max_tasks(1);
    let leased = collection.lease_tasks_opt(&request, option(CALL)).unwrap();
    let delivery = &leased.get_deliveries()[0];
    let mut extend = Extend::new();
    extend.set_task_id(delivery.get_task().get_id().to_owned());
    extend.set_lease_token(delivery.get_lease_token());
    extend.mut_lease().set_seconds(60);
    let mut extends = ExtendLeasesRequest::new();
    extends.set_namespace("points".to_owned());
    extends.mut_extends().push(extend);
    let end = Instant::now() + LIMIT;
    while collection.extend_leases_opt(&extends, option(CALL)).is_ok() {
        assert!(Instant::now() < end, "log.release is not reached");
    }
}

#[test]
fn a_peer_that_cannot_give_space_back_ends() {
    let (mut peer, made) = dead_peer();
    let before = peer.log().len();
    // More than there is on any disk: space is low, and given back.
    peer.spec = peer
        .spec
        .clone()
        .with("Z4_LOG_KEEP_ENTRIES", "20")
        .with("Z4_DISK_RESERVE_BYTES", &(1_u64 << 60).to_string());
    peer.start();
    peer.wait_ready();
    peer.wait_answers();
    set(&peer, "log.release", ERROR);
    let since = Instant::now();
    extend_until_refused(&peer);
    ended(&mut peer, "log.release", End::Said, before, since);
    peer.spec.variables.clear();
    peer.start();
    peer.wait_ready();
    peer.wait_answers();
    all_there(&peer.client(), "log.release", &made);
}

/// How many snapshots a peer keeps for others.
fn snapshots(peer: &Peer) -> usize {
    let held = std::fs::read_dir(peer.db_folder().join("snapshots"));
    held.unwrap().count()
}

#[test]
fn a_snapshot_that_is_not_sent_or_not_removed_is_borne() {
    let ids = ["peer1", "peer2", "peer3"];
    let mut peers: Vec<Peer> = ids
        .map(|id| match id {
            "peer1" => Peer::new(PeerSpec::bootstrap(id)),
            _ => Peer::new(PeerSpec::waiting(id)),
        })
        .into();
    peers.iter_mut().for_each(Peer::start);
    peers.iter_mut().for_each(Peer::wait_answers);
    peers[0].wait_ready();
    let mut cluster = Cluster { peers };
    let client = cluster.peers[0].client();
    let answer = client.create(&create("points", "x")).unwrap();
    let made = [answer.get_task().get_id().to_owned()].into();
    set(&cluster.peers[0], "snapshot.send", &format!("1*{ERROR}"));
    set(&cluster.peers[0], "checkpoint.remove", ERROR);
    // The second newcomer needs a snapshot of its own, and the first goes.
    for n in [1, 2] {
        cluster.join(n);
        cluster.peers[n].wait_ready();
    }
    cluster.wait_settled();
    let log = cluster.peers[0].log();
    assert!(
        log.contains("fail point snapshot.send: disk on fire"),
        "{log}"
    );
    wait::until("two are kept", LIMIT, || {
        let kept = snapshots(&cluster.peers[0]);
        wait::check(kept == 2, || format!("{kept}"))
    });
    let peer = &mut cluster.peers[0];
    assert!(peer.is_running());
    let (code, _) = http::get(&peer.metrics_address(), "/healthz").unwrap();
    assert_eq!(code, 200);
    // What was not removed goes at the next start.
    peer.kill();
    peer.start();
    peer.wait_ready();
    assert_eq!(snapshots(peer), 0);
    for client in cluster.clients() {
        all_there(&client, "snapshot.send", &made);
    }
}
