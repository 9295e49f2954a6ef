//! Levels that peers say they know, and whether this one holds that of its cluster.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use z4_consensus::level::check_opening;
use z4_consensus::{Levels, SaidLevels, Status};
use z4_core::View;
use z4_proto::generated::peer::{Levels as Said, Opening};

use crate::delivery::lease_asks::cut;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

/// Notes durably whether the level is held. Called from a thread of its own, one call at a
/// time. It ends the process when it cannot.
pub type HoldHook = Arc<dyn Fn(bool) + Send + Sync>;

/// The knowledge that a peer has of its own binary when it starts.
#[derive(Clone)]
pub struct OwnLevels {
    /// The levels that the binary knows.
    pub levels: Levels,
    /// Its release, for people.
    pub version: String,
    /// An operator had asked this peer to hold the level before it was started.
    pub is_held: bool,
    /// Notes it.
    pub note_hold: HoldHook,
}

/// The knowledge that a peer has of its own binary, as it changes.
pub(crate) struct Own {
    parts: OwnLevels,
    is_held: AtomicBool,
    noting: Mutex<()>,
}

impl Own {
    pub(crate) fn new(parts: OwnLevels) -> Self {
        Self {
            is_held: AtomicBool::new(parts.is_held),
            noting: Mutex::new(()),
            parts,
        }
    }

    pub(crate) fn levels(&self) -> Levels {
        self.parts.levels
    }

    /// The levels that this peer says it knows, and whether it holds that of the cluster.
    pub(crate) fn said(&self) -> SaidLevels {
        SaidLevels {
            levels: self.parts.levels,
            version: self.parts.version.clone(),
            is_held: self.is_held.load(Ordering::Acquire),
        }
    }

    /// The message in which this peer says it, in a cluster of this level.
    pub(crate) fn message(&self, of_cluster: u32) -> Said {
        let mut message = to_message(&self.said());
        message.set_of_cluster(of_cluster);
        message
    }
}

/// The message that tells others what a member has said.
pub(crate) fn to_message(said: &SaidLevels) -> Said {
    let mut message = Said::default();
    message.set_min(said.levels.min);
    message.set_max(said.levels.max);
    message.set_version(said.version.clone());
    message.set_is_held(said.is_held);
    message
}

/// Reads what a peer says; a release of the time before there were levels says nothing.
pub(crate) fn read(message: &Said) -> SaidLevels {
    let levels = match message.get_max() {
        0 => Levels::UNSAID,
        max => Levels {
            min: message.get_min(),
            max,
        },
    };
    SaidLevels {
        levels,
        version: cut(message.get_version().to_owned(), limits::VERSION_LEN_MAX),
        is_held: message.get_is_held(),
    }
}

/// Says why this opener cannot be of one cluster with this peer, if so.
pub(crate) fn check(opening: &Opening, own: Levels, level: u32) -> Result<(), String> {
    let said = opening.get_levels();
    let from = opening.get_from_peer_id();
    check_opening(own, level, from, read(said).levels, said.get_of_cluster())
}

/// Says why a member that has opened a stream before cannot read what the cluster has now, if
/// so.
pub(crate) fn check_said(status: &Status, from: u64, own: Levels) -> Result<(), String> {
    let level = status.membership.level;
    // Each batch of messages comes by here, so the text is made only if it is needed.
    let said = status.said_levels.get(&from);
    let Some(said) = said.filter(|said| said.levels.max < level) else {
        return Ok(());
    };
    check_opening(own, level, &format!("raft id {from}"), said.levels, level)
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// The levels that this peer says it knows, and whether it holds that of the cluster.
    #[must_use]
    pub fn said_levels(&self) -> SaidLevels {
        self.network().own().said()
    }

    /// Holds the level of the cluster, durably, or lets it rise. When it has returned, this
    /// peer proposes no greater level while it holds it.
    pub(crate) async fn hold_level_here(&self, hold: bool) -> Result<(), Error> {
        let Some(identity) = self.network().identity() else {
            let why = "this peer is in no cluster, which could have a level; nothing was noted";
            return Err(Error::Precondition(why.into()));
        };
        let (tx, rx) = futures::channel::oneshot::channel();
        let (network, handle) = (self.network().clone(), self.handle().clone());
        let raft_id = identity.raft_id;
        // The note is written and synced: not for a thread of gRPC.
        let spawned = std::thread::Builder::new()
            .name("z4-hold".into())
            .spawn(move || {
                let own = network.own();
                let Ok(_one_at_a_time) = own.noting.try_lock() else {
                    return;
                };
                (own.parts.note_hold)(hold);
                own.is_held.store(hold, Ordering::Release);
                // The asker may have left.
                let _ = tx.send(handle.said_levels(raft_id, own.said()));
            });
        let busy = || Error::Busy {
            what: "the thread that notes whether the level is held".into(),
            retry_after_ms: 100,
        };
        spawned.map_err(|_| busy())?;
        if !rx.await.map_err(|_| busy())? {
            return Err(busy());
        }
        let told = self.handle().when(|status| {
            let said = status.said_levels.get(&raft_id);
            let is_known = said.is_some_and(|said| said.is_held == hold);
            is_known.then_some(())
        });
        let told = self.timer().within(limits::UNARY_TIMEOUT, Box::pin(told));
        told.await.ok_or_else(busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_says_nothing_knows_the_first_level() {
        let own = Levels { min: 1, max: 2 };
        let mut opening = Opening::default();
        opening.set_from_peer_id("b".into());
        assert_eq!(check(&opening, own, 1), Ok(()));
        let why = check(&opening, own, 2).err().unwrap_or_default();
        assert!(why.contains("b knows the levels 1 to 1"), "{why}");
    }

    /// A stream that was opened before the level was raised.
    #[test]
    fn a_member_that_cannot_read_the_level_is_refused_later_too() {
        let own = Levels { min: 1, max: 3 };
        let refused = |max: Option<u32>, level| {
            let mut status = Status::default();
            status.membership.level = level;
            let said = max.map(|max| SaidLevels {
                levels: Levels { min: 1, max },
                version: String::new(),
                is_held: false,
            });
            status.said_levels.extend(said.map(|said| (2, said)));
            check_said(&status, 2, own).err().unwrap_or_default()
        };
        for (max, level) in [(None, 2), (Some(2), 2), (Some(3), 2), (Some(1), 1)] {
            assert_eq!(refused(max, level), "");
        }
        let why = refused(Some(1), 2);
        assert!(why.contains("raft id 2 knows the levels 1 to 1"), "{why}");
    }

    #[test]
    fn a_version_is_cut_where_it_is_too_long() {
        let mut message = Said::default();
        message.set_version("ä".repeat(limits::VERSION_LEN_MAX));
        let said = read(&message);
        assert!(said.version.len() <= limits::VERSION_LEN_MAX);
        assert!(said.version.starts_with('ä'));
    }
}
