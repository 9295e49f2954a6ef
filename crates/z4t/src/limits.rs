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

/// The time that a peer which replaces another one may take to catch up after it was added.
pub(crate) const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at how far it is.
pub(crate) const CATCH_UP_LOOK: Duration = Duration::from_millis(200);
/// A member that is to be replaced by itself and answers for so long is left as it is.
pub(crate) const SILENCE_LOOK: Duration = Duration::from_secs(4);

/// The widest that a cell makes its column, in characters. A longer cell stands
/// whole and pushes its own line aside; the other lines do not grow with it, or a
/// thousand tasks beside one of 1 MiB would be a gigabyte of blanks.
pub(crate) const COLUMN_WIDTH_MAX: usize = 128;
/// Longest line that is read: a payload at its limit as base64, and the rest of
/// what a request may hold.
pub(crate) const LINE_LEN_MAX: u64 = 4 << 20;
/// Answers that are waited for, at most, before more lines are read.
pub(crate) const ANSWERS_MAX: usize = 10_000;
/// Most tasks that are sorted here, for the peer does not sort them: about 100 MB
/// of them without payloads.
pub(crate) const SORT_COUNT_MAX: usize = 100_000;
/// Most bytes of payload and metadata that are held to be sorted.
pub(crate) const SORT_BYTES_MAX: u64 = 256 << 20;
/// Most tasks of a page that is asked for: as many as a peer gives.
pub(crate) const PAGE_LEN_MAX: u32 = 1_000;
/// How many times longer a page is than one before it that held fewer tasks than are
/// wanted, for not all of them are picked.
pub(crate) const PAGE_GROWTH: u32 = 8;
/// Dead letters of one call that changes them: each is answered in good time, however
/// many there are.
pub(crate) const DEAD_CHANGE_MAX: u64 = 10_000;
/// The longest first name of a certificate, in bytes: X.509 takes no longer common name.
pub(crate) const CERT_NAME_LEN_MAX: usize = 64;
/// Longest further name of a certificate, in bytes: the limit of DNS.
pub(crate) const HOST_LEN_MAX: usize = 253;
/// Most names of a certificate: it is sent at each handshake.
pub(crate) const SANS_MAX: usize = 100;
/// Longest time for which a certificate is good, in days: a hundred years.
pub(crate) const CERT_DAYS_MAX: u32 = 36_500;
/// The level of the cluster is looked at so often while it is to rise.
pub(crate) const LEVEL_LOOK: Duration = Duration::from_millis(500);
/// How often a deletion is looked at: somebody waits for its end at a terminal.
pub(crate) const DELETION_LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The least time between two lines of progress: faster than it is read.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Longest file of contexts, in bytes: thousands of them.
pub(crate) const CONFIG_LEN_MAX: u64 = 1 << 20;
/// Longest name of a context, in bytes.
pub(crate) const CONTEXT_NAME_LEN_MAX: usize = 64;
/// Random bytes of a secret that is made here.
pub(crate) const SECRET_LEN: usize = 32;
/// How long to wait for an answer, unless `--timeout` says otherwise.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait where members have to catch up or to read all they have.
pub(crate) const PATIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A backup that is older is no backup of today.
pub(crate) const BACKUP_AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A certificate that is good for less is told of: as long as peers warn in their logs.
pub(crate) const CERTIFICATE_LEFT_MIN: Duration = Duration::from_secs(14 * 24 * 3_600);
/// File descriptors of a peer: with fewer, connections of clients are cut short.
pub(crate) const DESCRIPTORS_MIN: u64 = 65_536;
/// Descriptors that may be open, of a hundred.
pub(crate) const DESCRIPTORS_PERCENT_MAX: u64 = 80;
/// Connections of clients that may be open, of a hundred.
pub(crate) const CONNECTIONS_PERCENT_MAX: u64 = 80;
/// Bytes of memory that may be in use, of a hundred that a peer may have.
pub(crate) const MEMORY_PERCENT_MAX: u64 = 90;
/// Connections that may wait at a port: as many as peers ask the system for.
pub(crate) const BACKLOG_MIN: u64 = 4_096;
/// A namespace is told of from so many parts of a hundred of its limit on.
pub(crate) const FULL_PERCENT_MIN: u64 = 90;
/// Names of namespaces in one finding: more are counted.
pub(crate) const NAMES_SHOWN_MAX: usize = 5;
/// Pages of namespaces that `doctor` and `top` read at a time, of [`PAGE_LEN_MAX`] each: a
/// cluster may have a hundred thousand, and a screen is drawn each second.
pub(crate) const NAMESPACE_PAGES_MAX: usize = 10;
/// Namespaces that `top` asks more of and shows, on a screen of any height.
pub(crate) const TOP_NAMESPACES_MAX: usize = 20;
/// Between two frames of `top`, unless `--interval` says otherwise.
pub(crate) const TOP_INTERVAL: &str = "1s";
/// The shortest and the longest such interval: with a shorter one the look itself would be
/// most of the load, and a longer one is for metrics.
pub(crate) const TOP_INTERVAL_MIN: Duration = Duration::from_millis(200);
pub(crate) const TOP_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// Between two looks at the keyboard while a frame stands.
pub(crate) const KEY_LOOK: Duration = Duration::from_millis(50);
/// Lines of a screen whose terminal does not tell its height.
pub(crate) const SCREEN_LINES: usize = 24;
