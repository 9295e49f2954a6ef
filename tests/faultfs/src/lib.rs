//! A disk that loses at a power loss what was not synced.
//!
//! `kill -9` shows what becomes of a process; what it wrote stays in the memory
//! of the system and is there afterwards, synced or not. This file system, in
//! memory and mounted by FUSE, keeps apart what programs see and what would be
//! there after the power failed:
//!
//! - A write, or a change of a file's length, is durable when the *file* was
//!   synced after it. Of those that were not, a beginning may survive, and a part
//!   of the next one.
//! - A file that was made, renamed, linked or removed is durable when the *folder*
//!   was synced after it. Changes of names are one journal, as on ext4 and XFS:
//!   of those that were not synced a beginning may survive. To sync the file does
//!   not make its name durable; most file systems do more than this, none
//!   promises it.
//! - To close a file makes nothing durable.
//! - After 4,096 writes to a file, or changes of names, without a sync the oldest
//!   are durable all the same: a system writes back by itself.
//!
//! A sync takes as long as the disk is told, may fail once, and may be a lie
//! ([`Volume::lie_about`]): with that a test shows that it would find a missing
//! sync. A sync that failed takes the file's unsynced writes with it for good, whatever
//! later syncs answer, as Linux does (Rebello et al., "Can Applications Recover
//! from fsync Failures?", USENIX ATC 2020).

mod file;
mod image;
mod serve;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};
use rand::rngs::StdRng;

use image::Image;
pub use image::Lost;
use serve::{Fate, Server};

/// How a disk behaves.
#[derive(Debug, Default)]
struct Manner {
    sync_time: Duration,
    /// How many syncs are left before one fails.
    fails_after: Option<u64>,
    /// Syncs of files whose names end so are done in name only.
    lies_about: Option<String>,
    syncs: u64,
}

/// A disk and its faults, shared with the threads that serve it.
#[derive(Debug)]
struct Disk {
    image: Mutex<Image>,
    manner: Mutex<Manner>,
}

impl Disk {
    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manner(&self) -> MutexGuard<'_, Manner> {
        self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the sync of a file or folder that begins now takes, and what
    /// comes of it.
    fn next_sync(&self, number: u64) -> (Duration, Fate) {
        let mut manner = self.manner();
        manner.syncs += 1;
        let about = manner.lies_about.as_ref();
        let lie = about.is_some_and(|end| self.image().is_named(number, end));
        let fate = match manner.fails_after {
            Some(0) => {
                manner.fails_after = None;
                Fate::Fail
            }
            Some(left) => {
                manner.fails_after = Some(left - 1);
                Fate::Done
            }
            None if lie => Fate::Lie,
            None => Fate::Done,
        };
        (manner.sync_time, fate)
    }
}

/// A mounted disk; it is unmounted, and all on it is gone, when this is dropped.
#[derive(Debug)]
pub struct Volume {
    disk: Arc<Disk>,
    _session: BackgroundSession,
}

impl Volume {
    /// Mounts an empty disk of so many bytes at a folder. Takes root, and
    /// `/dev/fuse`.
    ///
    /// # Errors
    /// What the system refused.
    pub fn mount(at: &Path, bytes: u64) -> io::Result<Self> {
        let disk = Arc::new(Disk {
            image: Mutex::new(Image::new(bytes)),
            manner: Mutex::default(),
        });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("z4-faultfs".to_owned())];
        let session = fuser::spawn_mount(Server(Arc::clone(&disk)), at, &config)?;
        Ok(Self {
            disk,
            _session: session,
        })
    }

    /// The power fails: what was not synced is lost, but for what `rng` leaves of
    /// it. No process may have a file open; it is killed first.
    pub fn lose_power(&self, rng: &mut StdRng) -> Lost {
        self.disk.image().lose_power(rng)
    }

    /// Syncs take so long from now on.
    pub fn sync_time(&self, time: Duration) {
        self.disk.manner().sync_time = time;
    }

    /// After so many more syncs, one fails; `None`: none does.
    pub fn fail_sync(&self, after: Option<u64>) {
        self.disk.manner().fails_after = after;
    }

    /// Whether the sync that was to fail has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.disk.manner().fails_after.is_none()
    }

    /// From now on syncs of files whose names end so are done in name only.
    pub fn lie_about(&self, end: &str) {
        self.disk.manner().lies_about = Some(end.to_owned());
    }

    /// Syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk.manner().syncs
    }
}

#[cfg(test)]
mod tests;
