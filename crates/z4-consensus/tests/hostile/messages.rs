//! Messages of every kind, near what the replica knows and far from it.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeType, Entry, EntryType, Message, MessageType};
use rand::{Rng, RngCore};
use z4_consensus::membership::Change;
use z4_consensus::proposals::Envelope;

use super::host::{Host, GONE, ME};

/// What decides: a seed, or the bytes of a fuzz target.
pub type Dice<'a> = dyn RngCore + 'a;

const KINDS: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// The stream's member, the message, and whether files of a snapshot came along.
pub fn any(dice: &mut Dice<'_>, host: &Host) -> (u64, Message, bool) {
    let status = host.status();
    // Appends are what most of the code is behind.
    let kind = match dice.gen_range(0..5) {
        0 => MessageType::MsgAppend,
        _ => KINDS[dice.gen_range(0..KINDS.len())],
    };
    let from = match dice.gen_range(0..20) {
        0 => 0,
        1 => ME,
        2 => GONE,
        // Of those a lagging peer may not have heard of; and beyond.
        3 => dice.gen_range(6..30),
        4 => dice.gen(),
        _ => dice.gen_range(2..5),
    };
    let mut message = Message::default();
    message.set_msg_type(kind);
    message.from = if dice.gen_bool(0.95) {
        from
    } else {
        dice.gen_range(0..9)
    };
    message.to = if dice.gen_bool(0.95) {
        ME
    } else {
        dice.gen_range(0..9)
    };
    message.term = match dice.gen_range(0..10) {
        // Mostly the same: else no replica stays what it is.
        0..=5 => status.term,
        6 => 0,
        _ => near(dice, status.term),
    };
    let indexes = [
        status.last_index,
        status.commit_index,
        status.applied_index,
        status.last_index,
    ];
    let index = |dice: &mut Dice<'_>| {
        let base = indexes[dice.gen_range(0..indexes.len())];
        if dice.gen_bool(0.5) {
            base
        } else {
            near(dice, base)
        }
    };
    message.index = index(dice);
    message.commit = index(dice);
    message.log_term = match dice.gen_range(0..4) {
        0 => near(dice, status.term),
        1 => 3,
        _ => status.term,
    };
    message.reject = dice.gen_bool(0.3);
    if dice.gen_bool(0.4) {
        message.reject_hint = index(dice);
    }
    if dice.gen_bool(0.1) {
        message.request_snapshot = index(dice);
    }
    message.priority = match dice.gen_range(0..6) {
        0 => dice.gen(),
        _ => 0,
    };
    if dice.gen_bool(0.2) {
        message.context = bytes(dice).into();
    } else if dice.gen_bool(0.2) {
        message.context = b"CampaignTransfer".to_vec().into();
    }
    let entry_count = match dice.gen_range(0..6) {
        0 | 1 => 0,
        2 | 3 => 1,
        _ => dice.gen_range(0..6),
    };
    let entries: Vec<Entry> = (0..entry_count)
        .map(|place| entry(dice, message.index, place, message.term))
        .collect();
    message.set_entries(entries.into());
    if kind == MessageType::MsgSnapshot || dice.gen_bool(0.05) {
        snapshot(dice, &mut message, status.last_index, status.term);
    }
    let with_snapshot = match kind {
        MessageType::MsgSnapshot => dice.gen_bool(0.8),
        _ => dice.gen_bool(0.05),
    };
    (from, message, with_snapshot)
}

fn near(dice: &mut Dice<'_>, base: u64) -> u64 {
    match dice.gen_range(0..12) {
        0 => 0,
        1 => u64::MAX - dice.gen_range(0..3),
        2 => dice.gen(),
        3 => base.saturating_add(dice.gen_range(0..2_000_000)),
        4..=7 => base.saturating_add(dice.gen_range(0..4)),
        _ => base.saturating_sub(dice.gen_range(0..6)),
    }
}

fn bytes(dice: &mut Dice<'_>) -> Vec<u8> {
    let len = dice.gen_range(0..40);
    (0..len).map(|_| dice.gen()).collect()
}

fn entry(dice: &mut Dice<'_>, after: u64, place: u64, term: u64) -> Entry {
    let mut entry = Entry {
        index: after.wrapping_add(place).wrapping_add(1),
        term,
        ..Entry::default()
    };
    if dice.gen_bool(0.03) {
        entry.index = near(dice, entry.index);
    }
    if dice.gen_bool(0.05) {
        entry.term = near(dice, term);
    }
    match dice.gen_range(0..10) {
        0 => {
            entry.set_entry_type(EntryType::EntryConfChange);
            entry.data = conf_change(dice).into();
        }
        1 if dice.gen_bool(0.2) => entry.set_entry_type(EntryType::EntryConfChangeV2),
        2 if dice.gen_bool(0.3) => entry.data = bytes(dice).into(),
        3 => {}
        _ => {
            let envelope = Envelope {
                stamp_ns: dice.gen_range(0..1 << 40),
                commands: vec![bytes(dice)],
            };
            entry.data = envelope.encode().into();
        }
    }
    entry
}

/// A change of members; mostly raft's own part of it says the same.
fn conf_change(dice: &mut Dice<'_>) -> Vec<u8> {
    let raft_id = dice.gen_range(0..9);
    let (change, kind) = match dice.gen_range(0..4) {
        0 => {
            let change = Change::AddLearner {
                raft_id,
                peer_id: format!("peer{raft_id}"),
                address: format!("a:{raft_id}"),
                levels: None,
            };
            (change, ConfChangeType::AddLearnerNode)
        }
        1 => (Change::Promote { raft_id }, ConfChangeType::AddNode),
        2 => {
            let addresses = [(raft_id, format!("a:{}", dice.gen_range(0..9)))];
            let change = Change::SetAddresses(addresses.into());
            (change, ConfChangeType::AddNode)
        }
        _ => (Change::Remove { raft_id }, ConfChangeType::RemoveNode),
    };
    let mut conf = ConfChange::default();
    conf.set_change_type(kind);
    conf.node_id = raft_id;
    conf.context = change.encode(1).into();
    if dice.gen_bool(0.2) {
        conf.node_id = dice.gen_range(0..9);
        conf.set_change_type(ConfChangeType::RemoveNode);
    }
    conf.write_to_bytes().unwrap_or_default()
}

fn snapshot(dice: &mut Dice<'_>, message: &mut Message, last: u64, term: u64) {
    let ids = |dice: &mut Dice<'_>, most: usize| -> Vec<u64> {
        let count = dice.gen_range(0..=most);
        (0..count).map(|_| dice.gen_range(0..9)).collect()
    };
    let metadata = message.mut_snapshot().mut_metadata();
    metadata.index = near(dice, last + 2);
    metadata.term = if dice.gen_bool(0.7) {
        term
    } else {
        near(dice, term)
    };
    let conf = metadata.mut_conf_state();
    if dice.gen_bool(0.6) {
        conf.voters = vec![1, 2, 3];
        conf.learners = vec![4];
    } else {
        conf.voters = ids(dice, 4);
        conf.learners = ids(dice, 3);
        if dice.gen_bool(0.5) {
            conf.voters.push(ME);
        }
    }
    if dice.gen_bool(0.1) {
        conf.voters_outgoing = ids(dice, 3);
    }
    if dice.gen_bool(0.1) {
        conf.learners_next = ids(dice, 2);
    }
    conf.auto_leave = dice.gen_bool(0.05);
    if dice.gen_bool(0.1) {
        message.mut_snapshot().data = bytes(dice).into();
    }
}
