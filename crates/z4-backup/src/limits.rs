//! Every bound of a backup file, in one place.

/// A part is closed when its rows reach so many bytes: large enough to compress well, small
/// enough to be held twice in memory.
pub const PART_BYTES: usize = 1 << 20;
/// Longest key of a row, in bytes: that of a request id, and room to spare.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Largest row, in bytes: that of a task with the largest payload and metadata, and room to
/// spare. The machine takes in nothing larger.
pub const ROW_BYTES_MAX: usize = 2 << 20;
/// Rows of one part, in bytes before they are compressed. A part that claims more is refused
/// before anything of it is decompressed.
pub const PART_BYTES_MAX: usize = PART_BYTES + KEY_BYTES_MAX + ROW_BYTES_MAX + 16;
/// Payload of one frame, in bytes: a part of rows that cannot be compressed.
pub const FRAME_BYTES_MAX: usize = PART_BYTES_MAX + (64 << 10);
/// The level at which parts are compressed. Three is what the library calls its default: more costs
/// several times the processor time for a few percent.
pub const COMPRESSION_LEVEL: i32 = 3;
/// Bytes of a file that are read at once.
pub const READ_BYTES: usize = 256 << 10;
