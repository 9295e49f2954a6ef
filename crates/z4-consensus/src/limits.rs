//! Every bound of channels, batches and time-outs of consensus, in one place.
//! ARCHITECTURE.md has the bounds of all crates on one page.

use std::time::Duration;

/// Messages, proposals and notices that wait for the raft thread.
pub const INBOX_LEN_MAX: usize = 8_192;
/// Batches that wait for the log thread.
pub const LOG_QUEUE_LEN_MAX: usize = 256;
/// Batches that wait for the apply thread.
pub const APPLY_QUEUE_LEN_MAX: usize = 256;
/// Bytes of proposals between acceptance and reply; above it: Busy.
pub const PROPOSAL_BYTES_MAX: usize = 128 << 20;
/// Proposals between acceptance and reply; above it: Busy.
pub const PROPOSAL_COUNT_MAX: usize = 65_536;
/// Reads that wait for a confirmation; above it: Busy.
pub const READ_COUNT_MAX: usize = 16_384;
/// Largest command, in bytes: a message at its limit, re-encoded.
pub const COMMAND_LEN_MAX: usize = 9 << 20;
/// An entry is closed when its commands reach this size, in bytes.
pub const ENTRY_LEN_TARGET: usize = 1 << 20;
/// Most commands of one entry.
pub const ENTRY_COMMAND_COUNT_MAX: usize = 4_096;
/// Most task ids of one entry: what a task id has room for.
pub const ENTRY_UNITS_MAX: u32 = 1 << 20;
/// Appended but uncommitted bytes at a leader; above it: Busy.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
/// Committed bytes handed to apply in one Ready.
pub const COMMITTED_BYTES_PER_READY_MAX: u64 = 16 << 20;
/// Largest append message, in bytes; one entry above it goes alone.
pub const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Append messages in flight to one follower.
pub const APPEND_INFLIGHT_MAX: usize = 48;
/// Recent entries kept in memory for followers, in bytes, beyond those that
/// are not yet durable. A follower that is further behind is fed from the log on disk,
/// most of which the system still has in memory.
pub const ENTRY_CACHE_BYTES_MAX: usize = 32 << 20;
/// A message may not name a term further ahead than this.
pub const TERM_AHEAD_MAX: u64 = 1_000_000;
/// No log is longer: a task id has room for so many entries. A message may not
/// name an index beyond, so that sums of indexes do not overflow.
pub const INDEX_MAX: u64 = 1 << 44;
/// Most entries of one message.
pub const MESSAGE_ENTRY_COUNT_MAX: usize = 65_536;

/// Length of a tick.
pub const TICK: Duration = Duration::from_millis(50);
/// Ticks between heartbeats.
pub const HEARTBEAT_TICKS: usize = 3;
/// Ticks without a leader before an election, at least; at most twice that.
pub const ELECTION_TICKS: usize = 10;
/// Ticks that the raft thread sleeps through at most, when none of them would do
/// anything. With a leader its heartbeats wake a follower earlier, so that a longer sleep
/// is a stall.
pub const QUIET_TICKS_MAX: u64 = 4;

/// Log entries kept for followers that lag, if the log stays below the next
/// limit.
pub const LOG_KEEP_ENTRIES: u64 = 10_000;
/// Bytes of log behind a follower beyond which it is given a snapshot instead.
pub const LOG_KEEP_BYTES_MAX: u64 = 256 << 20;
/// The same while disk space is low.
pub const LOG_KEEP_LOW_BYTES_MAX: u64 = 16 << 20;
/// While disk space is low, log is kept for followers that were heard of within
/// this time: long enough for a restart.
pub const REMEMBERED: Duration = Duration::from_secs(180);
/// State is flushed, and the log cut, when this much log was applied since.
pub const FLUSH_LOG_BYTES: u64 = 32 << 20;
/// State is flushed at least this often while entries are applied.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(60);

/// A learner this close to the end of the log is promoted.
pub const PROMOTE_LAG_MAX: u64 = 128;
/// A read is asked again, in a fresh context, this often.
pub const READ_RETRY: Duration = Duration::from_millis(200);
/// A read waits this long at most.
pub const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// All members must have known a greater level for so many ticks, 10 s, before it is raised:
/// one that is being taken back to its older binary is not there all the time.
pub const LEVEL_SETTLE_TICKS: u64 = 200;

/// The levels that a member has said count for so long, unless it says them again. The time is
/// shorter than that after which the level is raised.
pub const LEVELS_SAID_FOR: Duration = Duration::from_secs(6);

/// Members that are found at other addresses than the members have: real
/// clusters have a handful of members.
pub const FOUND_ADDRESS_COUNT_MAX: usize = 1_024;

/// Entries after which the apply thread applies a run even if more waits.
pub const APPLY_RUN_ENTRIES_MAX: usize = 1_024;
/// Bytes after which the apply thread applies a run even if more waits.
pub const APPLY_RUN_BYTES_MAX: u64 = 16 << 20;
/// Bytes after which the log thread writes a group even if more waits.
pub const LOG_GROUP_BYTES_MAX: usize = 16 << 20;
/// Jobs that wait before the channel of the log or the apply thread; from so many on
/// the raft thread takes nothing more in.
pub const OUTBOX_LEN_MAX: usize = 64;
/// Inputs of one kind that the raft thread takes in before it does the work.
pub const ROUND_INPUT_COUNT_MAX: usize = 4_096;
/// How long a stopping leader waits for another to take over.
pub const HAND_OVER_TIME: Duration = Duration::from_secs(3);
/// A member that this peer, lagging, has not heard of is let in if its raft id
/// is at most this far beyond those it knows.
pub const UNKNOWN_AHEAD_MAX: u64 = 16;
/// Tries of confirming reads that are under way; the reads that come meanwhile go
/// into the next one together.
pub const READ_TRIES_MAX: usize = 4;
/// The raft thread applies so much itself while nothing waits for it and the apply thread
/// has nothing to do, in bytes of log: one small command, if the machine calls it light.
/// With more, the two threads are quicker, because they work at the same time; to wake
/// one and to be woken by it takes some 50 microseconds.
pub const INLINE_BYTES_MAX: u64 = 600;

/// Addresses of `Z4_JOIN`.
pub const JOIN_COUNT_MAX: usize = 64;
/// An empty peer that was refused asks the next member after this time, which doubles with
/// each refusal.
pub const JOIN_RETRY_MIN: Duration = Duration::from_millis(200);
/// The longest time between two asks.
pub const JOIN_RETRY_MAX: Duration = Duration::from_secs(5);
/// A peer asks another one for its clock this often, at most, with a batch of messages that
/// goes anyway.
pub const CLOCK_ASK_INTERVAL: Duration = Duration::from_millis(250);
/// The same where nothing was measured for [`CLOCK_MEASURE_OLD`].
pub const CLOCK_ASK_AGAIN: Duration = Duration::from_millis(20);
/// A measure that is older does not wait for its turn.
pub const CLOCK_MEASURE_OLD: Duration = Duration::from_millis(1_000);
/// A sample whose way took longer, there and back, tells too little. No leader is elected
/// over such a way either.
pub const CLOCK_ROUND_TRIP_MAX: Duration = Duration::from_millis(1_000);
/// A leader goes by clocks that were measured within this time. With heartbeats it measures
/// those that answer several times a second.
pub const CLOCK_FRESH_FOR: Duration = Duration::from_secs(3);
/// People are shown clocks that were measured within this time: peers that do not lead say
/// something to each other every two seconds.
pub const CLOCK_SHOWN_FOR: Duration = Duration::from_secs(15);
/// Clocks gain or lose one part in so many on each other, 500 in a million: twice what NTP
/// takes for the worst pace of a clock.
pub const CLOCK_DRIFT_ONE_IN: u64 = 2_000;
/// Samples sent to a peer that are remembered until they come back.
/// One goes every 20 ms at the most, and as many with answers, over a way of up to a second.
pub const CLOCK_SAMPLES_KEPT: usize = 128;
/// A leader may be so far ahead of a majority, unless it is set otherwise.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_millis(500);
/// A leader whose clock is wrong asks another voter to take over, and asks again after this
/// time: two election time-outs.
pub const CLOCK_HAND_OVER_AGAIN: Duration = Duration::from_millis(1_000);
