//! The threads of several peers in one process, over memory: what the replica
//! decides must also happen when real threads do the work.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use std::sync::{mpsc, Mutex};
use std::time::{Duration, Instant};

use support::Cluster;
use z4_consensus::runtime::{Proposal, Sink};
use z4_consensus::{Change, ProposeError, Role};

const WAIT: Duration = Duration::from_secs(10);

fn three() -> Cluster {
    let mut cluster = Cluster::bootstrap();
    cluster.add(2);
    cluster.add(3);
    cluster
}

#[test]
fn a_single_peer_commits_and_answers() {
    let cluster = Cluster::bootstrap();
    let done = cluster.propose(1, b"one").expect("committed");
    assert_eq!(done.reply, 1);
    assert_eq!(cluster.propose(1, b"two").expect("committed").reply, 2);
    let index = cluster.read(1).expect("a read");
    assert!(index >= done.position.index);
}

#[test]
fn the_raft_thread_applies_what_is_light_and_small_and_comes_alone() {
    let cluster = Cluster::bootstrap();
    let threads = |command: &[u8]| {
        let before = cluster.appliers(1).len();
        for _ in 0..50 {
            cluster.propose(1, command).expect("committed");
        }
        cluster.appliers(1).split_off(before)
    };
    // Not always: a notice may wait for the raft thread at that moment.
    assert!(threads(b"light").iter().any(|name| name == "raft"));
    assert_eq!(threads(b"heavy"), ["apply"; 50]);
    assert_eq!(threads(&[b'x'; 1_000]), ["apply"; 50]);
}

#[test]
fn a_rider_goes_into_the_entry_of_its_topic_and_of_its_term() {
    let cluster = Cluster::bootstrap();
    let handle = cluster.handle(1);
    let term = handle.status().term;
    let (tx, done) = mpsc::channel();
    let proposal = |command: &[u8]| {
        let tx = tx.clone();
        let sink = Sink::new(move |result| drop(tx.send(result)));
        Proposal::new(command.to_vec(), 0, sink)
    };
    let rider = Mutex::new(Some(proposal(b"rider")));
    handle.set_riders(move |topic, in_term| {
        let is_its = topic == "mail" && in_term == term;
        rider.lock().unwrap().take_if(|_| is_its)
    });
    let send = |topic: &str| {
        let topic = Some(topic.to_owned());
        handle.propose(Proposal {
            topic,
            ..proposal(b"task")
        });
    };
    let mut positions = Vec::new();
    send("other");
    positions.push(done.recv_timeout(WAIT).unwrap().unwrap().position);
    send("mail");
    for _ in 0..2 {
        positions.push(done.recv_timeout(WAIT).unwrap().unwrap().position);
    }
    assert_ne!(positions[0], positions[1]);
    assert_eq!(positions[1], positions[2], "one entry has both");

    handle.propose(Proposal {
        term: Some(term + 1),
        ..proposal(b"of another term")
    });
    let refused = done.recv_timeout(WAIT).unwrap();
    assert_eq!(refused, Err(ProposeError::NotLeader));
    assert_eq!(cluster.count(1), 3);
}

#[test]
fn three_peers_replicate_and_every_one_answers_reads() {
    let cluster = three();
    let mut last = 0;
    for i in 0..200u32 {
        last = cluster
            .propose(1, &i.to_be_bytes())
            .expect("committed")
            .position
            .index;
    }
    for raft_id in 1..=3 {
        assert!(
            cluster.read(raft_id).expect("a read") >= last,
            "peer {raft_id} read the past"
        );
        assert_eq!(cluster.count(raft_id), 200, "peer {raft_id}");
    }
}

#[test]
fn many_callers_share_few_syncs() {
    let cluster = three();
    let before = cluster.syncs(1);
    let (tx, rx) = mpsc::channel();
    for i in 0..2_000u32 {
        cluster.propose_with(1, &i.to_be_bytes(), tx.clone());
    }
    for _ in 0..2_000 {
        rx.recv_timeout(WAIT)
            .expect("an answer")
            .expect("committed");
    }
    let syncs = cluster.syncs(1) - before;
    assert!(syncs < 1_000, "{syncs} syncs for 2,000 proposals");
}

#[test]
fn another_peer_takes_over_and_nothing_is_lost() {
    let mut cluster = three();
    for i in 0..50u32 {
        cluster.propose(1, &i.to_be_bytes()).expect("committed");
    }
    cluster.crash(1);
    let leader = cluster.wait_for_leader(&[2, 3]);
    assert_eq!(
        cluster.propose(leader, b"after").expect("committed").reply,
        51
    );
    cluster.restart(1);
    cluster.wait(1, |status| {
        status.role == Role::Follower && status.leader == leader
    });
    cluster.read(1).expect("a read at the peer that came back");
    assert_eq!(cluster.count(1), 51);
}

#[test]
fn a_peer_that_was_away_long_comes_back_by_snapshot() {
    let mut cluster = three();
    cluster.crash(3);
    // Far beyond what is kept for a follower that lags, each in its own entry.
    let until = Instant::now() + WAIT;
    let mut count = 0;
    while cluster.cut(1) < 200 {
        assert!(Instant::now() < until, "the log was never cut");
        cluster.propose(1, b"x").expect("committed");
        count += 1;
    }
    cluster.restart(3);
    cluster.wait(3, |status| status.applied_index > 200 && status.leader == 1);
    cluster.read(3).expect("a read");
    assert_eq!(cluster.count(3), count);
    assert!(cluster.installs(3) > 1, "it came back without a snapshot");
}

#[test]
fn without_a_quorum_nothing_is_acknowledged() {
    let mut cluster = three();
    cluster.crash(2);
    cluster.crash(3);
    let (tx, rx) = mpsc::channel();
    cluster.propose_with(1, b"lonely", tx);
    let early = rx.recv_timeout(Duration::from_millis(1_500));
    assert!(!matches!(early, Ok(Ok(_))), "acknowledged without a quorum");
    cluster.wait(1, |status| status.leader == 0);
    assert!(cluster.read(1).is_err(), "a read without a quorum");
    cluster.restart(2);
    let leader = cluster.wait_for_leader(&[1, 2]);
    cluster.propose(leader, b"again").expect("committed");
}

#[test]
fn a_leader_is_removed_after_it_has_handed_over() {
    let cluster = three();
    cluster.transfer(1, 2).expect("handed over");
    cluster.wait(2, |status| status.leader_ready);
    cluster
        .change(2, Change::Remove { raft_id: 1 })
        .expect("removed");
    cluster.tell_removed(1);
    cluster.wait(1, |status| status.role == Role::Removed);
    assert!(cluster.propose(1, b"x").is_err());
    cluster.propose(2, b"y").expect("the others go on");
    let again = cluster.change(2, Change::Remove { raft_id: 1 });
    assert!(again.is_err(), "removed twice");
}

#[test]
fn a_stopping_leader_hands_over() {
    let mut cluster = three();
    cluster.propose(1, b"x").expect("committed");
    let started = Instant::now();
    cluster.stop(1);
    assert!(started.elapsed() < Duration::from_secs(8));
    cluster.wait_for_leader(&[2, 3]);
}
