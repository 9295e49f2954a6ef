//! What happens when a database turns out to be damaged while it is in use.
//!
//! RocksDB finds a changed bit by checksum when it reads the block, and says so
//! to whoever asked. That one must not get an error and the next one an answer:
//! what a peer cannot read it cannot vouch for. So the peer notes that it must
//! not start again, and ends.

use slog::{crit, Logger};

use crate::peer_dir::PeerDir;

/// Ends the process when data is damaged. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Sentinel {
    peer_dir: PeerDir,
    logger: Logger,
}

impl Sentinel {
    pub fn new(peer_dir: &PeerDir, logger: &Logger) -> Self {
        Self {
            peer_dir: peer_dir.clone(),
            logger: logger.clone(),
        }
    }

    /// Looks at an error of RocksDB before it goes anywhere; does not return
    /// when it says that data is damaged.
    pub fn check(&self, e: &rocksdb::Error) {
        if e.kind() != rocksdb::ErrorKind::Corruption {
            return;
        }
        // Also when the mark cannot be written: then what says so is told.
        let reason = self.peer_dir.quarantine(e.as_ref());
        crit!(self.logger, "peer must stop"; "what" => "damaged data", "reason" => %reason);
        // The logger may be asynchronous; standard error is not.
        eprintln!("z4: peer must stop: damaged data: {reason}");
        std::process::abort()
    }
}
