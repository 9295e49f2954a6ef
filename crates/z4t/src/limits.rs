//! Bounds and spans of z4t's own, in one place.

use std::time::Duration;

/// Metadata as JSON that still goes into the environment of a command, in bytes;
/// beyond it goes into a file. Linux takes 128 KiB for one variable.
pub(crate) const METADATA_ENV_LEN_MAX: usize = 96 << 10;
/// How long commands that are to end have after SIGTERM before SIGKILL: long
/// enough to tidy up, short enough for somebody who waits at a terminal.
pub(crate) const KILL_AFTER: Duration = Duration::from_secs(5);
/// How long after SIGKILL their standard error is still waited for: a process that
/// left its group may hold it open for ever.
pub(crate) const OVER_AFTER: Duration = Duration::from_secs(1);
/// How often a command whose standard error is still open is looked at: it is the
/// latest that its consumer learns that nobody waits any more.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
