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
/// Most tasks of one ack or release command.
pub const ACK_COUNT_MAX: usize = 4_096;
/// Most leases that one pulse ends; the machine asks for the next at once.
pub const EXPIRE_COUNT_MAX: usize = 1_024;
/// Most outdated request ids that one entry forgets on the way.
pub const FORGET_COUNT_MAX: usize = 64;
/// How long a lease lasts unless the namespace says otherwise, in milliseconds.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// How long a request id is remembered unless the namespace says otherwise, in
/// milliseconds.
pub const DEDUPE_MS_DEFAULT: u64 = 600_000;
/// Most namespaces of a cluster. Each holds its counters and cursors in memory
/// (about 600 bytes).
pub const NAMESPACE_COUNT_MAX: usize = 100_000;
