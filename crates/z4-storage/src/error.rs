//! What goes wrong with storage. Every message says the remedy.

use std::path::{Path, PathBuf};

use z4_consensus::log::LogError;

/// Why storage could not be opened or changed.
///
/// At start the process prints the message and ends. While running, an error
/// means that what is on disk is unknown: the process ends at once and never
/// tries again.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process holds the directory.
    #[error("data directory {} is in use by another process; stop it, or give this peer a directory of its own", dir.display())]
    InUse {
        /// Which directory.
        dir: PathBuf,
    },
    /// A later version of z4 wrote the directory.
    #[error("{} has format {found:?}, which this version does not know (it writes {known:?}); run the version of z4 that wrote it, or a later one", dir.display())]
    NewerFormat {
        /// Which directory.
        dir: PathBuf,
        /// What its format file says.
        found: String,
        /// What this version writes.
        known: String,
    },
    /// A snapshot of a cluster whose level this version does not know.
    #[error("{} is of a cluster of level {found}, and this version knows levels up to {known}; start this peer with a version that knows level {found}", path.display())]
    NewerSnapshot {
        /// Where it is.
        path: PathBuf,
        /// The level of its cluster.
        found: u32,
        /// The greatest level that this version knows.
        known: u32,
    },
    /// The directory belongs to a peer of another name.
    #[error("{} belongs to peer {found:?}, not to {asked:?}; check Z4_PEER_ID and the data directories", dir.display())]
    OtherPeer {
        /// Which directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asked.
        asked: String,
    },
    /// The two directories do not belong together.
    #[error("{} and {} do not belong together ({what}); check Z4_DB_DATA_DIR and Z4_PEER_DATA_DIR", db_dir.display(), peer_dir.display())]
    Mismatch {
        /// Where the task state is.
        db_dir: PathBuf,
        /// Where the raft log is.
        peer_dir: PathBuf,
        /// What differs.
        what: String,
    },
    /// No cluster can be founded here.
    #[error("no cluster was founded: {0}")]
    Unfounded(
        /// The reason, and the remedy.
        String,
    ),
    /// The raft log lost what it may have acknowledged. Going on could undo
    /// acknowledged writes or vote twice.
    #[error("{} is quarantined: {reason}; remove this peer from its cluster (remove-peer) and add it anew with empty directories (add-peer)", dir.display())]
    Quarantined {
        /// Which directory.
        dir: PathBuf,
        /// What was lost.
        reason: String,
    },
    /// The task state lacks entries that the log has no longer.
    #[error("{} lost data: {reason}; remove this peer from its cluster (remove-peer) and add it anew with empty directories (add-peer)", dir.display())]
    StateLost {
        /// Which directory.
        dir: PathBuf,
        /// What was lost.
        reason: String,
    },
    /// A cluster can be founded or joined with empty directories only.
    #[error("{} holds data already: {what}; only a peer with empty directories can found or join a cluster", dir.display())]
    NotEmpty {
        /// Which directory.
        dir: PathBuf,
        /// What it holds.
        what: String,
    },
    /// A file cannot be read as what it should be.
    #[error("{} is damaged: {what}; remove this peer from its cluster (remove-peer) and add it anew with empty directories (add-peer)", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The operating system refused.
    #[error("could not {doing} {}: {source}; check permissions and free space", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// RocksDB refused.
    #[error("could not {doing} the database {}: {message}", path.display())]
    Database {
        /// What was tried, as a verb.
        doing: &'static str,
        /// Which database.
        path: PathBuf,
        /// What RocksDB said.
        message: String,
    },
}

impl StorageError {
    /// For `map_err` on file operations.
    pub(crate) fn io(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }

    /// For `map_err` on database operations.
    pub(crate) fn database(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(rocksdb::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |e| Self::Database {
            doing,
            path,
            message: e.into_string(),
        }
    }

    /// What the raft log at `path` could not do at a start. Only damage may cost
    /// the peer its data, and so a failure of the system is told apart from it.
    pub(crate) fn log(path: impl AsRef<Path>, e: LogError) -> Self {
        match e {
            LogError::Damaged(what) => Self::damaged(path, what),
            LogError::Failed(message) => Self::Database {
                doing: "use",
                path: path.as_ref().to_owned(),
                message,
            },
        }
    }

    /// A file cannot be read as what it should be.
    pub(crate) fn damaged(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.as_ref().to_owned(),
            what: what.into(),
        }
    }
}
