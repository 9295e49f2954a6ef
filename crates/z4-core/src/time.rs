//! Spans in the units of machine time.

/// A millisecond, in nanoseconds.
pub const MS_NS: u64 = 1_000_000;
/// A second, in nanoseconds.
pub const SECOND_NS: u64 = 1_000 * MS_NS;
/// A second, in milliseconds.
pub const SECOND_MS: u64 = 1_000;
