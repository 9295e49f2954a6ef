//! A peer's storage as a whole: opened and checked in one place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft::eraftpb::HardState;
use slog::{info, Logger};
use z4_consensus::log::{LogStore, Position};
use z4_consensus::machine::Applied;
use z4_consensus::Identity;
use z4_proto::level::LEVEL_MAX;

use crate::bound::BoundFile;
use crate::db::Shared;
use crate::error::StorageError;
use crate::files::{self, DirLock};
use crate::founding::Founded;
use crate::list;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::peer_dir::{self, IdentityFile, LastBackup, PeerDir};
use crate::raft_log::RaftLog;
use crate::recover;
use crate::sentinel::Sentinel;
use crate::snapshot;
use crate::space::SpaceKeeper;
use crate::step::step;
use crate::task_state::{RocksState, RocksView};

/// Format of `Z4_PEER_DATA_DIR`.
const PEER_FORMAT: &str = "z4 peer 1\n";

/// Where storage is, and for whom.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `Z4_DB_DATA_DIR`: made if missing.
    pub db_dir: PathBuf,
    /// `Z4_PEER_DATA_DIR`: made if missing.
    pub peer_dir: PathBuf,
    /// `Z4_PEER_ID`.
    pub peer_id: String,
    /// Files that each database keeps open, from `limits::OPEN_FILES_MIN` to
    /// `limits::OPEN_FILES_MAX`; what is beyond counts as that.
    pub open_files_max: usize,
    /// Where the recovery of a crash is told.
    pub logger: Logger,
    /// Counters.
    pub metrics: Metrics,
}

/// A peer's storage. Holds the locks on both directories while it lives.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    peer_dir: PeerDir,
    identity: Option<Identity>,
    removed: bool,
    log: Arc<RaftLog>,
    live: Arc<Live>,
    applied: Applied,
    _locks: [DirLock; 2],
}

impl Store {
    /// Opens storage, or makes it, and mends what a crash left half done.
    ///
    /// # Errors
    /// [`StorageError`], with the remedy: print it and end.
    pub fn open(options: StoreOptions) -> Result<Self, StorageError> {
        let locks = [
            prepare(&options.peer_dir, |dir| {
                files::check_format(dir, PEER_FORMAT)
            })?,
            prepare(&options.db_dir, |dir| files::check_level(dir, LEVEL_MAX))?,
        ];
        let peer_dir = PeerDir::new(&options.peer_dir);
        peer_dir.check_quarantine()?;
        let known = peer_dir.identity()?;
        let owner = peer_dir::owner(&options.db_dir)?;
        check_owners(&options, known.as_ref(), owner.as_ref())?;
        match known {
            // The founding began, so that all rows were there.
            Some(_) => peer_dir.clear_restoring()?,
            None => peer_dir.check_not_restoring()?,
        }

        if known.is_some() {
            list::check(&peer_dir)?;
        }
        let shared = Shared::new(options.open_files_max)?;
        let metrics = options.metrics.clone();
        let log = match RaftLog::open_shared(&peer_dir.log_path(), &shared, metrics.clone()) {
            Err(StorageError::Damaged { what, .. }) => return Err(peer_dir.quarantine(&what)),
            other => Arc::new(other?),
        };
        let sentinel = Sentinel::new(&peer_dir, &options.logger);
        log.watch(sentinel.clone());
        let opened = snapshot::open_live(&options.db_dir, &shared, &sentinel);
        let (live_db, state_dir, applied) = match opened {
            // What lost its state has applied what it cannot vouch for.
            Err(StorageError::Damaged { path, what }) if known.is_some() => {
                let reason = format!("{} is damaged: {what}", path.display());
                return Err(peer_dir.quarantine(&reason));
            }
            other => other?,
        };
        let live = Live::new(&options.db_dir, shared, metrics, live_db, &applied);
        let mut store = Self {
            removed: peer_dir.is_removed()?,
            peer_dir,
            identity: None,
            log,
            live,
            applied,
            _locks: locks,
            options,
        };
        match known {
            None => store.check_empty()?,
            Some(IdentityFile {
                identity,
                founding: Some(founding),
            }) => {
                info!(
                    store.options.logger,
                    "finishing the founding of a cluster that was interrupted"
                );
                let founded = store.registrar().finish_founding(identity, founding)?;
                store.is_founded(founded);
            }
            Some(IdentityFile { identity, .. }) => {
                store.check_mates(&identity, owner.as_ref())?;
                store.follow_bound(&identity)?;
                recover::reconcile(&recover::Halves {
                    log: store.log.as_ref(),
                    applied: store.applied.position,
                    installed_at: state_dir.origin,
                    peer_dir: &store.peer_dir,
                    db_dir: &store.options.db_dir,
                    logger: &store.options.logger,
                })?;
                store.identity = Some(identity);
            }
        }
        Ok(store)
    }

    /// Who this peer is; `None` before it has founded or joined a cluster.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether this peer was removed from its cluster.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed
    }

    pub(crate) fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// The raft log.
    #[must_use]
    pub fn log(&self) -> Arc<RaftLog> {
        Arc::clone(&self.log)
    }

    /// What the task state held when it was opened, founded or joined.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// The task state, for the machine; to be taken once, for it has one writer.
    #[must_use]
    pub fn state(&self) -> RocksState {
        RocksState::new(Arc::clone(&self.live))
    }

    /// A reader of the task state for other threads.
    #[must_use]
    pub fn view(&self) -> RocksView {
        self.state().view()
    }

    #[cfg(test)]
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Reads the sizes of both databases into their gauges.
    pub fn sample(&self) {
        self.log.sample();
        self.live.sample();
    }

    /// Who watches over disk space; to be taken once.
    #[must_use]
    pub fn space(&self) -> SpaceKeeper {
        SpaceKeeper::new(Arc::clone(&self.log), Arc::clone(&self.live))
    }

    /// Founds a cluster; see [`Registrar::bootstrap`].
    ///
    /// # Errors
    /// As [`Registrar::bootstrap`].
    pub fn bootstrap(&mut self, cluster_id: [u8; 16], address: &str) -> Result<(), StorageError> {
        let founded = self.registrar().bootstrap(cluster_id, address)?;
        self.is_founded(founded);
        Ok(())
    }

    pub(crate) fn is_founded(&mut self, (identity, applied): Founded) {
        self.identity = Some(identity);
        self.applied = applied;
    }

    /// Takes the identity that a cluster gave this peer when it was added. May
    /// replace one under which nothing was ever received.
    ///
    /// # Errors
    /// [`StorageError::OtherPeer`] when the identity is of another name,
    /// [`StorageError::NotEmpty`] when this peer holds data; else
    /// [`StorageError`]: end the process.
    pub fn join(&mut self, identity: Identity) -> Result<(), StorageError> {
        join(
            &self.peer_dir,
            &self.options.db_dir,
            &self.options.peer_id,
            &self.log,
            self.live.position(),
            &identity,
        )?;
        self.identity = Some(identity);
        Ok(())
    }

    /// A handle for [`join`](Self::join) and [`mark_removed`](Self::mark_removed)
    /// that can be given to the thread that serves other peers.
    #[must_use]
    pub fn registrar(&self) -> Registrar {
        Registrar {
            peer_dir: self.peer_dir.clone(),
            db_dir: self.options.db_dir.clone(),
            peer_id: self.options.peer_id.clone(),
            log: Arc::clone(&self.log),
            live: Arc::clone(&self.live),
        }
    }

    /// Notes that this peer was removed from its cluster, durably.
    ///
    /// # Errors
    /// [`StorageError`]: end the process.
    pub fn mark_removed(&mut self) -> Result<(), StorageError> {
        self.peer_dir.mark_removed()?;
        self.removed = true;
        Ok(())
    }

    fn check_empty(&self) -> Result<(), StorageError> {
        check_empty(
            &self.peer_dir,
            &self.options.db_dir,
            &self.log,
            self.live.position(),
        )
    }

    /// Checks that the task state belongs to this peer's cluster.
    fn check_mates(
        &self,
        identity: &Identity,
        owner: Option<&Identity>,
    ) -> Result<(), StorageError> {
        let empty = self.applied.position == Position::default();
        if empty {
            // Joining may have been interrupted before it said so.
            return match owner {
                Some(owner) if owner == identity => Ok(()),
                _ => peer_dir::set_owner(&self.options.db_dir, identity),
            };
        }
        let same =
            owner == Some(identity) && self.applied.membership.cluster_id == identity.cluster_id;
        if same {
            return Ok(());
        }
        Err(mismatch(
            &self.options,
            "they are of different clusters or members",
        ))
    }

    /// Checks the log against its lower bound, and goes on with it.
    fn follow_bound(&self, identity: &Identity) -> Result<(), StorageError> {
        let bound = BoundFile::read(self.peer_dir.path())?;
        let bound = match bound {
            Some(bound) if bound.bound().is_of(identity) => bound,
            // Joining was interrupted: this identity has never taken part.
            _ if self.check_empty().is_ok() => fresh_bound(&self.peer_dir, &self.log, identity)?,
            _ => {
                return Err(self.peer_dir.quarantine(
                    "the lower bound of the raft log (BOUND.0, BOUND.1) is missing or another \
                     member's",
                ))
            }
        };
        recover::check_bound(&self.log, bound.bound(), &self.peer_dir)?;
        self.log.attach_bound(bound);
        Ok(())
    }
}

/// Changes who this peer is, from any thread.
#[derive(Clone, Debug)]
pub struct Registrar {
    pub(crate) peer_dir: PeerDir,
    pub(crate) db_dir: PathBuf,
    pub(crate) peer_id: String,
    pub(crate) log: Arc<RaftLog>,
    pub(crate) live: Arc<Live>,
}

impl Registrar {
    /// See [`Store::join`]. Raft must not run yet.
    ///
    /// # Errors
    /// As [`Store::join`].
    pub fn join(&self, identity: &Identity) -> Result<(), StorageError> {
        join(
            &self.peer_dir,
            &self.db_dir,
            &self.peer_id,
            &self.log,
            self.live.position(),
            identity,
        )
    }

    /// See [`Store::mark_removed`].
    ///
    /// # Errors
    /// [`StorageError`]: end the process.
    pub fn mark_removed(&self) -> Result<(), StorageError> {
        self.peer_dir.mark_removed()
    }

    /// The last backup that this peer sent to its end; `None`: it has sent none.
    ///
    /// # Errors
    /// [`StorageError`]: the peer must not start.
    pub fn last_backup(&self) -> Result<Option<LastBackup>, StorageError> {
        self.peer_dir.last_backup()
    }

    /// Notes durably what [`last_backup`](Self::last_backup) says from now on.
    ///
    /// # Errors
    /// [`StorageError`]: end the process.
    pub fn set_last_backup(&self, last: &LastBackup) -> Result<(), StorageError> {
        self.peer_dir.set_last_backup(last)
    }

    /// Tells whether an operator asked this peer to hold the level of its cluster.
    ///
    /// # Errors
    /// [`StorageError`]: the peer must not start.
    pub fn holds_level(&self) -> Result<bool, StorageError> {
        self.peer_dir.holds_level()
    }

    /// Notes durably what [`holds_level`](Self::holds_level) says from now on.
    ///
    /// # Errors
    /// [`StorageError`]: end the process.
    pub fn set_level_hold(&self, hold: bool) -> Result<(), StorageError> {
        self.peer_dir.set_level_hold(hold)
    }
}

fn join(
    peer_dir: &PeerDir,
    db_dir: &Path,
    peer_id: &str,
    log: &RaftLog,
    applied: Position,
    identity: &Identity,
) -> Result<(), StorageError> {
    if identity.peer_id != peer_id {
        return Err(StorageError::OtherPeer {
            dir: peer_dir.path().to_owned(),
            found: identity.peer_id.clone(),
            asked: peer_id.to_owned(),
        });
    }
    check_empty(peer_dir, db_dir, log, applied)?;
    peer_dir.set_identity(&IdentityFile {
        identity: identity.clone(),
        founding: None,
    })?;
    step("join.identified");
    log.attach_bound(fresh_bound(peer_dir, log, identity)?);
    step("join.bounded");
    peer_dir::set_owner(db_dir, identity)
}

/// A new identity has no past: no term, no vote.
fn fresh_bound(
    peer_dir: &PeerDir,
    log: &RaftLog,
    identity: &Identity,
) -> Result<BoundFile, StorageError> {
    let none = HardState::default();
    log.detach_bound();
    log.reset(Position::default(), &none)
        .map_err(|e| StorageError::log(peer_dir.log_path(), e))?;
    BoundFile::create(peer_dir.path(), identity, &none, Position::default())
}

pub(crate) fn check_empty(
    peer_dir: &PeerDir,
    db_dir: &Path,
    log: &RaftLog,
    applied: Position,
) -> Result<(), StorageError> {
    let last = log
        .last()
        .map_err(|e| StorageError::log(peer_dir.log_path(), e))?;
    let (dir, what) = if last != Position::default() {
        (
            peer_dir.path(),
            format!("a raft log up to entry {}", last.index),
        )
    } else if applied != Position::default() {
        (db_dir, format!("the task state at entry {}", applied.index))
    } else {
        return Ok(());
    };
    Err(StorageError::NotEmpty {
        dir: dir.to_owned(),
        what,
    })
}

/// Makes and locks a directory, and checks its format.
fn prepare(
    dir: &Path,
    check: impl FnOnce(&Path) -> Result<(), StorageError>,
) -> Result<DirLock, StorageError> {
    files::make_dir(dir)?;
    let lock = DirLock::take(dir)?;
    check(dir)?;
    Ok(lock)
}

/// Checks names before anything is opened or removed.
fn check_owners(
    options: &StoreOptions,
    known: Option<&IdentityFile>,
    owner: Option<&Identity>,
) -> Result<(), StorageError> {
    let owners = [
        (&options.peer_dir, known.map(|k| &k.identity)),
        (&options.db_dir, owner),
    ];
    for (dir, identity) in owners {
        if let Some(identity) = identity.filter(|i| i.peer_id != options.peer_id) {
            return Err(StorageError::OtherPeer {
                dir: dir.clone(),
                found: identity.peer_id.clone(),
                asked: options.peer_id.clone(),
            });
        }
    }
    if known.is_none() && owner.is_some() {
        return Err(mismatch(
            options,
            "the first belongs to a member of a cluster, the second to nobody: the raft log was lost, \
             or one of the directories is the wrong one",
        ));
    }
    Ok(())
}

fn mismatch(options: &StoreOptions, what: &str) -> StorageError {
    StorageError::Mismatch {
        db_dir: options.db_dir.clone(),
        peer_dir: options.peer_dir.clone(),
        what: what.to_owned(),
    }
}
