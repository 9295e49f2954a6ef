//! The form of a backup: the whole task state at one index of the log, in one file.
//!
//! ```text
//! magic, version                      12 bytes
//! frame: header                       whose state, where in the log, at which level
//! frame: part   (any number)          about 1 MiB of rows in key order, compressed
//! frame: manifest                     the header again, rows, state hash, digest of the parts
//!
//! frame = kind (1), length (4), payload, SHA-256 over all of these (32)
//! part  = length of the rows (4), zstd of the rows
//! row   = length of its key (2), length of its value (4), key, value
//! ```
//!
//! Lengths stand with their greatest byte first. Nothing follows the manifest, so a file that
//! was cut anywhere is told from a whole one, and so is one of which a part is missing, is
//! there twice, or stands elsewhere.
//!
//! A [`Writer`] takes rows and gives bytes, a [`Reader`] takes bytes and gives rows; both hold
//! one part in memory, however large the state is. The crate knows no store, no network and
//! no files.
//!
//! | module | what lives there |
//! |---|---|
//! | [`header`] | whose state a file holds, and what must be in it |
//! | [`writer`] | rows in, bytes out |
//! | [`reader`] | bytes in, rows out, with every check |
//! | [`error`] | what is wrong with a file |
//! | [`limits`] | every bound, with its unit and why |
//! | `frame` | frames with their checksums |
//! | `part` | rows as the payload of a part |

pub mod error;
pub mod header;
pub mod limits;
pub mod reader;
pub mod writer;

mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod part;
#[cfg(test)]
mod tests;

pub use error::{BackupError, ReadError};
pub use header::{Header, Manifest};
pub use reader::{read_all, Item, Reader};
pub use writer::Writer;
