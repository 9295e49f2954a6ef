//! Levels: what may stand in the log, in rows, in snapshots and in messages between peers.
//!
//! A level is one number of a whole cluster. Each binary can read and write those of a
//! range, and says so whenever it opens a stream to another member. A cluster has the level
//! that stands in its members ([`Membership::level`](crate::Membership)), and nothing of a
//! greater one is written or sent by anybody. So a member whose binary is older can go on,
//! and a member can be taken back to its older binary, until the level is raised.
//!
//! The leader raises the level by itself, with [`Change::SetLevel`](crate::Change), when
//! all members have said for a while that they know a greater one, and no operator holds it.
//! The raise is a change of members, of which one is in the log at a time. So nobody becomes a
//! member while a raise is on its way, and after it nobody who does not know the new level.
//!
//! The idea is that of the versions of a CockroachDB cluster and of etcd: automatic, with a
//! way to hold it, and never a list of switches that people must remember.

use std::fmt;

use crate::planted::planted;

/// The level of clusters and binaries of the time before there were levels.
pub const LEVEL_FIRST: u32 = 1;
/// The level from which on the members have a level, and a newcomer says in the log which
/// ones it knows.
pub const LEVEL_OF_LEVELS: u32 = 2;

/// The levels that a binary can read and write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// The least one.
    pub min: u32,
    /// The greatest one.
    pub max: u32,
}

impl Levels {
    /// The levels of a binary that does not say which ones it knows.
    pub const UNSAID: Self = Self {
        min: LEVEL_FIRST,
        max: LEVEL_FIRST,
    };

    /// Tells whether a cluster of this level can be served.
    #[must_use]
    pub fn include(self, level: u32) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

/// Says whether a stream may be opened between a peer whose binary knows the levels `own` and
/// which has a cluster of `level`, and the peer `from`, which says of itself that its binary
/// knows the levels `said` and that its cluster has level `of_cluster`. One of the two may
/// lag behind.
///
/// # Errors
/// A text for a person: the older of the two must not get what it cannot read.
pub fn check_opening(
    own: Levels,
    level: u32,
    from: &str,
    said: Levels,
    of_cluster: u32,
) -> Result<(), String> {
    if planted!("opening-of-any-level") {
        return Ok(());
    }
    if said.max < level {
        return Err(format!(
            "{from} knows the levels {said} and the cluster has level {level}; start {from} with \
             a release that knows level {level}"
        ));
    }
    if of_cluster > own.max {
        return Err(format!(
            "the cluster has level {of_cluster} and this peer knows the levels {own}; start this \
             peer with a release that knows level {of_cluster}"
        ));
    }
    Ok(())
}

/// The binary of a peer does not know the level of its cluster: the peer must not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the cluster has level {level}, and this release knows the levels {levels}; start this peer \
     with a release that knows level {level}"
)]
pub struct UnknownLevel {
    /// The level of the cluster.
    pub level: u32,
    /// The levels that the binary knows.
    pub levels: Levels,
}

/// A member says this of its binary when it opens a stream, and again every few seconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaidLevels {
    /// The levels that its binary knows.
    pub levels: Levels,
    /// The release of its binary, for people; empty when it is not said.
    pub version: String,
    /// An operator has asked this member that the level of the cluster is not raised.
    pub is_held: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_one_cluster_know_its_level() {
        let own = Levels { min: 1, max: 3 };
        let refused = |max, of_cluster, level| {
            let said = Levels { min: 1, max };
            let checked = check_opening(own, level, "b", said, of_cluster);
            checked.err().unwrap_or_default()
        };
        // The one that lags is let in, whichever of the two it is.
        for (max, theirs, level) in [(1, 1, 1), (3, 3, 1), (3, 1, 3), (9, 3, 2), (2, 2, 0)] {
            assert_eq!(refused(max, theirs, level), "");
        }
        let why = refused(2, 2, 3);
        assert!(why.contains("b knows the levels 1 to 2"), "{why}");
        let why = refused(4, 4, 3);
        assert!(why.contains("this peer knows the levels 1 to 3"), "{why}");
    }
}
