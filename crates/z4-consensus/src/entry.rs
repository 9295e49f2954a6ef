//! What a committed entry of the log says.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, Entry, EntryType};

use crate::error::StopReason;
use crate::level::{Levels, UnknownLevel};
use crate::log::Position;
use crate::machine::Committed;
use crate::membership::{Change, Membership, Unread};
use crate::proposals::Envelope;

/// What an entry says.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Said {
    /// Nothing: the entry of a new leader, or a change of members that raft-rs did not want.
    Nothing,
    /// Commands for the state machine, and when their leader took them in.
    Commands(Envelope),
    /// A change of members, as raft-rs knows it and as all of it.
    Change(Box<(ConfChange, Change)>),
}

/// Reads an entry. An `Err` is a reason to stop, for an entry that cannot be read is never
/// skipped.
pub(crate) fn read(entry: &Entry, levels: Levels) -> Result<Said, StopReason> {
    match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Ok(Said::Nothing),
        EntryType::EntryNormal => match Envelope::decode(&entry.data) {
            Some(envelope) => Ok(Said::Commands(envelope)),
            None => Err(StopReason::Entry(entry.index)),
        },
        EntryType::EntryConfChange => {
            let unreadable = |_| StopReason::Change(entry.index);
            let conf = ConfChange::parse_from_bytes(&entry.data).map_err(unreadable)?;
            let change = Change::decode(&conf.context, levels.max);
            let change = change.map_err(|unread| match unread {
                Unread::Level(level) => UnknownLevel { level, levels }.into(),
                Unread::Damaged => StopReason::Change(entry.index),
            })?;
            Ok(Said::Change(Box::new((conf, change))))
        }
        EntryType::EntryConfChangeV2 => Err(StopReason::JointChange(entry.index)),
    }
}

/// Reads entries as they are applied without Raft, in order: by a peer that is alone from
/// now on. `membership` are the members before the first of them, and after the last one
/// when this returns.
///
/// # Errors
/// [`StopReason`] when an entry cannot be read: nothing may be made of this log.
pub fn replay(
    entries: &[Entry],
    membership: &mut Membership,
    levels: Levels,
) -> Result<Vec<Committed>, StopReason> {
    let mut run = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut committed = Committed {
            position: Position {
                index: entry.index,
                term: entry.term,
            },
            stamp_ns: 0,
            commands: Vec::new(),
            membership: None,
        };
        match read(entry, levels)? {
            Said::Nothing => {}
            Said::Commands(Envelope { stamp_ns, commands }) => {
                committed.stamp_ns = stamp_ns;
                committed.commands = commands;
            }
            // One that cannot be is refused alike by all replicas, and changes nothing.
            Said::Change(of) => {
                if membership.change(&of.1).is_ok() {
                    committed.membership = Some(membership.clone());
                }
            }
        }
        run.push(committed);
    }
    Ok(run)
}
