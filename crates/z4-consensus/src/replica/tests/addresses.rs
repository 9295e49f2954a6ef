//! Addresses of members come into the log by themselves.

use super::*;
use crate::membership::Change;

const HOME: &str = "a:1";

/// The first member, which is at `address`, of a group with these voters and
/// learners.
fn replica_at(
    address: &str,
    voters: &[u64],
    learners: &[u64],
) -> (Arc<MemLog>, Replica<MemLog, u32>) {
    let (log, mut replica) = replica(voters, learners);
    replica.config.address = address.to_owned();
    (log, replica)
}

/// Does all work at once, as if every other voter had what is sent; gives the
/// changes of members that were put into the log.
pub(super) fn settle(log: &MemLog, replica: &mut Replica<MemLog, u32>) -> Vec<String> {
    let mut proposed = Vec::new();
    while let Some(work) = replica.work() {
        assert_eq!(work.stop, None);
        if let Some(persist) = work.persist {
            log.write(&persist.write).unwrap();
            for entry in &persist.write.entries {
                if entry.get_entry_type() == raft::eraftpb::EntryType::EntryConfChange {
                    let conf: raft::eraftpb::ConfChange =
                        protobuf::Message::parse_from_bytes(&entry.data).unwrap();
                    proposed.push(format!("{:?}", Change::decode(&conf.context, 9).unwrap()));
                }
            }
            let number = persist.number;
            replica.step(Input::Persisted { number }, Now::default());
        }
        if let Some(last) = work.apply.last() {
            let index = last.position.index;
            replica.step(Input::Applied { index }, Now::default());
        }
        for sent in work.send {
            answer(replica, &sent);
        }
    }
    proposed
}

/// What a member that is up answers.
fn answer(replica: &mut Replica<MemLog, u32>, sent: &Message) {
    let kind = match sent.get_msg_type() {
        MessageType::MsgAppend => MessageType::MsgAppendResponse,
        MessageType::MsgHeartbeat => MessageType::MsgHeartbeatResponse,
        MessageType::MsgRequestPreVote => MessageType::MsgRequestPreVoteResponse,
        MessageType::MsgRequestVote => MessageType::MsgRequestVoteResponse,
        other => panic!("{other:?}"),
    };
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (sent.to, sent.from, sent.term);
    message.index = sent.index + sent.entries.len() as u64;
    let from = sent.to;
    replica.step(Input::Message { from, message }, Now::default());
}

pub(super) fn tick(log: &MemLog, replica: &mut Replica<MemLog, u32>, count: usize) -> Vec<String> {
    let mut proposed = Vec::new();
    for _ in 0..count {
        replica.step(Input::Tick, Now::default());
        proposed.extend(settle(log, replica));
    }
    proposed
}

fn address(replica: &Replica<MemLog, u32>, raft_id: u64) -> String {
    replica.membership().members[&raft_id].address.clone()
}

fn found(replica: &mut Replica<MemLog, u32>, raft_id: u64, address: &str) {
    let address = address.to_owned();
    replica.step(Input::MemberAt { raft_id, address }, Now::default());
}

/// A founder that was alone and starts elsewhere has its own address right
/// before anybody can be added.
#[test]
fn a_leader_puts_its_own_address_into_the_log() {
    let (log, mut replica) = replica_at("a:9", &[1], &[]);
    let mut proposed = settle(&log, &mut replica);
    proposed.extend(tick(&log, &mut replica, 1));
    assert_eq!(proposed, [r#"SetAddresses({1: "a:9"})"#]);
    assert_eq!(address(&replica, 1), "a:9");
    let votes = replica.raw.raft.prs().conf().to_conf_state();
    assert_eq!(votes, replica.membership().conf_state());
    assert!(tick(&log, &mut replica, 50).is_empty(), "once is enough");
}

/// The address that a peer was given may lead nowhere from another machine.
#[test]
fn a_leader_that_others_follow_puts_its_own_address_in_when_one_has_found_it_there() {
    let (log, mut replica) = replica_at("a:9", &[1, 2, 3], &[]);
    assert!(tick(&log, &mut replica, 80).is_empty(), "nobody found it");
    assert_eq!(replica.status().role, Role::Leader);
    // It was there before.
    found(&mut replica, 1, "a:8");
    assert!(tick(&log, &mut replica, 2).is_empty());
    found(&mut replica, 1, "a:9");
    let proposed = tick(&log, &mut replica, 1);
    assert_eq!(proposed, [r#"SetAddresses({1: "a:9"})"#]);
    assert_eq!(address(&replica, 1), "a:9");
}

#[test]
fn a_leader_puts_in_where_members_are_found_and_votes_stay() {
    let (log, mut replica) = replica_at(HOME, &[1, 2, 3], &[4]);
    // What is found before it leads is not forgotten.
    found(&mut replica, 2, "a:8");
    tick(&log, &mut replica, 40);
    assert_eq!(replica.status().role, Role::Leader);
    assert_eq!(address(&replica, 2), "a:8");
    found(&mut replica, 4, "a:7");
    let proposed = tick(&log, &mut replica, 1);
    assert_eq!(proposed[0], r#"SetAddresses({4: "a:7"})"#);
    assert_eq!(address(&replica, 4), "a:7");
    let raft = replica.raw.raft.prs().conf().to_conf_state();
    assert_eq!(raft, replica.membership().conf_state());
    assert_eq!(replica.membership().voter_count(), 3, "no learner votes");
    assert!(
        replica.membership().members[&2].voter,
        "no voter is demoted"
    );
}

#[test]
fn members_that_swapped_change_together_and_a_taken_address_waits() {
    let (log, mut replica) = replica_at(HOME, &[1, 2, 3], &[]);
    tick(&log, &mut replica, 40);
    found(&mut replica, 2, "a:3");
    assert!(tick(&log, &mut replica, 40).is_empty(), "it is not tried");
    let why = replica.status().address_conflicts[&2].clone();
    assert_eq!(
        why,
        "peer2 has moved, but address a:3 is that of member peer3; give the new peer's own"
    );
    found(&mut replica, 3, "a:2");
    let proposed = tick(&log, &mut replica, 1);
    assert_eq!(proposed, [r#"SetAddresses({2: "a:3", 3: "a:2"})"#]);
    assert_eq!(
        (address(&replica, 2), address(&replica, 3)),
        ("a:3".into(), "a:2".into())
    );
    assert!(tick(&log, &mut replica, 1).is_empty());
    assert!(replica.status().address_conflicts.is_empty());
}

/// A newcomer learns its leader's address from the leader's own streams. Were
/// the members' address of the leader an old one, the newcomer would be promoted
/// over the one and dial the other from then on.
#[test]
fn a_learner_votes_once_it_has_reached_its_leader_where_the_members_have_it() {
    let (log, mut replica) = replica_at(HOME, &[1], &[2]);
    settle(&log, &mut replica);
    assert!(tick(&log, &mut replica, 40).is_empty());
    assert!(
        !replica.membership().members[&2].voter,
        "it has only answered"
    );
    let reached = |replica: &mut Replica<MemLog, u32>, address: &str| {
        let address = address.to_owned();
        replica.step(
            Input::ReachedAt {
                raft_id: 2,
                address,
            },
            Now::default(),
        );
    };
    reached(&mut replica, "a:9");
    assert!(tick(&log, &mut replica, 40).is_empty());
    reached(&mut replica, HOME);
    let proposed = tick(&log, &mut replica, 1);
    assert_eq!(proposed, ["Promote { raft_id: 2 }"]);
    assert!(replica.membership().members[&2].voter);
}
