//! Every limit of a request and of one apply step, in one place. Limits of
//! threads, channels and buffers stand in `z4_consensus::limits` and
//! `z4_rpc::limits`; ARCHITECTURE.md has them all on one page.

/// Longest namespace, in bytes.
pub const NAMESPACE_LEN_MAX: usize = 128;
/// Longest request id, in bytes.
pub const REQUEST_ID_LEN_MAX: usize = 256;
/// Largest payload of a task, in bytes.
pub const PAYLOAD_LEN_MAX: usize = 1 << 20;
/// Largest metadata of a task: keys and values together, in bytes.
pub const METADATA_LEN_MAX: usize = 64 << 10;
/// Most entries in the metadata of a task.
pub const METADATA_COUNT_MAX: usize = 1_024;
/// Longest consumer name, in bytes.
pub const CONSUMER_LEN_MAX: usize = 256;
/// Furthest time to start, in seconds (100 years): beyond it a request is taken
/// for a mistake.
pub const TTS_SECONDS_MAX: i64 = 100 * 366 * 24 * 3600;
/// Latest `deliver_at`, in seconds since the epoch (2500-01-01): nanoseconds of
/// 64 bits end in 2554.
pub const DELIVER_AT_SECONDS_MAX: i64 = 16_725_225_600;
/// Most tasks of one create command.
pub const CREATE_COUNT_MAX: usize = 10_000;
/// Most tasks that one lease command hands out.
pub const LEASE_COUNT_MAX: usize = 1_024;
/// Most consumers that one lease command names.
pub const LEASE_TAKERS_MAX: usize = 256;
/// Most tasks of one ack, nack, extend or release command.
pub const ACK_COUNT_MAX: usize = 4_096;
/// Most tasks of one cancel, reschedule, redrive or purge command.
pub const CHANGE_COUNT_MAX: usize = 1_024;
/// Most leases and timers that one pulse ends, and most tasks of a namespace in
/// deletion that it removes; the machine asks for the next pulse at once.
pub const PULSE_COUNT_MAX: usize = 1_024;
/// How long a pulse may stay away before it is proposed again, in nanoseconds: an
/// entry that is not lost is applied long before.
pub const PULSE_RETRY_NS: u64 = 1_000_000_000;
/// Bytes of bodies that one pulse reads at most of a namespace in deletion, so that
/// no entry holds up those behind it.
pub const DELETE_BYTES_MAX: u64 = 16 << 20;
/// Most lease commands of one namespace in flight: a task that falls due right after
/// a command was proposed need not wait until that one is committed.
pub const DISPATCH_IN_FLIGHT_MAX: usize = 4;
/// Most leases of one namespace that are offered to ride with new tasks at a time. A second
/// one would name the same consumers again, before others have had their turn.
pub const DISPATCH_RIDERS_MAX: usize = 1;
/// Least time between two lease commands of one namespace, in nanoseconds: tasks
/// that fall due together travel together.
pub const DISPATCH_COALESCE_NS: u64 = 3_000_000;
/// How far ahead a lease command may take tasks, in milliseconds.
pub const LEASE_AHEAD_MS_MAX: u64 = 1_000;
/// How far ahead the dispatcher leases, in milliseconds. Such a lease takes a task out of
/// the reach of cancels and reschedules, and holds room of its consumer, so it is not long.
pub const DISPATCH_AHEAD_MS: u64 = 16;
/// How long before a due time the dispatcher proposes its lease, in nanoseconds: a commit
/// takes less. What is left of [`DISPATCH_AHEAD_MS`] is for tasks that fall due soon after,
/// which travel together.
pub const DISPATCH_AHEAD_START_NS: u64 = 6_000_000;
/// How long a namespace rests after a proposal failed, in nanoseconds: a queue that
/// was full is not full for long.
pub const DISPATCH_RETRY_NS: u64 = 10_000_000;
/// After so long without an answer a command in flight counts as lost, in
/// nanoseconds. A leader whose commands do not commit steps down long before.
pub const DISPATCH_LOST_NS: u64 = 10_000_000_000;
/// How much of a refused address an error shows, in characters: enough to see what
/// it is.
pub const ADDRESS_SHOWN_LEN_MAX: usize = 80;
/// Most dead letters that one burial removes because of `dead_keep_count`.
pub const DEAD_TRIM_MAX: usize = 16;
/// Longest error that a nack leaves with a task, in bytes; longer ones are cut.
pub const ERROR_LEN_MAX: usize = 1_024;
/// Highest `max_attempts` of a task.
pub const ATTEMPTS_MAX: u32 = 1_000_000;
/// Longest time that a task may wait beyond its due time, in milliseconds (100
/// years).
pub const TTL_MS_MAX: u64 = 100 * 366 * 24 * 3_600_000;
/// Shortest lease, in milliseconds.
pub const LEASE_MS_MIN: u64 = 10;
/// Longest lease, in milliseconds (a day); longer work extends its lease.
pub const LEASE_MS_MAX: u64 = 24 * 3_600_000;
/// Longest delay of a nack or backoff, in milliseconds (100 years).
pub const DELAY_MS_MAX: u64 = TTL_MS_MAX;
/// Longest dedupe window, in milliseconds (30 days).
pub const DEDUPE_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// Longest time that dead letters are kept when a limit is set, in milliseconds
/// (100 years).
pub const DEAD_KEEP_MS_MAX: u64 = TTL_MS_MAX;
/// Most deliveries in the period of a rate limit. With the shortest period it is
/// what no cluster reaches.
pub const RATE_COUNT_MAX: u32 = 1_000_000;
/// Shortest period of a rate limit, in milliseconds.
pub const RATE_PERIOD_MS_MIN: u64 = 1_000;
/// Longest period of a rate limit, in milliseconds (a day): one delivery in it is
/// the slowest rate.
pub const RATE_PERIOD_MS_MAX: u64 = 24 * 3_600_000;
/// Largest burst of deliveries that can be set.
pub const RATE_BURST_MAX: u32 = 1_000_000;
/// Most outdated request ids that one entry forgets on the way.
pub const FORGET_COUNT_MAX: usize = 64;
/// How long a lease lasts unless the namespace says otherwise, in milliseconds.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// How long a request id is remembered unless the namespace says otherwise, in
/// milliseconds.
pub const DEDUPE_MS_DEFAULT: u64 = 600_000;
/// First backoff after a failure unless the namespace says otherwise, in
/// milliseconds.
pub const BACKOFF_MIN_MS_DEFAULT: u64 = 1_000;
/// Longest backoff after a failure unless the namespace says otherwise, in
/// milliseconds.
pub const BACKOFF_MAX_MS_DEFAULT: u64 = 600_000;
/// How often in a row a task that was in hand may be given back without a failure
/// and be due again at once. After that it waits for the namespace's backoff, which
/// doubles with each further time: a consumer that leaves whenever it meets the
/// task would otherwise get it again at once, for ever, and nothing counts it.
pub const RETURNS_AT_ONCE_MAX: u32 = 3;
/// How far apart the marks of a namespace's rates stand, in milliseconds.
pub const RATE_MARK_MS: u64 = 10_000;
/// Most namespaces of a cluster. Each holds its counters and cursors in memory
/// (about 600 bytes).
pub const NAMESPACE_COUNT_MAX: usize = 100_000;
/// Most principals of a cluster: each change looks at all of them.
pub const PRINCIPALS_MAX: usize = 1_000;
/// Most grants of a principal.
pub const GRANTS_MAX: usize = 64;
/// Most tokens of a principal, expired ones too: two for each of a few programs, so that one
/// can be exchanged while the other is in use.
pub const TOKENS_MAX: usize = 16;
/// Longest life of a token that ends, in milliseconds (100 years).
pub const TOKEN_MS_MAX: u64 = TTL_MS_MAX;
/// Most names of client certificates of a principal.
pub const NAMES_MAX: usize = 16;
/// Longest name of a client certificate, in bytes.
pub const NAME_LEN_MAX: usize = 256;
/// Most violations that the report of a check of the state has in words.
pub const VIOLATIONS_MAX: usize = 100;
