//! Every durable step of a server fails once, or the server dies beside it:
//! nothing is acknowledged after, the process ends with the reason, and started
//! again it has all that was acknowledged. `make failpoints` builds the servers
//! that these tests need; the lists of what they do are held against the list of
//! all points in every build.
//!
//! | file | what |
//! |---|---|
//! | here | which points are met, and by whom |
//! | `acts` | what the tests do to peers, and look at after |
//! | `steps` | a peer alone, a founder, a newcomer, who lets it in |
//! | `roles` | the leader and a follower of three peers under load |
//! | `apart` | points that take a situation of their own |

#[cfg(feature = "failpoints")]
mod acts;
#[cfg(feature = "failpoints")]
mod apart;
#[cfg(feature = "failpoints")]
mod roles;
#[cfg(feature = "failpoints")]
mod steps;

use std::collections::BTreeSet;

/// How a peer ends at a point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With the reason.
    Said,
    /// As by kill -9.
    Killed,
}

/// Points of a peer that serves.
pub const SERVING: &[(&str, End)] = &[
    ("raft.persist", End::Said),
    ("log.write", End::Said),
    ("log.written", End::Killed),
    ("log.bound.follow", End::Said),
    ("bound.write", End::Said),
    ("raft.persisted", End::Killed),
    ("raft.apply", End::Said),
    ("state.committed", End::Killed),
    ("raft.applied", End::Killed),
    ("create.reply", End::Killed),
    ("lease.grant", End::Killed),
    ("ack.reply", End::Killed),
    ("flush.begun", End::Killed),
    ("state.write", End::Said),
    ("state.written", End::Killed),
    ("flush", End::Said),
    ("flush.done", End::Killed),
    ("log.cut", End::Said),
    ("log.cut.written", End::Killed),
    ("state.read", End::Said),
];

/// Points of the first start of a founder.
pub const FOUNDING: &[(&str, End)] = &[
    ("log.open", End::Said),
    ("state.open", End::Said),
    ("state.created", End::Killed),
    ("bound.open", End::Said),
    ("file.write", End::Said),
    ("file.rename", End::Said),
    ("dir.sync", End::Said),
    ("identity.write", End::Said),
    ("bootstrap.begun", End::Killed),
    ("bootstrap.applied", End::Killed),
    ("bootstrap.owned", End::Killed),
    ("bootstrap.committed", End::Killed),
    ("bootstrap.flushed", End::Killed),
    ("log.reset", End::Said),
    ("log.reset.bound_lowered", End::Killed),
    ("log.reset.written", End::Killed),
    ("bootstrap.log_reset", End::Killed),
    ("bound.write", End::Said),
    ("bootstrap.bounded", End::Killed),
];

/// Points of a newcomer on its way in.
pub const JOINING: &[(&str, End)] = &[
    ("identity.write", End::Said),
    ("log.reset", End::Said),
    ("join.identified", End::Killed),
    ("join.bounded", End::Killed),
    ("install", End::Said),
    ("files.sync", End::Said),
    ("install.moved", End::Killed),
    ("install.verified", End::Killed),
    ("install.switched", End::Killed),
    ("raft.installed", End::Killed),
];

/// Points of a leader that lets a newcomer in.
pub const LEADING: &[(&str, End)] = &[
    ("checkpoint", End::Said),
    ("checkpoint.made", End::Killed),
    ("raft.send", End::Killed),
];

/// Points where an error is borne: the step is taken again, with other files.
pub const BORNE_BY_NEWCOMER: &[&str] = &[
    "snapshot.receive.write",
    "snapshot.receive.sync",
    "snapshot.receive.rename",
];

/// Points that a leader of three peers meets, and a peer alone does not.
pub const LEADING_THREE: &[(&str, End)] =
    &[("raft.send", End::Killed), ("forward.reply", End::Killed)];

/// Points that take a situation of their own, each in a test of its own.
pub const APART: &[&str] = &[
    "port.accept",
    "log.read",
    "log.release",
    "log.bound_lowered",
    "level_hold.write",
    "removed.mark",
    "quarantine.write",
    "snapshot.send",
    "checkpoint.remove",
];

#[test]
fn every_fail_point_is_met_by_a_test() {
    let ending = [SERVING, FOUNDING, JOINING, LEADING, LEADING_THREE].concat();
    let ending = ending.into_iter().map(|(point, _)| point);
    let other = [BORNE_BY_NEWCOMER, APART].concat();
    let met: BTreeSet<&str> = ending.chain(other).collect();
    let all = z4_consensus::fault::POINTS.iter().map(|(point, _)| *point);
    assert_eq!(met, all.collect(), "left: met by a test; right: all points");
}
