//! The stored forms of members and of changes of members.
//!
//! The forms of the first level have the bytes that binaries wrote before there were levels,
//! so that a binary of that time reads them. A form that a greater level brought is read
//! by a binary that knows the level, and by no other.

use std::collections::BTreeMap;

use super::{Change, Member, Membership};
use crate::level::{Levels, LEVEL_FIRST, LEVEL_OF_LEVELS};
use crate::planted::planted;
use crate::proposals::wire::{Reader, Writer};

/// Version of the stored form of [`Membership`] at the first level.
const MEMBERSHIP_VERSION: u8 = 1;
/// Version of the stored form of [`Membership`] with the level, which follows the version.
const MEMBERSHIP_VERSION_WITH_LEVEL: u8 = 2;
/// Version of the stored form of [`Change`].
const CHANGE_VERSION: u8 = 1;

/// Why a stored form cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    /// The form is damaged, or of a release that this one does not know of.
    Damaged,
    /// The form needs this level, which is greater than what the binary knows.
    Level(u32),
}

impl Membership {
    /// The stored form; see [`decode`](Self::decode).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Every field is named: a new one cannot be forgotten here.
        let Self {
            cluster_id,
            members,
            removed,
            raft_id_next,
            level,
        } = self;
        let mut out = match *level <= LEVEL_FIRST {
            true => Writer::new(MEMBERSHIP_VERSION),
            false => {
                let mut out = Writer::new(MEMBERSHIP_VERSION_WITH_LEVEL);
                out.number((*level).into());
                out
            }
        };
        out.fixed(cluster_id);
        out.number(*raft_id_next);
        out.number(members.len() as u64);
        for (
            raft_id,
            Member {
                peer_id,
                address,
                voter,
            },
        ) in members
        {
            out.number(*raft_id);
            out.number(u64::from(*voter));
            out.bytes(peer_id.as_bytes());
            out.bytes(address.as_bytes());
        }
        out.number(removed.len() as u64);
        for raft_id in removed {
            out.number(*raft_id);
        }
        out.finish()
    }

    /// Reads the stored form. `None` when it is damaged or of a release that this one does
    /// not know of.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut input, level) = match bytes.first() {
            Some(&MEMBERSHIP_VERSION_WITH_LEVEL) => {
                let mut input = Reader::new(bytes, MEMBERSHIP_VERSION_WITH_LEVEL)?;
                let level = u32::try_from(input.number()?).ok()?;
                // A lesser one has the other form.
                (input, (level > LEVEL_FIRST).then_some(level)?)
            }
            _ => (Reader::new(bytes, MEMBERSHIP_VERSION)?, LEVEL_FIRST),
        };
        let mut membership = Self {
            cluster_id: input.fixed()?,
            raft_id_next: input.number()?,
            level,
            ..Self::default()
        };
        for _ in 0..input.number()? {
            let raft_id = input.number()?;
            let voter = input.number()? == 1;
            let member = Member {
                peer_id: input.text()?,
                address: input.text()?,
                voter,
            };
            membership.members.insert(raft_id, member);
        }
        for _ in 0..input.number()? {
            membership.removed.insert(input.number()?);
        }
        input.end().then_some(membership)
    }
}

impl Change {
    /// The level that the form in the log needs, in a cluster of `level`.
    fn form_level(&self, level: u32) -> u32 {
        match self {
            Self::SetLevel(level) => *level,
            Self::AddLearner { .. } => level.min(LEVEL_OF_LEVELS),
            Self::Promote { .. } | Self::Remove { .. } | Self::SetAddresses(_) => LEVEL_FIRST,
        }
    }

    /// The form in the log of a cluster of this level.
    #[must_use]
    pub fn encode(&self, level: u32) -> Vec<u8> {
        let level = match planted!("level-written-too-early") {
            true => LEVEL_OF_LEVELS,
            false => level,
        };
        let has_levels = self.form_level(level) >= LEVEL_OF_LEVELS;
        let mut out = Writer::new(CHANGE_VERSION);
        match self {
            Self::AddLearner {
                raft_id,
                peer_id,
                address,
                levels,
            } => {
                out.number(if has_levels { 6 } else { 1 });
                out.number(*raft_id);
                out.bytes(peer_id.as_bytes());
                out.bytes(address.as_bytes());
                if has_levels {
                    let Levels { min, max } = levels.unwrap_or(Levels::UNSAID);
                    out.number(min.into());
                    out.number(max.into());
                }
            }
            Self::Promote { raft_id } => {
                out.number(2);
                out.number(*raft_id);
            }
            Self::Remove { raft_id } => {
                out.number(3);
                out.number(*raft_id);
            }
            Self::SetAddresses(addresses) => {
                out.number(4);
                out.number(addresses.len() as u64);
                for (raft_id, address) in addresses {
                    out.number(*raft_id);
                    out.bytes(address.as_bytes());
                }
            }
            Self::SetLevel(level) => {
                out.number(5);
                out.number((*level).into());
            }
        }
        out.finish()
    }

    /// Reads the form in the log, as a binary that knows levels up to `level_max`.
    ///
    /// # Errors
    /// [`Unread`]: the peer must stop.
    pub fn decode(bytes: &[u8], level_max: u32) -> Result<Self, Unread> {
        let change = Self::read(bytes).ok_or(Unread::Damaged)?;
        let level = match &change {
            Self::AddLearner {
                levels: Some(_), ..
            } => LEVEL_OF_LEVELS,
            change => change.form_level(LEVEL_FIRST),
        };
        match level <= level_max {
            true => Ok(change),
            false => Err(Unread::Level(level)),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes, CHANGE_VERSION)?;
        let kind = input.number()?;
        // A raft id; how many addresses change, of kind 4; the level, of kind 5.
        let number = input.number()?;
        let raft_id = number;
        let change = match kind {
            1 => Self::AddLearner {
                raft_id,
                peer_id: input.text()?,
                address: input.text()?,
                levels: None,
            },
            2 => Self::Promote { raft_id },
            3 => Self::Remove { raft_id },
            4 => {
                let mut addresses = BTreeMap::new();
                for _ in 0..number {
                    let raft_id = input.number()?;
                    let next = addresses
                        .last_key_value()
                        .is_none_or(|(id, _)| *id < raft_id);
                    if !next {
                        return None;
                    }
                    addresses.insert(raft_id, input.text()?);
                }
                Self::SetAddresses(addresses)
            }
            5 => Self::SetLevel(number.try_into().ok()?),
            6 => Self::AddLearner {
                raft_id,
                peer_id: input.text()?,
                address: input.text()?,
                levels: Some(Levels {
                    min: input.number()?.try_into().ok()?,
                    max: input.number()?.try_into().ok()?,
                }),
            },
            _ => return None,
        };
        input.end().then_some(change)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn add(levels: Option<Levels>) -> Change {
        Change::AddLearner {
            raft_id: 2,
            peer_id: "b".into(),
            address: "h:2".into(),
            levels,
        }
    }

    #[test]
    fn changes_have_the_bytes_that_are_in_logs() {
        let addresses = [(1, "h:9"), (300, "h:2")];
        let addresses = addresses.map(|(id, address)| (id, address.to_owned()));
        let known = Some(Levels { min: 1, max: 300 });
        // The level of the cluster, the change, its bytes.
        let golden: [(u32, Change, &[u8]); 6] = [
            (1, add(None), b"\x01\x01\x02\x01b\x03h:2"),
            (1, Change::Promote { raft_id: 2 }, &[1, 2, 2]),
            (1, Change::Remove { raft_id: 300 }, &[1, 3, 0xac, 2]),
            (
                1,
                Change::SetAddresses(addresses.into()),
                b"\x01\x04\x02\x01\x03h:9\xac\x02\x03h:2",
            ),
            (1, Change::SetLevel(300), &[1, 5, 0xac, 2]),
            (2, add(known), b"\x01\x06\x02\x01b\x03h:2\x01\xac\x02"),
        ];
        for (level, change, bytes) in golden {
            assert_eq!(change.encode(level), bytes);
            assert_eq!(Change::decode(bytes, 300), Ok(change));
            for cut in 0..bytes.len() {
                let read = Change::decode(&bytes[..cut], 300);
                assert_eq!(read, Err(Unread::Damaged), "cut at {cut}");
            }
        }
        let twice = b"\x01\x04\x02\x01\x03h:9\x01\x03h:2";
        let read = Change::decode(twice, 2);
        assert_eq!(read, Err(Unread::Damaged), "a member is named twice");
    }

    #[test]
    fn what_needs_a_greater_level_is_not_read() {
        let known = Some(Levels { min: 1, max: 3 });
        // A cluster of the first level writes what binaries of the first level read.
        assert_eq!(add(known).encode(1), add(None).encode(1));
        let raised = |level| Change::SetLevel(level).encode(level - 1);
        let of = [(add(known).encode(2), 2), (raised(2), 2), (raised(7), 7)];
        for (bytes, level) in of {
            let read = Change::decode(&bytes, level - 1);
            assert_eq!(read, Err(Unread::Level(level)));
            Change::decode(&bytes, level).unwrap();
        }
    }

    #[test]
    fn members_have_the_bytes_that_are_in_states() {
        let member = Member {
            peer_id: "a".into(),
            address: "h:1".into(),
            voter: true,
        };
        let mut members = Membership {
            cluster_id: [7; 16],
            members: [(1, member)].into(),
            removed: [3].into(),
            raft_id_next: 4,
            level: 1,
        };
        let rest = [&[7; 16][..], b"\x04\x01\x01\x01\x01a\x03h:1\x01\x03"].concat();
        assert_eq!(members.encode(), [&[1][..], &rest].concat());
        assert_eq!(Membership::decode(&members.encode()), Some(members.clone()));
        members.level = 300;
        assert_eq!(members.encode(), [&[2, 0xac, 2][..], &rest].concat());
        assert_eq!(Membership::decode(&members.encode()), Some(members));
    }
}
