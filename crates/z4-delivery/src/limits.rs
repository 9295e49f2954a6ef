//! Every bound of sessions, in one place. Spans are in nanoseconds of the
//! monotonic clock, unless the name says otherwise.

const MS_NS: u64 = 1_000_000;

/// Sessions of one peer; one more is refused.
pub const SESSION_COUNT_MAX: usize = 10_000;
/// Consumers of other peers that the leader keeps in mind.
pub const REMOTE_CONSUMER_COUNT_MAX: usize = 200_000;

/// Who waits for a time of the wall clock looks at it at least this often: it may be
/// set at any moment, and a machine that sleeps does not count the time.
pub const CLOCK_LOOK_NS: u64 = 1_000 * MS_NS;

/// Longest consumer id of a client, in bytes.
pub const CONSUMER_ID_LEN_MAX: usize = 128;
/// Most tasks that a consumer may have in flight: delivered and not ended.
pub const IN_FLIGHT_MAX: u32 = 10_000;
/// Leases that one session keeps at its peer. What is granted beyond it, by a
/// leader that does not keep to the credit, is released.
pub const LEDGER_LEN_MAX: usize = 2 * IN_FLIGHT_MAX as usize;

/// Tasks granted to one GetTaskStream and not yet written to it.
pub const STREAM_WINDOW: u64 = 256;
/// Tasks of one GetTaskStream that are written and whose ack is not yet applied;
/// then no more are written.
pub const STREAM_UNACKED_MAX: u64 = 4_096;
/// Length of the leases of GetTaskStream, in milliseconds.
pub const STREAM_LEASE_MS: u64 = 10_000;
/// A written task waits this long for others to be acknowledged with. Longer
/// waits cost fewer entries, but their bursts hold up the leases behind them.
pub const ACK_DELAY_NS: u64 = 25 * MS_NS;
/// Leases of one ack or release that no client asked for.
pub const ACK_BATCH_MAX: usize = 1_024;

/// Tasks of one batch that goes to a consumer. A session has two on the way at
/// most, so that the second is read while the first is written.
pub const BATCH_LEN_MAX: usize = 64;

/// A report to the leader that failed is repeated after this.
pub const REPORT_RETRY_NS: u64 = 100 * MS_NS;
/// Least time between two messages of a leader that tell its clock because tasks are due
/// elsewhere: each of them speaks for all that is due by then.
pub const CLOCK_TELL_NS: u64 = MS_NS / 2;
/// How long an ack, nack, extend or release of a Consume session is tried; then
/// the session ends.
pub const ASK_PATIENCE_NS: u64 = 30_000 * MS_NS;
/// A Consume session tries for so long to resume what its consumer has from before. Then it
/// ends, and its client tries another peer; it opens without what other sessions have.
pub const RESUME_PATIENCE_NS: u64 = 3_000 * MS_NS;
/// How long a Consume session that its client closed waits until what the client
/// had is given back; then it ends without that being certain.
pub const CLOSE_PATIENCE_NS: u64 = 3_000 * MS_NS;
/// A drained Consume session whose last leases ended without a word of its client
/// waits so long for that word. GetTaskStream and LeaseTasks have no words.
pub const LAST_WORD_NS: u64 = 10_000 * MS_NS;
/// A Consume session whose client sends no more is taken for closed, and not for
/// broken, after this.
pub const HALF_CLOSE_GRACE_NS: u64 = 50 * MS_NS;
/// LeaseTasks that stood in line takes what else comes within this time.
pub const LEASE_GATHER_NS: u64 = 10 * MS_NS;
