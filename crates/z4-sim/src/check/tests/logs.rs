//! What is said of logs, terms, messages and states.

use raft::eraftpb::{Entry, HardState, Message, MessageType};
use z4_consensus::log::{LogStore as _, LogWrite, Position};
use z4_consensus::machine::Committed;
use z4_core::state::{MemState, Row, RowKey, State as _};
use z4_core::NamespaceId;

use super::{id, judge};
use crate::check::elections::Elections;
use crate::check::history::History;
use crate::check::matching::Matching;
use crate::check::promises;
use crate::check::reads::Reads;
use crate::check::states::States;
use crate::disk::SimLog;

#[test]
fn a_term_has_one_leader() {
    fn led(all: &[(u64, u64)]) -> Result<(), String> {
        let mut elections = Elections::default();
        all.iter()
            .try_for_each(|(term, id)| elections.leads(*term, *id).map(|_| ()))
    }
    judge(&[
        ("", || led(&[(1, 1), (1, 1), (2, 2), (3, 1), (2, 2)])),
        ("peers 1 and 2 both lead in term 1", || {
            led(&[(1, 1), (1, 2)])
        }),
        ("both lead in term 1", || led(&[(1, 1), (2, 2), (1, 2)])),
        ("both lead in term 2", || led(&[(2, 3), (3, 3), (2, 1)])),
        ("peers 2 and 3 both", || led(&[(1, 1), (5, 2), (5, 3)])),
    ]);
}

fn entry(index: u64, term: u64, data: &str) -> Entry {
    Entry {
        index,
        term,
        data: data.as_bytes().to_vec().into(),
        ..Entry::default()
    }
}

#[test]
fn entries_of_one_place_are_alike() {
    fn are(all: &[(u64, Entry)]) -> Result<(), String> {
        let mut matching = Matching::default();
        all.iter()
            .try_for_each(|(peer, entry)| matching.are(*peer, std::slice::from_ref(entry)))
    }
    judge(&[
        ("", || {
            are(&[
                (1, entry(5, 2, "a")),
                (2, entry(5, 2, "a")),
                (3, entry(5, 3, "b")),
                (3, entry(6, 2, "b")),
            ])
        }),
        ("peer 2 has another entry 5 of term 2", || {
            are(&[(1, entry(5, 2, "a")), (2, entry(5, 2, "b"))])
        }),
        ("peer 1 has another entry 5 of term 2", || {
            are(&[(1, entry(5, 2, "a")), (1, entry(5, 2, ""))])
        }),
        ("another entry 5 of term 2", || {
            let context = Entry {
                context: vec![1].into(),
                ..entry(5, 2, "a")
            };
            are(&[(1, entry(5, 2, "a")), (2, context)])
        }),
        // What was written and synced counts, and what a crash left of it.
        ("another entry 5", || {
            let mut matching = Matching::default();
            matching.appended(1, 7, &[entry(5, 2, "a")]);
            matching.synced(1, 7)?;
            matching.are(2, &[entry(5, 2, "b")])
        }),
        ("another entry 5", || {
            let mut matching = Matching::default();
            matching.appended(1, 7, &[entry(5, 2, "a")]);
            matching.crashed(1, |_| true)?;
            matching.are(2, &[entry(5, 2, "b")])
        }),
        // What nobody ever saw does not.
        ("", || {
            let mut matching = Matching::default();
            matching.appended(1, 7, &[entry(5, 2, "a")]);
            matching.synced(1, 6)?;
            matching.crashed(1, |_| false)?;
            matching.are(1, &[entry(5, 2, "b")])
        }),
    ]);
    let mut matching = Matching::default();
    assert!(!matching.appended(1, 1, &[entry(5, 2, "a")]));
    assert!(!matching.appended(1, 2, &[entry(6, 2, "a")]));
    assert!(!matching.appended(2, 1, &[entry(5, 2, "a")]));
    assert!(matching.appended(1, 3, &[entry(6, 3, "b")]), "a tail goes");
}

fn committed(index: u64, term: u64, stamp_ns: u64, command: u8) -> Committed {
    Committed {
        position: Position { index, term },
        stamp_ns,
        commands: vec![vec![command]],
        membership: None,
    }
}

#[test]
fn peers_apply_one_log() {
    fn apply(all: &[(u64, Committed)]) -> Result<(), String> {
        let mut history = History::new(2);
        all.iter()
            .try_for_each(|(peer, entry)| history.take(*peer, entry).map(|_| ()))
    }
    judge(&[
        ("", || {
            apply(&[
                (1, committed(2, 1, 10, 1)),
                (1, committed(3, 1, 0, 2)),
                (2, committed(2, 1, 10, 1)),
                (2, committed(3, 1, 0, 2)),
                (2, committed(4, 2, 11, 3)),
            ])
        }),
        ("peer 2 applies another entry at 2", || {
            apply(&[(1, committed(2, 1, 10, 1)), (2, committed(2, 1, 10, 2))])
        }),
        ("another entry at 2", || {
            apply(&[(1, committed(2, 1, 10, 1)), (2, committed(2, 2, 10, 1))])
        }),
        ("another entry at 2", || {
            apply(&[(1, committed(2, 1, 10, 1)), (2, committed(2, 1, 11, 1))])
        }),
        ("another entry at 2", || {
            let mut more = committed(2, 1, 10, 1);
            more.commands.push(Vec::new());
            apply(&[(1, committed(2, 1, 10, 1)), (2, more)])
        }),
        ("peer 1 leaves a gap before entry 3", || {
            apply(&[(1, committed(3, 1, 10, 1))])
        }),
        ("leaves a gap before entry 4", || {
            apply(&[(1, committed(2, 1, 10, 1)), (1, committed(4, 1, 11, 1))])
        }),
        ("entry 3 is stamped 10, one before it 10", || {
            apply(&[(1, committed(2, 1, 10, 1)), (1, committed(3, 1, 10, 1))])
        }),
        ("entry 4 is stamped 9", || {
            apply(&[
                (1, committed(2, 1, 10, 1)),
                (1, committed(3, 1, 0, 1)),
                (1, committed(4, 1, 9, 1)),
            ])
        }),
    ]);
    let mut history = History::new(2);
    for (index, term) in [(2, 1), (3, 1), (4, 3)] {
        history.take(1, &committed(index, term, 0, 1)).unwrap();
    }
    let last = |term| history.last_before(term).map(|at| (at.index, at.term));
    assert_eq!(
        (last(1), last(2), last(3)),
        (None, Some((3, 1)), Some((3, 1)))
    );
    assert_eq!((last(4), history.last_index()), (Some((4, 3)), 4));
}

/// A log with a synced term and vote, an entry that is synced and one that is
/// not, and the check of a message.
fn send(kind: MessageType, term: u64, change: fn(&mut Message)) -> Result<(), String> {
    let log = SimLog::new();
    let hard_state = HardState {
        term: 5,
        vote: 2,
        ..HardState::default()
    };
    for (index, hard_state, sync) in [(1, Some(hard_state), true), (2, None, false)] {
        let entries = vec![entry(index, 5, "a")];
        log.write(&LogWrite {
            entries,
            hard_state,
            sync,
        })
        .map_err(|e| e.to_string())?;
    }
    let mut message = Message {
        from: 1,
        to: 2,
        term,
        ..Message::default()
    };
    message.set_msg_type(kind);
    change(&mut message);
    let term = log.term_written(message.index, message.term);
    promises::check(&log, &message, term)
}

#[test]
fn what_is_promised_is_synced() {
    use MessageType::{
        MsgAppend, MsgAppendResponse, MsgHeartbeat, MsgRequestPreVote, MsgRequestVote,
        MsgRequestVoteResponse,
    };
    judge(&[
        ("", || send(MsgRequestVoteResponse, 5, |_| {})),
        ("", || send(MsgRequestVote, 5, |m| m.from = 2)),
        ("", || {
            send(MsgRequestVoteResponse, 5, |m| (m.to, m.reject) = (3, true))
        }),
        ("", || send(MsgRequestPreVote, 6, |_| {})),
        ("", || send(MsgAppendResponse, 5, |m| m.index = 1)),
        ("", || {
            send(MsgAppendResponse, 5, |m| (m.index, m.reject) = (2, true))
        }),
        ("", || send(MsgAppendResponse, 4, |m| m.index = 2)),
        ("leaves before the term is synced (5)", || {
            send(MsgAppend, 6, |_| {})
        }),
        ("MsgHeartbeat of term 6", || send(MsgHeartbeat, 6, |_| {})),
        ("MsgRequestVote of term 6", || {
            send(MsgRequestVote, 6, |m| m.from = 2)
        }),
        ("of term 9 leaves before the term", || {
            send(MsgRequestVoteResponse, 9, |m| m.reject = true)
        }),
        ("a vote of term 5 leaves", || {
            send(MsgRequestVote, 5, |_| {})
        }),
        ("a vote of term 5 leaves", || {
            send(MsgRequestVoteResponse, 5, |m| m.to = 3)
        }),
        ("entry 2 of term 5 is acknowledged before", || {
            send(MsgAppendResponse, 5, |m| m.index = 2)
        }),
        ("entry 9 of term 0 is acknowledged before", || {
            send(MsgAppendResponse, 5, |m| m.index = 9)
        }),
    ]);
}

#[test]
fn reads_are_not_behind() {
    fn read(confirmed: u64, applied: u64, floor: u64) -> Result<(), String> {
        Reads::default().check(7, confirmed, applied, floor)
    }
    judge(&[
        ("", || read(5, 5, 5)),
        ("", || read(0, 9, 5)),
        ("peer 7 answers a read at 4, confirmed at 5", || {
            read(5, 4, 3)
        }),
        ("6 was acknowledged", || read(5, 5, 6)),
        ("promise 5", || read(0, 0, 1)),
        ("promise 5", || read(9, 8, 9)),
    ]);
    let mut reads = Reads::default();
    for index in [4, 9, 7] {
        reads.acked(index);
    }
    assert_eq!(reads.floor(), 9);
}

#[test]
fn states_are_equal_and_keep_the_rules() {
    /// A state with so many dead letters in the index, of tasks that are not.
    fn state(dead: u64) -> MemState {
        let mut state = MemState::new();
        for number in 0..dead {
            let key = RowKey::dead(NamespaceId(1), number, id(number));
            state.put(key, Row::Dead);
        }
        state
    }
    judge(&[
        ("", || {
            let mut states = States::default();
            states.check(1, 128, &state(0))?;
            states.check(2, 128, &state(0))?;
            states.check(1, 256, &state(0))
        }),
        ("promise 7: peers 1 and 2 differ at index 128", || {
            let mut states = States::default();
            states.check(1, 128, &state(0))?;
            states.check(2, 128, &state(1))
        }),
        ("peers 1 and 3 differ", || {
            let mut states = States::default();
            states.check(1, 128, &state(0))?;
            states.check(2, 128, &state(0))?;
            states.check(1, 256, &state(0))?;
            states.check(3, 128, &state(2))
        }),
        ("promise 6: peer 4 at 128", || {
            States::default().check(4, 128, &state(1))
        }),
        ("promise 6: peer 1 at 256", || {
            let mut states = States::default();
            states.check(1, 128, &state(0))?;
            states.check(1, 256, &state(3))
        }),
    ]);
}
