//! Who this peer is, and what it must not forget: small files beside the log.
//!
//! ```text
//! Z4_PEER_DATA_DIR/
//!   LOCK  FORMAT
//!   IDENTITY         who this peer is, once it is in a cluster
//!   BOUND.0 BOUND.1  what the log held at least
//!   BOUND.hint       the same, of the last synced write; itself not synced
//!   BOUND.list       how far the list of files of the log reached at least
//!   QUARANTINE       why this peer must not start again
//!   REMOVED          this peer was removed from its cluster
//!   LEVEL_HOLD       whether this peer keeps the level of its cluster from rising
//!   RESTORING        a backup is being restored here, and nothing is founded yet
//!   BACKUP           the last backup that this peer sent to its end
//!   log/             the raft log
//! Z4_DB_DATA_DIR/
//!   LOCK  FORMAT
//!   OWNER            whose data this is, as IDENTITY
//!   …                see the snapshot module
//! ```

use std::path::{Path, PathBuf};

use z4_consensus::proposals::wire::{Reader, Writer};
use z4_consensus::Identity;

use crate::error::StorageError;
use crate::files;
use crate::founding::Founding;

const IDENTITY: &str = "IDENTITY";
const OWNER: &str = "OWNER";
const QUARANTINE: &str = "QUARANTINE";
const REMOVED: &str = "REMOVED";
const LEVEL_HOLD: &str = "LEVEL_HOLD";
const RESTORING: &str = "RESTORING";
const BACKUP: &str = "BACKUP";
/// Content of the file while the level is held.
const HELD: &[u8] = b"yes\n";
const LOG: &str = "log";
const VERSION: u8 = 1;
/// The form that says where and with which members a cluster is founded. Releases before
/// it wrote the address of the founder in the first form, and founded at the beginning.
const VERSION_OF_FOUNDING: u8 = 2;

/// Content of the identity file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct IdentityFile {
    /// The peer that the directory belongs to.
    pub identity: Identity,
    /// What is being founded, while that is not finished. State and log may be in any
    /// step of it.
    pub founding: Option<Founding>,
}

impl IdentityFile {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let version = match self.founding {
            None => VERSION,
            Some(_) => VERSION_OF_FOUNDING,
        };
        let mut out = Writer::new(version);
        out.fixed(&self.identity.cluster_id);
        out.number(self.identity.raft_id);
        out.bytes(self.identity.peer_id.as_bytes());
        match &self.founding {
            None => {
                out.number(0);
                out.bytes(&[]);
            }
            Some(founding) => founding.write(&mut out),
        }
        files::seal(out.finish())
    }

    pub(crate) fn decode(sealed: &[u8]) -> Option<Self> {
        let bytes = files::unseal(sealed)?;
        let version = *bytes.first()?;
        let mut input = Reader::new(bytes, version)?;
        let identity = Identity {
            cluster_id: input.fixed()?,
            raft_id: input.number()?,
            peer_id: input.text()?,
        };
        let founding = match version {
            VERSION => {
                let is_founding = input.number()? == 1;
                let address = input.text()?;
                is_founding.then(|| Founding::first(&identity, &address))
            }
            VERSION_OF_FOUNDING => Some(Founding::read(&mut input)?),
            _ => return None,
        };
        input.end().then_some(Self { identity, founding })
    }

    fn read(path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = files::read(path)? else {
            return Ok(None);
        };
        Self::decode(&bytes)
            .map(Some)
            .ok_or_else(|| StorageError::damaged(path, "its checksum or form is wrong"))
    }
}

/// The last backup that this peer sent to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastBackup {
    /// The clock of the peer then, in nanoseconds since 1970.
    pub at_ns: u64,
    /// The last entry of the log that the backup holds.
    pub index: u64,
}

impl LastBackup {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.number(self.at_ns);
        out.number(self.index);
        files::seal(out.finish())
    }

    pub(crate) fn decode(sealed: &[u8]) -> Option<Self> {
        let mut input = Reader::new(files::unseal(sealed)?, VERSION)?;
        let last = Self {
            at_ns: input.number()?,
            index: input.number()?,
        };
        input.end().then_some(last)
    }
}

/// `Z4_PEER_DATA_DIR`.
#[derive(Clone, Debug)]
pub(crate) struct PeerDir(PathBuf);

impl PeerDir {
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn log_path(&self) -> PathBuf {
        self.0.join(LOG)
    }

    pub fn identity(&self) -> Result<Option<IdentityFile>, StorageError> {
        IdentityFile::read(&self.0.join(IDENTITY))
    }

    pub fn set_identity(&self, file: &IdentityFile) -> Result<(), StorageError> {
        let path = self.0.join(IDENTITY);
        files::fault("identity.write").map_err(StorageError::io("write", &path))?;
        files::replace(&path, &file.encode())
    }

    /// Why this peer must not start; `None` when it may.
    pub fn check_quarantine(&self) -> Result<(), StorageError> {
        match files::read(&self.0.join(QUARANTINE))? {
            Some(reason) => Err(self.quarantined(String::from_utf8_lossy(&reason).trim())),
            None => Ok(()),
        }
    }

    /// Notes for good that this peer must not start again. What made it
    /// suspicious may look sound at the next start. When that cannot be noted,
    /// the error says both.
    pub fn quarantine(&self, reason: &str) -> StorageError {
        let path = self.0.join(QUARANTINE);
        let written = files::fault("quarantine.write")
            .map_err(StorageError::io("write", &path))
            .and_then(|()| files::replace(&path, reason.as_bytes()));
        match written {
            Ok(()) => self.quarantined(reason),
            Err(e) => StorageError::damaged(&self.0, format!("{reason} (not noted: {e})")),
        }
    }

    fn quarantined(&self, reason: &str) -> StorageError {
        StorageError::Quarantined {
            dir: self.0.clone(),
            reason: reason.to_owned(),
        }
    }

    pub fn is_removed(&self) -> Result<bool, StorageError> {
        Ok(files::read(&self.0.join(REMOVED))?.is_some())
    }

    pub fn mark_removed(&self) -> Result<(), StorageError> {
        let path = self.0.join(REMOVED);
        files::fault("removed.mark").map_err(StorageError::io("write", &path))?;
        files::replace(
            &path,
            b"this peer was removed from its cluster; erase its directories and add it anew\n",
        )
    }

    /// Refuses what a restoration that did not come to its end has left.
    pub fn check_not_restoring(&self) -> Result<(), StorageError> {
        match files::read(&self.0.join(RESTORING))? {
            None => Ok(()),
            Some(_) => Err(StorageError::NotEmpty {
                dir: self.0.clone(),
                what: "a backup that was not restored to its end; erase Z4_DB_DATA_DIR and \
                       Z4_PEER_DATA_DIR and restore it again"
                    .to_owned(),
            }),
        }
    }

    /// Notes durably that a backup is being restored here.
    pub fn set_restoring(&self) -> Result<(), StorageError> {
        files::replace(
            &self.0.join(RESTORING),
            b"a backup is being restored here; erase both directories if that does not go on\n",
        )
    }

    /// The restoration came to its end.
    pub fn clear_restoring(&self) -> Result<(), StorageError> {
        files::remove(&self.0.join(RESTORING))
    }

    /// The last backup that this peer sent to its end.
    pub fn last_backup(&self) -> Result<Option<LastBackup>, StorageError> {
        let path = self.0.join(BACKUP);
        let damaged = || StorageError::damaged(&path, "its checksum or form is wrong");
        let found = files::read(&path)?;
        found
            .map(|bytes| LastBackup::decode(&bytes).ok_or_else(damaged))
            .transpose()
    }

    /// Notes durably what [`last_backup`](Self::last_backup) says from now on.
    pub fn set_last_backup(&self, last: &LastBackup) -> Result<(), StorageError> {
        files::replace(&self.0.join(BACKUP), &last.encode())
    }

    /// Tells whether an operator asked this peer to hold the level of its cluster.
    pub fn holds_level(&self) -> Result<bool, StorageError> {
        Ok(files::read(&self.0.join(LEVEL_HOLD))?.is_some_and(|held| held == HELD))
    }

    /// Notes durably whether this peer holds the level of its cluster.
    pub fn set_level_hold(&self, hold: bool) -> Result<(), StorageError> {
        let path = self.0.join(LEVEL_HOLD);
        files::fault("level_hold.write").map_err(StorageError::io("write", &path))?;
        files::replace(&path, if hold { HELD } else { b"no\n" })
    }
}

/// Whose task data this is; `None` when nobody's yet.
pub(crate) fn owner(db_dir: &Path) -> Result<Option<Identity>, StorageError> {
    Ok(IdentityFile::read(&db_dir.join(OWNER))?.map(|f| f.identity))
}

/// Says whose task data this is.
pub(crate) fn set_owner(db_dir: &Path, identity: &Identity) -> Result<(), StorageError> {
    let file = IdentityFile {
        identity: identity.clone(),
        founding: None,
    };
    files::replace(&db_dir.join(OWNER), &file.encode())
}
