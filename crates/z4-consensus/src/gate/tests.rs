//! What raft-rs would believe, and the gate does not.
#![allow(clippy::unwrap_used)]

use raft::eraftpb::{ConfState, Entry, Message, MessageType};

use super::{Gate, Refused};
use crate::membership::{Change, Identity, Membership};

fn members() -> Membership {
    let identity = Identity {
        cluster_id: [7; 16],
        raft_id: 1,
        peer_id: "peer1".to_owned(),
    };
    let mut membership = Membership::bootstrap(&identity, "a:1");
    for raft_id in 2..=4 {
        let peer_id = format!("peer{raft_id}");
        let address = format!("a:{raft_id}");
        membership
            .change(&Change::AddLearner {
                raft_id,
                peer_id,
                address,
                levels: None,
            })
            .unwrap();
    }
    membership.change(&Change::Promote { raft_id: 2 }).unwrap();
    membership.change(&Change::Promote { raft_id: 3 }).unwrap();
    membership.change(&Change::Remove { raft_id: 4 }).unwrap();
    membership
}

fn message(kind: MessageType, from: u64, term: u64) -> Message {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (from, 1, term);
    message
}

fn admit(message: &Message, with_snapshot: bool) -> Result<(), Refused> {
    admit_as(message, with_snapshot, true)
}

fn admit_as(message: &Message, with_snapshot: bool, leads: bool) -> Result<(), Refused> {
    let membership = members();
    let gate = Gate {
        raft_id: 1,
        term: 5,
        last_index: 20,
        leads,
        writes: false,
        membership: &membership,
    };
    gate.admit(message.from, message, with_snapshot)
}

fn entry(index: u64, term: u64) -> Entry {
    let mut entry = Entry::default();
    (entry.index, entry.term) = (index, term);
    entry
}

/// The six messages that end, capture or rewrite a raft-rs node.
#[test]
fn the_six_hostile_messages_are_refused() {
    // From a stranger, and from one whose raft id could be that of a new member.
    for stranger in [99, 5] {
        let mut heartbeat = message(MessageType::MsgHeartbeat, stranger, 1_000);
        heartbeat.commit = 1 << 40;
        assert!(
            admit(&heartbeat, false).is_err(),
            "commit beyond the log from {stranger}"
        );

        let mut vote = message(MessageType::MsgRequestVote, stranger, 1_000);
        vote.context = b"CampaignTransfer".to_vec().into();
        assert!(
            admit(&vote, false).is_err(),
            "vote in a transfer from {stranger}"
        );

        let timeout = message(MessageType::MsgTimeoutNow, stranger, 5);
        assert!(
            admit(&timeout, false).is_err(),
            "time-out now from {stranger}"
        );

        for with_snapshot in [false, true] {
            let mut snapshot = message(MessageType::MsgSnapshot, stranger, 1_000);
            let metadata = snapshot.mut_snapshot().mut_metadata();
            (metadata.index, metadata.term) = (100, 1_000);
            metadata.mut_conf_state().voters = vec![99];
            assert!(
                admit(&snapshot, with_snapshot).is_err(),
                "snapshot without this peer"
            );
        }
    }
    // A plain heartbeat of a stranger would make it the leader.
    assert_eq!(
        admit(&message(MessageType::MsgHeartbeat, 99, 1_000), false),
        Err(Refused::NotMember(99))
    );
    // A proposal without entries ends a leader.
    for from in [2, 99] {
        assert!(admit(&message(MessageType::MsgPropose, from, 5), false).is_err());
    }
}

#[test]
fn only_messages_of_the_stream_s_member_to_this_peer_pass() {
    let membership = members();
    let gate = Gate {
        raft_id: 1,
        term: 5,
        last_index: 20,
        leads: true,
        writes: false,
        membership: &membership,
    };
    let mut heartbeat = message(MessageType::MsgHeartbeat, 2, 5);
    assert_eq!(gate.admit(2, &heartbeat, false), Ok(()));
    assert_eq!(gate.admit(3, &heartbeat, false), Err(Refused::Misaddressed));
    heartbeat.to = 2;
    assert_eq!(gate.admit(2, &heartbeat, false), Err(Refused::Misaddressed));
    let own = message(MessageType::MsgHeartbeat, 1, 5);
    assert_eq!(gate.admit(1, &own, false), Err(Refused::Misaddressed));
}

#[test]
fn removed_members_and_absurd_terms_are_refused() {
    let from_removed = message(MessageType::MsgRequestPreVote, 4, 6);
    assert_eq!(admit(&from_removed, false), Err(Refused::NotMember(4)));
    let absurd = message(MessageType::MsgHeartbeat, 2, u64::MAX);
    assert_eq!(admit(&absurd, false), Err(Refused::Term(u64::MAX)));
}

#[test]
fn types_that_peers_never_send_are_refused() {
    for kind in [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
    ] {
        assert_eq!(admit(&message(kind, 2, 5), false), Err(Refused::Type(kind)));
    }
}

#[test]
fn a_read_goes_one_hop_and_carries_one_context() {
    let mut read = message(MessageType::MsgReadIndex, 2, 0);
    assert!(
        admit(&read, false).is_err(),
        "no context would end a leader"
    );
    read.set_entries(vec![Entry::default()].into());
    assert_eq!(admit(&read, false), Ok(()));
    assert!(
        admit_as(&read, false, false).is_err(),
        "a follower does not pass it on"
    );
}

#[test]
fn entries_must_be_a_run() {
    let mut append = message(MessageType::MsgAppend, 2, 5);
    (append.index, append.log_term) = (10, 4);
    append.set_entries(vec![entry(11, 4), entry(12, 5)].into());
    assert_eq!(admit(&append, false), Ok(()));
    for bad in [
        vec![entry(12, 5)],
        vec![entry(11, 5), entry(13, 5)],
        vec![entry(11, 6)],
        vec![entry(11, 5), entry(12, 4)],
        vec![entry(11, 0)],
    ] {
        append.set_entries(bad.into());
        assert_eq!(admit(&append, false), Err(Refused::Entries(10)));
    }
    append.set_entries(Vec::new().into());
    append.index = u64::MAX;
    append.log_term = 9;
    assert!(admit(&append, false).is_err());
}

#[test]
fn an_index_beyond_the_log_is_refused_or_means_that_it_was_lost() {
    let mut heartbeat = message(MessageType::MsgHeartbeat, 2, 5);
    heartbeat.commit = 20;
    assert_eq!(admit(&heartbeat, false), Ok(()));
    heartbeat.commit = 21;
    assert_eq!(admit(&heartbeat, false), Err(Refused::LogLost(21)));
    heartbeat.term = 4;
    assert_eq!(admit(&heartbeat, false), Err(Refused::Index(21)));

    let mut response = message(MessageType::MsgAppendResponse, 2, 5);
    response.index = 21;
    assert_eq!(admit(&response, false), Err(Refused::Index(21)));
    response.reject = true;
    assert_eq!(admit(&response, false), Ok(()));
}

#[test]
fn a_member_that_a_lagging_peer_has_not_heard_of_may_lead_it() {
    let mut append = message(MessageType::MsgAppend, 5, 6);
    (append.index, append.log_term) = (20, 5);
    assert_eq!(admit(&append, false), Ok(()));
    assert_eq!(
        admit(&message(MessageType::MsgRequestVote, 5, 6), false),
        Ok(())
    );
    let far = 5 + crate::limits::UNKNOWN_AHEAD_MAX;
    append.from = far;
    assert_eq!(admit(&append, false), Err(Refused::NotMember(far)));
}

#[test]
fn a_newcomer_takes_its_first_snapshot() {
    let empty = Membership::default();
    let gate = Gate {
        raft_id: 1,
        term: 0,
        last_index: 0,
        leads: false,
        writes: false,
        membership: &empty,
    };
    let mut snapshot = message(MessageType::MsgSnapshot, 2, 5);
    let metadata = snapshot.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (100, 5);
    metadata.mut_conf_state().voters = vec![2];
    metadata.mut_conf_state().learners = vec![1];
    assert_eq!(gate.admit(2, &snapshot, true), Ok(()));
    assert!(
        gate.admit(2, &snapshot, false).is_err(),
        "its files must have come with it"
    );
}

/// raft-rs ends the process over members that contradict each other.
#[test]
fn a_snapshot_must_name_members_that_can_be() {
    let mut snapshot = message(MessageType::MsgSnapshot, 2, 5);
    let metadata = snapshot.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (100, 5);
    metadata.mut_conf_state().voters = vec![1, 2];
    metadata.mut_conf_state().learners = vec![3];
    assert_eq!(admit(&snapshot, true), Ok(()));
    let spoil: [fn(&mut ConfState); 8] = [
        |conf| conf.voters.push(2),
        |conf| conf.learners.push(3),
        |conf| conf.learners.push(2),
        |conf| conf.voters.push(0),
        |conf| conf.learners.push(0),
        |conf| conf.voters_outgoing.push(3),
        |conf| conf.learners_next.push(2),
        |conf| conf.auto_leave = true,
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        let mut bad = snapshot.clone();
        spoil(bad.mut_snapshot().mut_metadata().mut_conf_state());
        assert!(admit(&bad, true).is_err(), "number {at}");
    }
}

/// raft-rs says that an entry it does not have is of term 0: such an append
/// would match anywhere beyond the log, and commit what is not there.
#[test]
fn an_append_beyond_the_log_does_not_match_by_term_zero() {
    let mut append = message(MessageType::MsgAppend, 2, 6);
    (append.index, append.log_term, append.commit) = (23, 0, 22);
    assert_eq!(admit(&append, false), Err(Refused::Entries(23)));
    append.log_term = 5;
    assert_eq!(admit(&append, false), Ok(()), "it is rejected by raft-rs");
    (append.index, append.log_term) = (0, 0);
    assert_eq!(admit(&append, false), Ok(()), "the beginning of the log");
}

#[test]
fn indexes_that_no_log_has_are_refused() {
    let spoil: [fn(&mut Message, u64); 4] = [
        |message, index| message.index = index,
        |message, index| message.commit = index,
        |message, index| message.reject_hint = index,
        |message, index| message.request_snapshot = index,
    ];
    for index in [crate::limits::INDEX_MAX + 1, u64::MAX - 1, u64::MAX] {
        for kind in [MessageType::MsgAppend, MessageType::MsgAppendResponse] {
            for spoil in spoil {
                let mut bad = message(kind, 2, 5);
                bad.log_term = 5;
                spoil(&mut bad, index);
                assert_eq!(admit(&bad, false), Err(Refused::Index(index)));
            }
        }
        let mut snapshot = message(MessageType::MsgSnapshot, 2, 5);
        let metadata = snapshot.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (index, 5);
        metadata.mut_conf_state().voters = vec![1, 2];
        assert_eq!(admit(&snapshot, true), Err(Refused::Index(index)));
    }
}

/// raft-rs asserts that the log of a new leader is durable. A vote that nobody
/// asked for, or a time-out to a single voter, would elect one whose log is not.
#[test]
fn nobody_is_elected_before_its_log_is_durable() {
    let identity = Identity {
        cluster_id: [7; 16],
        raft_id: 1,
        peer_id: "peer1".to_owned(),
    };
    let mut alone = Membership::bootstrap(&identity, "a:1");
    alone
        .change(&Change::AddLearner {
            raft_id: 2,
            peer_id: "peer2".to_owned(),
            address: "a:2".to_owned(),
            levels: None,
        })
        .unwrap();
    let three = members();
    let refused = |kind, membership, writes| {
        let gate = Gate {
            raft_id: 1,
            term: 5,
            last_index: 20,
            leads: false,
            writes,
            membership,
        };
        gate.admit(2, &message(kind, 2, 6), false).is_err()
    };
    let (vote, timeout) = (
        MessageType::MsgRequestVoteResponse,
        MessageType::MsgTimeoutNow,
    );
    assert!(refused(vote, &three, true) && !refused(vote, &three, false));
    assert!(refused(timeout, &alone, true) && !refused(timeout, &alone, false));
    assert!(!refused(timeout, &three, true), "it asks for votes first");
}
