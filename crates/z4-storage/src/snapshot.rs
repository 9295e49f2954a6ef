//! Snapshots, and which directory holds the live task state.
//!
//! ```text
//! Z4_DB_DATA_DIR/
//!   CURRENT                    names the live directory
//!   state-{index}-{term}-{n}/  the live database; position where it began
//!   snapshots/{index}-{term}/  made here, for others
//!   incoming/{index}-{term}/   received, not yet installed
//! ```
//!
//! A snapshot is a directory of plain files. The live directory changes only by
//! the replacement of `CURRENT`, one rename; what it does not name is removed
//! at start.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rocksdb::checkpoint::Checkpoint;
use z4_consensus::level::LEVEL_FIRST;
use z4_consensus::log::Position;
use z4_consensus::machine::Applied;
use z4_proto::level::LEVEL_MAX;

use crate::db::{self, Kind, Shared};
use crate::error::StorageError;
use crate::files;
use crate::live::{Live, LiveDb};
use crate::sentinel::Sentinel;
use crate::step::step;
use crate::task_state::read_applied;

const CURRENT: &str = "CURRENT";
const STATE_PREFIX: &str = "state-";
const SNAPSHOTS: &str = "snapshots";
const INCOMING: &str = "incoming";

/// Where the snapshot at a position is, for others to read, once made. `root`
/// is `Z4_DB_DATA_DIR`.
#[must_use]
pub fn snapshot_dir(root: &Path, position: Position) -> PathBuf {
    root.join(SNAPSHOTS).join(name_of(position))
}

/// Where the files of a received snapshot belong before it is installed. `root`
/// is `Z4_DB_DATA_DIR`. Whoever receives them makes the directory.
#[must_use]
pub fn incoming_dir(root: &Path, position: Position) -> PathBuf {
    root.join(INCOMING).join(name_of(position))
}

fn name_of(position: Position) -> String {
    format!("{}-{}", position.index, position.term)
}

/// Name of a live directory: the position where it began (0 for an empty one),
/// and a number that no earlier one had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateDir {
    pub origin: Position,
    number: u64,
}

impl StateDir {
    fn name(self) -> String {
        format!("{STATE_PREFIX}{}-{}", name_of(self.origin), self.number)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(STATE_PREFIX)?.split('-');
        let mut number = || parts.next()?.parse().ok();
        let (index, term, number) = (number()?, number()?, number()?);
        let dir = Self {
            origin: Position { index, term },
            number,
        };
        (dir.name() == name).then_some(dir)
    }
}

/// The live directory; `None` before the first.
pub(crate) fn current(root: &Path) -> Result<Option<StateDir>, StorageError> {
    let path = root.join(CURRENT);
    let Some(bytes) = files::read(&path)? else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(&bytes);
    StateDir::parse(name.trim_end())
        .map(Some)
        .ok_or_else(|| StorageError::damaged(&path, format!("it says {name:?}")))
}

fn set_current(root: &Path, dir: StateDir) -> Result<(), StorageError> {
    files::replace(&root.join(CURRENT), format!("{}\n", dir.name()).as_bytes())
}

/// Opens the live database, an empty one at the first start, and removes what a
/// crash left behind. The caller holds the lock on `root`.
pub(crate) fn open_live(
    root: &Path,
    shared: &Shared,
    sentinel: &Sentinel,
) -> Result<(LiveDb, StateDir, Applied), StorageError> {
    let known = current(root)?;
    let dir = known.unwrap_or(StateDir {
        origin: Position::default(),
        number: 0,
    });
    remove_leftovers(root, known.map(StateDir::name).as_deref())?;
    let path = root.join(dir.name());
    if known.is_some() && !path.is_dir() {
        return Err(StorageError::damaged(
            root.join(CURRENT),
            format!("it names {}, which is not there", dir.name()),
        ));
    }
    let database = db::open(&path, Kind::State, shared)?;
    if known.is_none() {
        step("state.created");
        files::sync_dir(root)?;
        set_current(root, dir)?;
    }
    let applied = read_applied(&database, &path)?;
    Ok((LiveDb::new(database, path, sentinel.clone()), dir, applied))
}

/// Removes all that `CURRENT` does not name: snapshots are made anew, and what
/// was not received in full is sent again.
fn remove_leftovers(root: &Path, keep: Option<&str>) -> Result<(), StorageError> {
    for entry in fs::read_dir(root).map_err(StorageError::io("list", root))? {
        let entry = entry.map_err(StorageError::io("list", root))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let leftover = name.starts_with(STATE_PREFIX) && keep != Some(&*name);
        if leftover || name == SNAPSHOTS || name == INCOMING {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(StorageError::io("remove", &path))?;
        }
    }
    for name in [SNAPSHOTS, INCOMING] {
        files::make_dir(&root.join(name))?;
    }
    Ok(())
}

/// Makes the snapshot of what is committed, which is at `position`.
pub(crate) fn make(live: &Live, from: &LiveDb, position: Position) -> Result<(), StorageError> {
    let path = snapshot_dir(live.root(), position);
    if path.is_dir() {
        // RocksDB gives a checkpoint its name last: it is whole.
        return Ok(());
    }
    files::fault("checkpoint").map_err(StorageError::io("make", &path))?;
    let failed = |e| {
        from.sentinel().check(&e);
        StorageError::database("make a snapshot of", from.path())(e)
    };
    Checkpoint::new(from.db())
        .and_then(|c| c.create_checkpoint(&path))
        .map_err(failed)?;
    step("checkpoint.made");
    files::sync_files(&path)?;
    files::sync_dir(&live.root().join(SNAPSHOTS))
}

/// Removes a snapshot; what cannot be removed goes at the next start.
pub(crate) fn remove(root: &Path, position: Position) {
    let _ = files::fault("checkpoint.remove")
        .and_then(|()| fs::remove_dir_all(snapshot_dir(root, position)));
}

/// Replaces the live database by the received snapshot at `position`.
///
/// A crash leaves the old state or the new one. The raft log must be reset to
/// `position` afterwards; a crash before that is mended at start.
pub(crate) fn install(live: &Live, position: Position) -> Result<Applied, StorageError> {
    let root = live.root();
    let received = incoming_dir(root, position);
    let number = current(root)?.map_or(0, |d| d.number) + 1;
    let dir = StateDir {
        origin: position,
        number,
    };
    let path = root.join(dir.name());
    files::fault("install").map_err(StorageError::io("install", &received))?;
    files::sync_files(&received)?;
    fs::rename(&received, &path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => StorageError::damaged(&received, "no such snapshot was received"),
        _ => StorageError::io("rename", &received)(e),
    })?;
    files::sync_dir(root)?;
    step("install.moved");

    let database = db::open(&path, Kind::State, live.shared())?;
    let applied = read_applied(&database, &path)?;
    if applied.position != position {
        return Err(StorageError::damaged(
            &path,
            format!(
                "it should be a snapshot at {}, and is one at {}",
                name_of(position),
                name_of(applied.position)
            ),
        ));
    }
    let level = applied.membership.level;
    if level > LEVEL_MAX {
        return Err(StorageError::NewerSnapshot {
            path,
            found: level,
            known: LEVEL_MAX,
        });
    }
    files::need_level(root, level.max(LEVEL_FIRST))?;
    step("install.verified");
    set_current(root, dir)?;
    step("install.switched");
    let sentinel = live.db().sentinel().clone();
    live.rows()
        .switch(LiveDb::new(database, path, sentinel), &applied)
        .retire();
    Ok(applied)
}
