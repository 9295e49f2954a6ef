//! Faults of a backup. Every message says where the fault is, and what to do.

/// Why bytes are no whole backup, or rows cannot be written as one.
///
/// No error can be mended by trying again with the same file: take another backup, or
/// another copy of the file.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file begins as no backup does.
    #[error(
        "this is no backup of z4: it does not begin with the word {:?}",
        String::from_utf8_lossy(crate::frame::MAGIC)
    )]
    NotBackup,
    /// A later version of z4 wrote the file in a form that this one does not know.
    #[error("the backup has form {found}, and this version knows form {known}; use the version of z4 that made it, or a later one")]
    Form {
        /// The number in the file.
        found: u32,
        /// The number that this version knows.
        known: u32,
    },
    /// The cluster had a level that this version does not know.
    #[error("the backup is of a cluster of level {found}, and this version knows levels {min} to {max}; use a version that knows level {found}")]
    Level {
        /// The level in the file.
        found: u32,
        /// The least level that this version knows.
        min: u32,
        /// The greatest level that this version knows.
        max: u32,
    },
    /// The bytes end before the manifest.
    #[error("the backup ends at byte {offset}, before its manifest: it was cut short; take another copy or another backup")]
    Cut {
        /// The number of bytes.
        offset: u64,
    },
    /// Bytes stand behind the manifest.
    #[error("the backup goes on behind its manifest, at byte {offset}: it is not as it was written; take another copy or another backup")]
    Trailing {
        /// Where the first of them stands.
        offset: u64,
    },
    /// A frame is not as it was written.
    #[error("frame {frame} of the backup, at byte {offset}, is damaged: {what}; take another copy or another backup")]
    Damaged {
        /// The number of the frame; the header is 0.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// The fault, for a person.
        what: String,
    },
    /// The manifest says something else than what came before it.
    #[error("the manifest of the backup does not fit what stands before it: {what} is {found}, and should be {want}; a part may be missing or stand twice; take another copy or another backup")]
    Manifest {
        /// The thing that differs.
        what: &'static str,
        /// As it is.
        found: String,
        /// As the manifest says.
        want: String,
    },
    /// A row is larger than a part may be. The machine takes in no such row.
    #[error("a row of {bytes} bytes is larger than {max}, the limit of a backup; report this as a mistake in z4")]
    RowTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes could not be read or written, or the system could not compress them.
    #[error("the backup could not be {doing}: {source}")]
    Io {
        /// The action that was tried.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl BackupError {
    /// For `map_err` on reads and writes.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// Why a whole file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The file is no whole backup, or could not be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// Whoever takes the rows refused one.
    #[error("{0}")]
    Taker(E),
}
