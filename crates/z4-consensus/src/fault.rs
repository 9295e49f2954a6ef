//! Fail points: places at which a test makes something go wrong.
//!
//! Each has a name, listed in [`POINTS`] with what stands there. With the feature
//! `failpoints` the variable `FAILPOINTS` says at start what happens at which
//! (`log.write=return(disk on fire);reply=2*off->pause`, the language of the crate
//! `fail`), and `z4-server` takes changes while it runs, on its status port. In every
//! other build a point does nothing, and cannot be reached.
//!
//! `return(TEXT)` makes a step fail with that text; where a point has no way to
//! fail, and with the text `kill` everywhere, the process ends on the spot, as by
//! kill -9.

/// A fail point's error; the text of its `return`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(pub String);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Fault> for std::io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault.0)
    }
}

/// All points: name, and what stands there. A point named after a step fails
/// instead of the step; one named after what has been done stands behind it.
pub const POINTS: &[(&str, &str)] = &[
    // Small files, z4-storage/src/files.rs and bound.rs.
    (
        "file.write",
        "a small file is written and synced, under a passing name",
    ),
    ("file.rename", "it gets its name"),
    ("dir.sync", "the names in a directory are made durable"),
    ("files.sync", "all files of a directory are made durable"),
    (
        "bound.open",
        "a file of the lower bound of the log is opened, to be kept open",
    ),
    (
        "bound.write",
        "a file of the lower bound of the log is written and synced",
    ),
    // The raft log, z4-storage/src/raft_log.rs.
    ("log.open", "the database of the raft log is opened"),
    ("log.read", "entries are read"),
    (
        "log.bound_lowered",
        "the bound is lowered, entries not replaced",
    ),
    ("log.write", "entries and hard state are written and synced"),
    ("log.written", "they are, and nobody knows"),
    ("log.bound.follow", "the bound follows what was synced"),
    ("log.cut", "entries are cut off at the front"),
    ("log.cut.written", "they are, their files are there"),
    ("log.release", "space of what was cut is given back"),
    ("log.reset", "the log is reset to a snapshot"),
    (
        "log.reset.bound_lowered",
        "the bound is lowered, the log not reset",
    ),
    (
        "log.reset.written",
        "the log is reset, the bound not raised",
    ),
    // The task state, z4-storage/src/task_state.rs and live.rs.
    ("state.open", "the database of the task state is opened"),
    ("state.created", "it was made, CURRENT does not name it"),
    ("state.read", "a row is read"),
    (
        "state.committed",
        "a run of entries is in memory, and nobody was answered",
    ),
    ("flush.begun", "the state is about to be flushed"),
    ("state.write", "a cut of it is written, without a sync"),
    ("state.written", "it is, and not synced"),
    ("flush", "what was written is synced"),
    ("flush.done", "it is, the log not cut"),
    // Snapshots, z4-storage/src/snapshot.rs.
    ("checkpoint", "a snapshot is made"),
    ("checkpoint.made", "it is, and not synced"),
    ("checkpoint.remove", "one that nobody needs is removed"),
    ("install", "a received snapshot becomes the state"),
    ("install.moved", "it has its place, and was not opened"),
    ("install.verified", "it was, CURRENT does not name it"),
    ("install.switched", "CURRENT does, the log was not reset"),
    // Who a peer is, z4-storage/src/store.rs and peer_dir.rs.
    ("identity.write", "the identity is written"),
    ("bootstrap.begun", "founding has begun"),
    (
        "bootstrap.applied",
        "the log is applied to the state of the founder",
    ),
    ("bootstrap.owned", "the task data has its owner"),
    ("bootstrap.committed", "the first state is written"),
    ("bootstrap.flushed", "and flushed"),
    ("bootstrap.log_reset", "the log begins"),
    ("bootstrap.bounded", "its bound does"),
    ("join.identified", "a newcomer knows who it is"),
    ("join.bounded", "and has a bound"),
    ("level_hold.write", "whether the level is held is written"),
    ("removed.mark", "a removed peer notes it"),
    ("quarantine.write", "a damaged peer notes it"),
    // Threads, z4-consensus/src/runtime.
    ("raft.send", "messages are handed to the transport"),
    ("raft.persist", "a group of writes goes to the log"),
    (
        "raft.persisted",
        "it is durable, the raft thread does not know",
    ),
    ("raft.apply", "a run of committed entries is applied"),
    ("raft.applied", "it is, and nobody was answered"),
    (
        "raft.installed",
        "the machine has a snapshot, the log was not reset",
    ),
    // Services, z4-rpc.
    (
        "port.accept",
        "a connection is accepted; with a text that ends with `listener` its socket is lost",
    ),
    ("lease.grant", "the leader proposes leases"),
    ("ack.reply", "an ack is applied, and not answered"),
    ("create.reply", "a create is applied, and not answered"),
    ("forward.reply", "the leader answers a follower"),
    ("snapshot.send", "a snapshot goes out"),
    ("snapshot.receive.write", "a piece of one is written"),
    ("snapshot.receive.sync", "a file of one is synced"),
    (
        "snapshot.receive.rename",
        "all files of one are there, and get their name",
    ),
];

/// Does what the test said for a point that can fail.
///
/// # Errors
/// The text of `return(TEXT)`.
///
/// # Panics
/// When the point is not in [`POINTS`], or the test says `panic`.
#[cfg(feature = "failpoints")]
pub fn point(name: &'static str) -> Result<(), Fault> {
    assert!(
        POINTS.iter().any(|(known, _)| *known == name),
        "{name} is not in the list"
    );
    match fail::eval(name, |text| text.unwrap_or_default()) {
        None => Ok(()),
        Some(text) if text == "kill" => die(),
        Some(text) => Err(Fault(format!("fail point {name}: {text}"))),
    }
}

/// Nothing.
///
/// # Errors
/// None.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_name: &'static str) -> Result<(), Fault> {
    Ok(())
}

/// As [`point`], where nothing can fail: the process ends instead.
#[cfg(feature = "failpoints")]
pub fn mark(name: &'static str) {
    if point(name).is_err() {
        die();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn mark(_name: &'static str) {}

/// As by kill -9: nothing is written, flushed or said.
#[cfg(feature = "failpoints")]
fn die() -> ! {
    std::process::abort()
}

/// Reads `FAILPOINTS`. To be called once, before any point is reached.
#[cfg(feature = "failpoints")]
pub fn from_environment() {
    // For as long as the process lives.
    std::mem::forget(fail::FailScenario::setup());
}

/// Says from now on what happens at a point: `off` for nothing.
///
/// # Errors
/// When there is no such point, or the action is not understood.
#[cfg(feature = "failpoints")]
pub fn set(name: &str, action: &str) -> Result<(), String> {
    if !POINTS.iter().any(|(known, _)| *known == name) {
        return Err(format!("there is no point {name}"));
    }
    fail::cfg(name, action)
}

#[cfg(test)]
mod tests {
    use super::POINTS;

    #[test]
    fn names_are_unique_and_many() {
        let names: std::collections::BTreeSet<_> = POINTS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), POINTS.len());
        assert!(names.len() >= 40, "{}", names.len());
    }
}
