//! What scripts cannot show.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod clock;
mod levels;

use std::sync::Arc;

use raft::eraftpb::{Entry, HardState, MessageType};

use super::*;
use crate::level::Levels;
use crate::mem_log::MemLog;
use crate::membership::{Identity, Member};
use crate::proposals::Asked;
use crate::status::Role;

const START: Position = Position { index: 1, term: 1 };

/// A replica of the first member of a group with these voters and learners.
fn replica(voters: &[u64], learners: &[u64]) -> (Arc<MemLog>, Replica<MemLog, u32>) {
    let log = Arc::new(MemLog::default());
    let hard_state = HardState {
        term: 1,
        commit: 1,
        ..HardState::default()
    };
    log.reset(START, &hard_state).unwrap();
    let started = start(&log, voters, learners, 7);
    (log, started)
}

fn start(log: &Arc<MemLog>, voters: &[u64], learners: &[u64], seed: u64) -> Replica<MemLog, u32> {
    start_at(log, voters, learners, seed, 0)
}

/// As `start`, with a machine that has applied stamps up to this one.
fn start_at(
    log: &Arc<MemLog>,
    voters: &[u64],
    learners: &[u64],
    seed: u64,
    stamp_ns: u64,
) -> Replica<MemLog, u32> {
    let identity = Identity {
        cluster_id: [1; 16],
        raft_id: 1,
        peer_id: "peer1".into(),
    };
    let mut membership = Membership::bootstrap(&identity, "a:1");
    for (ids, voter) in [(voters, true), (learners, false)] {
        for id in ids {
            let member = Member {
                peer_id: format!("peer{id}"),
                address: format!("a:{id}"),
                voter,
            };
            membership.members.insert(*id, member);
            membership.raft_id_next = membership.raft_id_next.max(id + 1);
        }
    }
    let applied = Applied {
        position: START,
        membership,
        stamp_ns,
    };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Replica::new(config(seed), Arc::clone(log), &applied, &logger).unwrap()
}

fn config(seed: u64) -> Config {
    Config {
        raft_id: 1,
        address: String::new(),
        seed,
        own: SaidLevels {
            levels: Levels { min: 1, max: 2 },
            version: String::new(),
            is_held: false,
        },
        log_keep_entries: 100,
        max_clock_offset_ns: 500_000_000,
    }
}

fn all_work(replica: &mut Replica<MemLog, u32>) -> Vec<Work<u32>> {
    std::iter::from_fn(|| replica.work()).collect()
}

/// A single voter leads without asking anybody, so its first messages would
/// otherwise leave before its term is durable; after a crash it would lead the
/// same term again, with other entries in the same places.
#[test]
fn a_single_voter_sends_nothing_before_its_term_is_durable() {
    let (_, mut replica) = replica(&[1], &[2]);
    let works = all_work(&mut replica);
    assert_eq!(replica.status().role, Role::Leader);
    assert!(works.iter().all(|w| w.send.is_empty()), "{works:?}");
    let persist = works.into_iter().find_map(|w| w.persist).unwrap();
    assert_eq!(persist.write.hard_state.unwrap().term, 2);

    let number = persist.number;
    replica.step(Input::Persisted { number }, Now::default());
    let works = all_work(&mut replica);
    let mut sent = works.iter().flat_map(|w| &w.send);
    assert!(sent.any(|m| m.get_msg_type() == MessageType::MsgAppend));
}

/// The log may have been cut, or replaced by a snapshot, where the last stamp
/// stood; a leader whose clock is behind goes on from what the machine has.
#[test]
fn stamps_rise_above_those_that_are_no_longer_in_the_log() {
    let (log, _) = replica(&[1], &[]);
    let mut replica = start_at(&log, &[1], &[], 7, 5_000);
    let now = Now {
        wall_ns: 10,
        monotonic_ns: 0,
    };
    let number = all_work(&mut replica)
        .into_iter()
        .find_map(|w| w.persist)
        .unwrap()
        .number;
    replica.step(Input::Persisted { number }, now);
    let asked = crate::proposals::Asked {
        command: vec![1],
        units: 0,
        token: 1,
    };
    replica.step(Input::Propose(vec![asked]), now);
    let works = all_work(&mut replica);
    let waiting = works.iter().flat_map(|w| &w.waiting).next().unwrap();
    assert_eq!(waiting.stamp_ns, 5_001);
}

/// The context of a read must not be that of a read of an earlier life: the
/// leader may hold, or the network deliver, an answer to that one.
#[test]
fn reads_after_a_restart_have_new_contexts() {
    let context = |seconds: u64| {
        let (_, mut replica) = replica(&[1, 2, 3], &[]);
        let now = Now {
            wall_ns: seconds * 1_000_000_000,
            monotonic_ns: 0,
        };
        let mut heartbeat = Message::default();
        heartbeat.set_msg_type(MessageType::MsgHeartbeat);
        (heartbeat.from, heartbeat.to, heartbeat.term) = (2, 1, 2);
        let message = Input::Message {
            from: 2,
            message: heartbeat,
        };
        replica.step(message, now);
        let read = Input::Read {
            deadline_ns: u64::MAX,
            token: 1,
        };
        replica.step(read, now);
        // What promises nothing may have to wait for what does.
        let mut works = all_work(&mut replica);
        let number = works
            .iter()
            .find_map(|w| w.persist.as_ref())
            .unwrap()
            .number;
        replica.step(Input::Persisted { number }, now);
        works.extend(all_work(&mut replica));
        let mut sent = works.into_iter().flat_map(|w| w.send);
        let ask = sent.find(|m| m.get_msg_type() == MessageType::MsgReadIndex);
        ask.unwrap().entries[0].data.to_vec()
    };
    assert_ne!(context(10), context(20));
}

/// A snapshot and entries behind it may come in one Ready. What was applied
/// before is reported late; raft-rs panics if it is told of the snapshot before
/// those entries are durable.
#[test]
fn a_late_notice_of_applied_entries_does_not_overtake_a_snapshot() {
    let (log, mut replica) = replica(&[1, 2, 3], &[]);
    let now = Now::default();
    let mut snapshot = Message::default();
    snapshot.set_msg_type(MessageType::MsgSnapshot);
    (snapshot.from, snapshot.to, snapshot.term) = (2, 1, 3);
    let mut applied = Applied {
        position: Position { index: 50, term: 2 },
        membership: replica.status().membership,
        stamp_ns: 0,
    };
    applied.membership.raft_id_next = 9;
    let metadata = snapshot.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (50, 2);
    metadata.set_conf_state(applied.membership.conf_state());
    let mut append = Message::default();
    append.set_msg_type(MessageType::MsgAppend);
    (append.from, append.to, append.term) = (2, 1, 3);
    (append.index, append.log_term) = (50, 2);
    let entry = Entry {
        index: 51,
        term: 3,
        ..Entry::default()
    };
    append.set_entries(vec![entry].into());
    replica.step(
        Input::Snapshot {
            from: 2,
            message: snapshot,
        },
        now,
    );
    replica.step(
        Input::Message {
            from: 2,
            message: append,
        },
        now,
    );
    let mut number = 0;
    while let Some(work) = replica.work() {
        if let Some((position, hard_state)) = work.install {
            log.reset(position, &hard_state).unwrap();
            replica.step(Input::Installed(applied.clone()), now);
            // Sent by the apply thread before it installed.
            replica.step(Input::Applied { index: 1 }, now);
        }
        if let Some(persist) = work.persist {
            log.write(&persist.write).unwrap();
            number = persist.number;
        }
    }
    assert!(number > 0, "entries come with the snapshot");
    replica.step(Input::Persisted { number }, now);
    all_work(&mut replica);
    assert_eq!(replica.status().applied_index, 50);
    assert_eq!(replica.status().last_index, 51);
}

/// Does all work. Peer 2 votes, acknowledges and answers heartbeats; peer 3 is silent.
/// The result is what peer 2 was sent.
fn peer_2_answers(log: &MemLog, replica: &mut Replica<MemLog, u32>, at: Now) -> Vec<Message> {
    let mut all = Vec::new();
    while let Some(work) = replica.work() {
        if let Some(persist) = &work.persist {
            log.write(&persist.write).unwrap();
            let number = persist.number;
            replica.step(Input::Persisted { number }, at);
        }
        for sent in work.send.into_iter().filter(|m| m.to == 2) {
            let mut message = Message::default();
            let kind = match sent.get_msg_type() {
                MessageType::MsgRequestPreVote => MessageType::MsgRequestPreVoteResponse,
                MessageType::MsgRequestVote => MessageType::MsgRequestVoteResponse,
                MessageType::MsgAppend => MessageType::MsgAppendResponse,
                MessageType::MsgHeartbeat => MessageType::MsgHeartbeatResponse,
                other => panic!("{other:?}"),
            };
            message.set_msg_type(kind);
            (message.from, message.to, message.term) = (2, 1, sent.term);
            message.index = sent.index + sent.entries.len() as u64;
            replica.step(Input::Message { from: 2, message }, at);
            all.push(sent);
        }
    }
    all
}

/// Nobody waits for a new task at another member; sessions there wait for leases.
#[test]
fn the_commit_of_new_tasks_is_told_with_what_comes_next() {
    let (log, mut replica) = replica(&[1, 2, 3], &[]);
    let mut at = Now::default();
    while replica.status().role != Role::Leader {
        at.monotonic_ns += limits::TICK.as_nanos() as u64;
        replica.step(Input::Tick, at);
        peer_2_answers(&log, &mut replica, at);
    }
    let mut propose = |units| {
        let asked = Asked {
            command: vec![1],
            units,
            token: 0,
        };
        replica.step(Input::Propose(vec![asked]), at);
        let sent = peer_2_answers(&log, &mut replica, at);
        let committed = replica.status().commit_index;
        assert_eq!(committed, replica.status().last_index);
        let told: Vec<u64> = sent
            .iter()
            .map(|message| committed - message.commit)
            .collect();
        told
    };
    assert_eq!(propose(1), [1], "an entry, and no notice of its commit");
    assert_eq!(propose(1), [1], "the entry before it is told of");
    assert_eq!(propose(0), [1, 0], "an entry, and a notice");
    assert_eq!(propose(1), [1]);
    let ticks = limits::HEARTBEAT_TICKS;
    let heartbeats = (0..ticks).flat_map(|_| {
        replica.step(Input::Tick, at);
        peer_2_answers(&log, &mut replica, at)
    });
    let commits: Vec<u64> = heartbeats.map(|message| message.commit).collect();
    assert_eq!(commits, [replica.status().commit_index]);
}

/// raft-rs forgets who was active once in every election time-out; a member
/// that answers heartbeats must not look dead because of it.
#[test]
fn a_member_that_answers_is_alive_through_every_check_of_the_quorum() {
    let (log, mut replica) = replica(&[1, 2, 3], &[]);
    let tick_ns = limits::TICK.as_nanos() as u64;
    let mut at = Now::default();
    let mut led = 0;
    for _ in 0..20 * limits::ELECTION_TICKS {
        at.monotonic_ns += tick_ns;
        replica.step(Input::Tick, at);
        // Between the reset, which is a matter of ticks, and the next answer.
        let status = replica.status();
        if status.role == Role::Leader {
            led += 1;
            let alive = |id| status.progress[&id].alive;
            assert_eq!((alive(1), alive(2), alive(3)), (true, true, false));
        }
        peer_2_answers(&log, &mut replica, at);
    }
    assert!(led > 10 * limits::ELECTION_TICKS, "it leads: {led}");
    at.monotonic_ns += 3 * limits::ELECTION_TICKS as u64 * tick_ns;
    replica.step(Input::Unreachable(3), at);
    assert!(!replica.status().progress[&2].alive, "silent for too long");
    let silent_ms = |id| replica.status().progress[&id].silent_ms;
    let waited_ms = 3 * limits::ELECTION_TICKS as u64 * tick_ns / 1_000_000;
    assert!(silent_ms(2) >= waited_ms, "{}", silent_ms(2));
    assert!(silent_ms(3) > silent_ms(2), "it has never answered");
    // It asks for votes, for it does not hear this leader; that is no answer.
    let mut ask = Message::default();
    ask.set_msg_type(MessageType::MsgRequestPreVote);
    (ask.from, ask.to, ask.term) = (2, 1, replica.status().term);
    replica.step(
        Input::Message {
            from: 2,
            message: ask,
        },
        at,
    );
    assert!(
        !replica.status().progress[&2].alive,
        "a question is no answer"
    );
}

/// Does all work at once, as if every disk were quick: where the log was cut last,
/// and which snapshots were dropped.
fn settled(log: &MemLog, replica: &mut Replica<MemLog, u32>) -> (Option<Position>, Vec<Position>) {
    let now = Now::default();
    let (mut cut, mut dropped) = (None, Vec::new());
    while let Some(work) = replica.work() {
        if let Some(persist) = work.persist {
            log.write(&persist.write).unwrap();
            let number = persist.number;
            replica.step(Input::Persisted { number }, now);
        }
        if let Some(last) = work.apply.last() {
            let index = last.position.index;
            replica.step(Input::Applied { index }, now);
            replica.step(Input::Flushed(last.position), now);
        }
        cut = work.cut.or(cut);
        dropped.extend(work.drop_snapshots);
    }
    (cut, dropped)
}

/// So many commands, one entry each.
fn propose(log: &MemLog, replica: &mut Replica<MemLog, u32>, count: u32) {
    for token in 0..count {
        let asked = Asked {
            command: vec![1],
            units: 0,
            token,
        };
        replica.step(Input::Propose(vec![asked]), Now::default());
        assert_eq!(settled(log, replica), (None, Vec::new()));
    }
}

/// Entries are kept for those who lag, unless disk space is low: then they are
/// kept for nobody who is not alive.
#[test]
fn while_space_is_low_the_log_is_cut_right_behind_what_is_flushed() {
    let (log, mut replica) = replica(&[1], &[2]);
    let now = Now::default();
    let settle = |replica: &mut Replica<MemLog, u32>| settled(&log, replica).0;
    settle(&mut replica);
    propose(&log, &mut replica, 50);
    replica.step(Input::Tick, now);
    assert_eq!(settle(&mut replica), None, "the learner lags by little");
    // It was heard of a while ago: it may be restarting.
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgHeartbeatResponse);
    (message.from, message.to, message.term) = (2, 1, replica.status().term);
    replica.step(Input::Message { from: 2, message }, now);
    let after = |span: std::time::Duration| Now {
        monotonic_ns: now.monotonic_ns + span.as_nanos() as u64,
        ..now
    };
    replica.step(Input::SpaceLow(true), now);
    replica.step(Input::Tick, after(limits::REMEMBERED / 2));
    assert_eq!(settle(&mut replica), None, "it is waited for");
    replica.step(Input::Tick, after(limits::REMEMBERED * 2));
    let last = replica.status().last_index;
    assert!(last > 50);
    assert_eq!(settle(&mut replica).map(|cut| cut.index), Some(last));
}

/// The files of a snapshot are those of the state at that time: kept beyond their
/// use, they keep the space of all that compactions have written anew since.
#[test]
fn a_snapshot_behind_the_cut_is_dropped() {
    let (log, mut replica) = replica(&[1], &[2]);
    let now = Now::default();
    let settle = |replica: &mut Replica<MemLog, u32>| settled(&log, replica).1;
    settle(&mut replica);
    let status = replica.status();
    let position = Position {
        index: status.applied_index,
        term: status.term,
    };
    let made = Applied {
        position,
        membership: replica.membership().clone(),
        stamp_ns: 0,
    };
    replica.step(Input::Checkpointed(made), now);
    replica.step(Input::Tick, now);
    assert!(settle(&mut replica).is_empty(), "the log goes on from it");
    propose(&log, &mut replica, 50);
    replica.step(Input::SpaceLow(true), now);
    replica.step(Input::Tick, now);
    assert_eq!(settle(&mut replica), [position]);
}

/// The answer of a newcomer to its snapshot may come before the report that the
/// snapshot was sent. raft-rs then takes the newcomer for one that is being
/// probed until it acknowledges something new, and in a cluster at rest there is
/// nothing: it must get its vote all the same.
#[test]
fn a_newcomer_is_promoted_when_its_answer_overtakes_the_report_of_its_snapshot() {
    let (log, mut replica) = replica(&[1], &[2]);
    let mut at = Now::default();
    // The last index that the newcomer has.
    let mut has = 0;
    let mut snapshots = 0;
    for _ in 0..10 * limits::ELECTION_TICKS {
        at.monotonic_ns += limits::TICK.as_nanos() as u64;
        replica.step(Input::Tick, at);
        while let Some(work) = replica.work() {
            if let Some(persist) = &work.persist {
                log.write(&persist.write).unwrap();
                let number = persist.number;
                replica.step(Input::Persisted { number }, at);
            }
            if let Some(last) = work.apply.last() {
                let index = last.position.index;
                replica.step(Input::Applied { index }, at);
            }
            if work.checkpoint {
                let status = replica.status();
                let applied = Applied {
                    position: Position {
                        index: status.applied_index,
                        term: status.term,
                    },
                    membership: replica.membership().clone(),
                    stamp_ns: 0,
                };
                replica.step(Input::Checkpointed(applied), at);
            }
            for sent in work.send {
                let mut reply = Message::default();
                (reply.from, reply.to, reply.term) = (2, 1, sent.term);
                reply.set_msg_type(MessageType::MsgAppendResponse);
                match sent.get_msg_type() {
                    MessageType::MsgHeartbeat => {
                        reply.set_msg_type(MessageType::MsgHeartbeatResponse);
                    }
                    MessageType::MsgAppend if sent.index > has => {
                        (reply.reject, reply.index, reply.reject_hint) = (true, sent.index, has);
                    }
                    MessageType::MsgAppend => {
                        has = sent.index + sent.entries.len() as u64;
                        reply.index = has;
                    }
                    MessageType::MsgSnapshot => {
                        has = sent.get_snapshot().get_metadata().index;
                        reply.index = has;
                        snapshots += 1;
                    }
                    other => panic!("{other:?}"),
                }
                let sent_snapshot = sent.get_msg_type() == MessageType::MsgSnapshot;
                let answer = Input::Message {
                    from: 2,
                    message: reply,
                };
                replica.step(answer, at);
                if sent_snapshot {
                    replica.step(Input::SnapshotSent { to: 2, ok: true }, at);
                }
            }
        }
        if replica.membership().members[&2].voter {
            assert_eq!(snapshots, 1);
            return;
        }
    }
    panic!(
        "the newcomer has all up to {has} and no vote: {:?}",
        replica.status()
    );
}

/// A shell sleeps for as many ticks as the replica says, so that none before them may do
/// anything that others wait for.
#[test]
fn no_tick_does_anything_before_the_next_one_that_it_tells_of() {
    let (log, mut replica) = replica(&[1, 2, 3], &[]);
    let mut at = Now::default();
    let (mut slept, mut acted) = (0, 0);
    for _ in 0..40 {
        let ticks = replica.ticks_to_next();
        assert!((1..=limits::QUIET_TICKS_MAX).contains(&ticks), "{ticks}");
        for tick in 1..=ticks {
            at.monotonic_ns += limits::TICK.as_nanos() as u64;
            let before = replica.glance();
            replica.step(Input::Tick, at);
            let sent = peer_2_answers(&log, &mut replica, at);
            if tick < ticks {
                slept += 1;
                assert!(sent.is_empty(), "{sent:?}");
                assert_eq!(replica.glance(), before);
            } else {
                acted += usize::from(!sent.is_empty());
            }
        }
    }
    assert_eq!(replica.status().role, Role::Leader);
    assert!(slept > 20 && acted > 20, "{slept} {acted}");
    // A read that waits is asked again by a tick.
    let deadline_ns = at.monotonic_ns + 1_000_000_000;
    replica.step(
        Input::Read {
            deadline_ns,
            token: 7,
        },
        at,
    );
    assert_eq!(replica.ticks_to_next(), 1);
}
