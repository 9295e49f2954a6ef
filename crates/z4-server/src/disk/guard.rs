//! The thread that looks at the volumes, and does something about it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, RecvTimeoutError, Sender};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use slog::{crit, info, warn, Logger};
use z4_consensus::Handle;
use z4_core::state::{Row, RowKey};
use z4_core::{Outcome, View};
use z4_rpc::{DiskAdmission, DiskSpace};
use z4_storage::{DbSpace, RocksView, SpaceKeeper};

use super::judge::{Filled, Judge};
use super::volume::Volume;
use crate::limits;

/// What the guard watches over.
pub(crate) struct Watched {
    /// `Z4_DB_DATA_DIR`.
    pub db_dir: PathBuf,
    /// `Z4_PEER_DATA_DIR`.
    pub peer_dir: PathBuf,
    /// `Z4_DISK_RESERVE_BYTES`.
    pub reserve_bytes: Option<u64>,
    /// The databases.
    pub keeper: SpaceKeeper,
    /// The task state.
    pub view: RocksView,
    /// Consensus.
    pub handle: Handle<Outcome>,
    /// What services and other peers are told.
    pub admission: DiskAdmission,
    /// Its log lines.
    pub logger: Logger,
}

/// The running thread. It ends with this, also when a peer that could not start is
/// dropped: the system libraries are taken apart at the end of the process, and a thread
/// that uses them then ends it by a signal.
pub(crate) struct Guard {
    // Dropped, it wakes the thread, which then ends.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Looks once, then goes on in a thread.
    ///
    /// # Errors
    /// When the registry has gauges of these names, or the system gives no
    /// thread.
    pub(crate) fn start(watched: Watched, registry: &Registry) -> Result<Self, String> {
        let mut work = Work {
            watched,
            gauges: Gauges::new(registry).map_err(|e| e.to_string())?,
            judge: Judge::default(),
            was_low: false,
            blind: false,
            compacted_at: None,
            compacting: Arc::default(),
        };
        // Before anything is served.
        let looked = work.look();
        work.tidy(looked.as_ref());
        let (stop, stopped) = bounded::<()>(0);
        let run = move || {
            let mut tidied_at = Instant::now();
            let mut interval = limits::DISK_LOOK_INTERVAL;
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let looked = work.look();
                interval = look_interval(looked.as_ref().map(|looked| looked.tightest));
                if tidied_at.elapsed() >= limits::DISK_TIDY_INTERVAL {
                    tidied_at = Instant::now();
                    work.tidy(looked.as_ref());
                }
            }
        };
        let thread = thread::Builder::new().name("z4-disk".to_owned());
        let thread = thread.spawn(run).map_err(|e| e.to_string())?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A thread that panicked has ended the process.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// When to look again, by the space that creates wait for first: a leader that looks
/// rarely lets in by an old number what a follower has no room for, or keeps out what it
/// has room for. `None`: the system did not tell what is free.
fn look_interval(space: Option<DiskSpace>) -> Duration {
    let is_calm = |space: &DiskSpace| {
        let spare_bytes = space.free_bytes.saturating_sub(space.needed_bytes);
        !space.is_low && spare_bytes >= limits::DISK_CALM_SPARE_BYTES
    };
    match space.as_ref().is_some_and(is_calm) {
        true => limits::DISK_LOOK_CALM_INTERVAL,
        false => limits::DISK_LOOK_INTERVAL,
    }
}

/// What was seen.
struct Looked {
    space: DiskSpace,
    /// The least to spare that is known of any voter.
    tightest: DiskSpace,
    volumes: Volumes,
}

/// The volumes of both folders, and what is on them.
struct Volumes {
    db: Filled,
    peer: Filled,
    /// Of what is needed there, what is held back as the reserve.
    db_reserve_bytes: u64,
    peer_reserve_bytes: u64,
    are_one: bool,
    state: DbSpace,
    log: DbSpace,
}

impl Volumes {
    /// Whether there is room for compactions of the task state, and of the raft
    /// log, beside what is being written. They may use the reserve but for an
    /// eighth: it is there for them, and without them nothing that ended gives
    /// its space back.
    fn bear_compaction(&self) -> (bool, bool) {
        let (state, log) = (self.state.compaction_bytes(), self.log.compaction_bytes());
        let bears = |volume: Filled, reserve_bytes: u64, bytes: u64| {
            let usable = reserve_bytes - reserve_bytes / 8;
            let needed = volume.needed_bytes.saturating_sub(usable);
            volume.free_bytes >= needed.saturating_add(bytes)
        };
        let db = |bytes| bears(self.db, self.db_reserve_bytes, bytes);
        match self.are_one {
            true => (db(state + log), db(state + log)),
            false => (db(state), bears(self.peer, self.peer_reserve_bytes, log)),
        }
    }
}

struct Work {
    watched: Watched,
    gauges: Gauges,
    judge: Judge,
    was_low: bool,
    /// The system did not tell the last time.
    blind: bool,
    compacted_at: Option<Instant>,
    compacting: Arc<AtomicBool>,
}

impl Work {
    /// `None` when the system does not tell.
    fn look(&mut self) -> Option<Looked> {
        let volumes = match self.volumes() {
            Ok(volumes) => volumes,
            Err(error) => {
                if !std::mem::replace(&mut self.blind, true) {
                    warn!(self.watched.logger, "free disk space is not known"; "error" => %error);
                }
                self.watched
                    .admission
                    .looked(DiskSpace::default(), |_| false);
                return None;
            }
        };
        self.blind = false;
        let space = self.judge.judge(&[volumes.db, volumes.peer]);
        let status = self.watched.handle.status();
        let members = &status.membership.members;
        let is_voter = |raft_id| members.get(&raft_id).is_some_and(|m| m.voter);
        let tightest = self.watched.admission.looked(space, is_voter);
        self.gauges.set(&volumes, space);
        if space.is_low != self.was_low {
            self.changed(space);
        }
        Some(Looked {
            space,
            tightest,
            volumes,
        })
    }

    fn volumes(&self) -> io::Result<Volumes> {
        let watched = &self.watched;
        let (db, peer) = (Volume::of(&watched.db_dir)?, Volume::of(&watched.peer_dir)?);
        let (state, log) = (watched.keeper.state(), watched.keeper.log());
        let are_one = db.device == peer.device;
        let (of_state, of_log) = (state.needed_bytes(), log.needed_bytes());
        let (of_db, of_peer) = match are_one {
            true => (of_state + of_log, of_state + of_log),
            false => (of_state, of_log),
        };
        let reserve = |volume: &Volume| volume.reserve_bytes(watched.reserve_bytes);
        let filled = |volume: &Volume, needed: u64| Filled {
            free_bytes: volume.free_bytes,
            // As much as somebody may have asked for.
            needed_bytes: reserve(volume).saturating_add(needed),
        };
        Ok(Volumes {
            db: filled(&db, of_db),
            peer: filled(&peer, of_peer),
            db_reserve_bytes: reserve(&db),
            peer_reserve_bytes: reserve(&peer),
            are_one,
            state,
            log,
        })
    }

    fn changed(&mut self, space: DiskSpace) {
        self.was_low = space.is_low;
        let watched = &self.watched;
        watched.handle.set_space_low(space.is_low);
        if space.is_low {
            watched.handle.flush_soon();
            warn!(watched.logger, "disk space is low: nothing is created until there is room";
                "free_bytes" => space.free_bytes, "needed_bytes" => space.needed_bytes,
                "remedy" => "free or add space; acks, cancels and purges go on and free some");
        } else {
            info!(watched.logger, "there is disk space again"; "free_bytes" => space.free_bytes,
                "needed_bytes" => space.needed_bytes);
        }
    }

    /// Gives back what can be, and keeps RocksDB from what cannot end well.
    fn tidy(&mut self, looked: Option<&Looked>) {
        let Some(Looked { space, volumes, .. }) = looked else {
            return;
        };
        let (of_state, of_log) = volumes.bear_compaction();
        let keeper = &mut self.watched.keeper;
        if let Err(error) = keeper.allow_compaction(of_log, of_state) {
            warn!(self.watched.logger, "compaction was not set"; "error" => %error);
        }
        if !space.is_low {
            return;
        }
        if volumes.state.unwritten_bytes + volumes.log.unwritten_bytes > limits::UNWRITTEN_BYTES_MAX
        {
            self.watched.handle.flush_soon();
        }
        if let Err(error) = keeper.release_log() {
            crit!(self.watched.logger, "peer must stop"; "what" => "log release", "reason" => %error);
            // The logger is asynchronous; standard error is not. What is on disk
            // is unknown: only a restart can tell.
            eprintln!("z4: peer must stop: log release: {error}");
            std::process::abort();
        }
        self.compact(volumes);
    }

    /// Writes the task state anew, in a thread of its own, once most of it is
    /// obsolete and what is not fits beside it.
    fn compact(&mut self, volumes: &Volumes) {
        let rested = |at: Instant| at.elapsed() >= limits::DISK_COMPACT_INTERVAL;
        if !self.compacted_at.is_none_or(rested) || self.compacting.load(Ordering::Acquire) {
            return;
        }
        self.compacted_at = Some(Instant::now());
        let Some(live_bytes) = live_bytes(&self.watched.view) else {
            return;
        };
        let fits = live_bytes + live_bytes / 4 < volumes.db.free_bytes;
        let file_bytes = volumes.state.file_bytes;
        if !fits || file_bytes < live_bytes.saturating_mul(2) {
            return;
        }
        info!(self.watched.logger, "compacting for space"; "file_bytes" => file_bytes,
            "live_bytes" => live_bytes);
        self.compacting.store(true, Ordering::Release);
        let (compact, done) = (
            self.watched.keeper.compaction(),
            Arc::clone(&self.compacting),
        );
        let thread = thread::Builder::new().name("z4-compact".to_owned());
        let spawned = thread.spawn(move || {
            compact();
            done.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            self.compacting.store(false, Ordering::Release);
        }
    }
}

/// About how many bytes the tasks that are not gone take; `None` when the state
/// cannot be read, which others will find too.
fn live_bytes(view: &RocksView) -> Option<u64> {
    let (from, to) = RowKey::namespaces();
    let mut bytes = 0;
    let read = view.scan(&from, &to, &mut |_, row| {
        if let Row::Namespace(row) = row {
            let counts = &row.counts;
            let tasks = counts.pending + counts.leased + counts.dead;
            bytes += counts.bytes + limits::TASK_BYTES * tasks;
        }
        true
    });
    read.ok().map(|()| bytes)
}

/// What scrapers see.
struct Gauges {
    free: IntGaugeVec,
    needed: IntGaugeVec,
    low: IntGauge,
}

impl Gauges {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let per_dir = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["dir"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let low = IntGauge::new(
            "z4_server_disk_low",
            "1 while this peer has too little disk space, and nothing is created",
        )?;
        registry.register(Box::new(low.clone()))?;
        Ok(Self {
            free: per_dir(
                "z4_server_disk_free_bytes",
                "Free on the volume of a data folder",
            )?,
            needed: per_dir(
                "z4_server_disk_needed_bytes",
                "What must stay free there: the reserve, and what waits in memory to be written",
            )?,
            low,
        })
    }

    fn set(&self, volumes: &Volumes, space: DiskSpace) {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        for (dir, volume) in [("db", volumes.db), ("peer", volumes.peer)] {
            let (free, needed) = (volume.free_bytes, volume.needed_bytes);
            self.free.with_label_values(&[dir]).set(number(free));
            self.needed.with_label_values(&[dir]).set(number(needed));
        }
        self.low.set(i64::from(space.is_low));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// One volume with a reserve of 800 MiB, a task state of 500 MiB and nothing
    /// in memory.
    fn volumes(free_mib: u64) -> Volumes {
        let filled = Filled {
            free_bytes: free_mib * MIB,
            needed_bytes: 800 * MIB,
        };
        Volumes {
            db: filled,
            peer: filled,
            db_reserve_bytes: 800 * MIB,
            peer_reserve_bytes: 800 * MIB,
            are_one: true,
            state: DbSpace {
                file_bytes: 500 * MIB,
                ..DbSpace::default()
            },
            log: DbSpace::default(),
        }
    }

    /// Else nothing gave space back once the reserve is reached, and acks, which
    /// go on, would use it up.
    #[test]
    fn compactions_may_use_the_reserve_but_for_an_eighth() {
        assert_eq!(volumes(700).bear_compaction(), (true, true), "it is low");
        assert_eq!(volumes(600).bear_compaction(), (true, true));
        assert_eq!(volumes(599).bear_compaction(), (false, false));
    }

    #[test]
    fn only_a_volume_with_much_to_spare_is_looked_at_less_often() {
        let space = |spare_bytes: u64, is_low| {
            look_interval(Some(DiskSpace {
                free_bytes: 1_000 + spare_bytes,
                needed_bytes: 1_000,
                is_low,
            }))
        };
        let calm = limits::DISK_CALM_SPARE_BYTES;
        assert_eq!(space(calm, false), limits::DISK_LOOK_CALM_INTERVAL);
        for often in [
            space(calm - 1, false),
            space(calm, true),
            look_interval(None),
        ] {
            assert_eq!(often, limits::DISK_LOOK_INTERVAL);
        }
    }
}
