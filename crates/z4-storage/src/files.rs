//! Small files that must survive a crash, and the lock on a directory.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use z4_consensus::fault::point;
use z4_consensus::level::LEVEL_FIRST;

use crate::error::StorageError;

/// The file of a directory that names its format.
const FORMAT: &str = "FORMAT";

/// Makes a directory and its parents, if missing.
pub(crate) fn make_dir(dir: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(dir).map_err(StorageError::io("create", dir))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    fault("dir.sync")
        .and_then(|()| File::open(dir))
        .and_then(|d| d.sync_all())
        .map_err(StorageError::io("sync", dir))
}

/// A fail point of a step on files.
pub(crate) fn fault(name: &'static str) -> std::io::Result<()> {
    point(name).map_err(std::io::Error::from)
}

/// Makes every file in a directory durable, and their names.
pub(crate) fn sync_files(dir: &Path) -> Result<(), StorageError> {
    for entry in fs::read_dir(dir).map_err(StorageError::io("list", dir))? {
        let path = entry.map_err(StorageError::io("list", dir))?.path();
        fault("files.sync")
            .and_then(|()| File::open(&path))
            .and_then(|f| f.sync_all())
            .map_err(StorageError::io("sync", &path))?;
    }
    sync_dir(dir)
}

/// Replaces a file as a whole, durably: a crash leaves the old or the new.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_extension("tmp");
    fault("file.write")
        .and_then(|()| File::create(&temporary))
        .and_then(|mut f| {
            f.write_all(bytes)?;
            f.sync_all()
        })
        .map_err(StorageError::io("write", &temporary))?;
    fault("file.rename")
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(StorageError::io("rename", path))?;
    match path.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}

/// Removes a file, if there is one.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(StorageError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The bytes of a file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io("read", path)(e)),
    }
}

/// Bytes with their checksum behind them; see [`unseal`].
pub(crate) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The bytes in front of a checksum, if it is theirs.
pub(crate) fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (bytes, sum) = sealed.split_last_chunk::<4>()?;
    (crc32c::crc32c(bytes) == u32::from_le_bytes(*sum)).then_some(bytes)
}

/// The sole use of a directory, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct DirLock(File);

impl DirLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`StorageError::InUse`] when another holder lives.
    pub(crate) fn take(dir: &Path) -> Result<Self, StorageError> {
        let path = dir.join("LOCK");
        let file = File::create(&path).map_err(StorageError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StorageError::InUse {
                dir: dir.to_owned(),
            }),
            Err(TryLockError::Error(e)) => Err(StorageError::io("lock", &path)(e)),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started at
        // this moment has a copy of it until it runs its own program, and the
        // lock would live as long. If it cannot be released, closing will do.
        let _ = self.0.unlock();
    }
}

/// Checks the format of a directory, and writes it into a new one.
///
/// # Errors
/// [`StorageError::NewerFormat`] when a version of z4 that this one does not
/// know wrote it.
pub(crate) fn check_format(dir: &Path, known: &'static str) -> Result<(), StorageError> {
    let path = dir.join(FORMAT);
    let Some(found) = read(&path)? else {
        return replace(&path, known.as_bytes());
    };
    if found == known.as_bytes() {
        return Ok(());
    }
    Err(StorageError::NewerFormat {
        dir: dir.to_owned(),
        found: String::from_utf8_lossy(&found).trim().to_owned(),
        known: known.trim().to_owned(),
    })
}

/// Checks the format of a directory of task data, and writes that of the first level into a
/// new one. It names the level that is needed to read the data.
///
/// # Errors
/// [`StorageError::NewerFormat`] when the level is greater than this one.
pub(crate) fn check_level(dir: &Path, level_max: u32) -> Result<(), StorageError> {
    let path = dir.join(FORMAT);
    let Some(found) = read(&path)? else {
        return replace(&path, level_format(LEVEL_FIRST).as_bytes());
    };
    if (LEVEL_FIRST..=level_max).any(|level| found == level_format(level).as_bytes()) {
        return Ok(());
    }
    Err(StorageError::NewerFormat {
        dir: dir.to_owned(),
        found: String::from_utf8_lossy(&found).trim().to_owned(),
        known: level_format(level_max).trim().to_owned(),
    })
}

/// Notes durably that a directory of task data is about to hold what this level brought, so
/// that an older version of z4 does not take it for damaged.
pub(crate) fn need_level(dir: &Path, level: u32) -> Result<(), StorageError> {
    let (path, format) = (dir.join(FORMAT), level_format(level));
    // A level only rises, so what is there is another one of a lesser level.
    match read(&path)? {
        Some(found) if found == format.as_bytes() => Ok(()),
        _ => replace(&path, format.as_bytes()),
    }
}

fn level_format(level: u32) -> String {
    format!("z4 db {level}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_ends_with_its_holder_though_a_copy_of_the_file_lives() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        // What a process that is just being started holds.
        let _copy = lock.0.try_clone().unwrap();
        assert!(DirLock::take(dir.path()).is_err());
        drop(lock);
        assert!(DirLock::take(dir.path()).is_ok());
    }
}
