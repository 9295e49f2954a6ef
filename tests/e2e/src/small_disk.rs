//! A small volume of its own: a tmpfs, and what others put on it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::peer::PeerSpec;

/// A volume in memory that is unmounted when dropped.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// A volume of so many MiB; `None` when the system does not let this process
    /// mount one (that takes root): the test then tests nothing, and says so.
    ///
    /// # Panics
    /// Instead of that, when the variable `CI` is set: there, a test that tests
    /// nothing must not pass.
    #[must_use]
    pub fn mounted(size_mib: u64) -> Option<Self> {
        let folder = TempDir::with_prefix("z4-disk-").expect("a folder to mount on");
        let size = format!("size={size_mib}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "z4-e2e"])
            .arg(folder.path())
            .output();
        let why = match mounted {
            Ok(done) if done.status.success() => return Some(Self { folder }),
            Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            Err(why) => why.to_string(),
        };
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        assert!(!in_ci, "no tmpfs can be mounted (run as root): {why}");
        // Not by a macro: the output of a test that passes is not shown.
        let _ = writeln!(
            std::io::stderr(),
            "NOTHING TESTED: {} needs a tmpfs, and none can be mounted (run as root): {why}",
            std::thread::current().name().unwrap_or("a test")
        );
        None
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A peer with both data folders on it.
    #[must_use]
    pub fn holds(&self, spec: PeerSpec) -> PeerSpec {
        let text = |name: &str| self.path().join(name).display().to_string();
        spec.with("Z4_DB_DATA_DIR", &text("db"))
            .with("Z4_PEER_DATA_DIR", &text("peer"))
    }

    /// Somebody else's file takes so many bytes of it, or all that is left when
    /// that is less; how many it took.
    ///
    /// # Panics
    /// When it fails for another reason than want of space.
    pub fn fill(&self, bytes: usize) -> usize {
        let part = vec![7; 64 << 10];
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.filler());
        let mut file: File = file.expect("a file of our own");
        let mut taken = 0;
        while taken < bytes {
            match file.write(&part[..part.len().min(bytes - taken)]) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => panic!("the file of somebody else: {error}"),
            }
        }
        taken
    }

    /// Somebody else's file takes all but so many bytes.
    ///
    /// # Panics
    /// When there is less than that.
    pub fn fill_but(&self, bytes: u64) {
        self.fill(usize::MAX);
        let file = OpenOptions::new().write(true).open(self.filler());
        let file = file.expect("a file of our own");
        let len = file.metadata().expect("its size").len();
        let shorter = len.checked_sub(bytes).expect("it has taken as much");
        file.set_len(shorter).expect("it can be made shorter");
    }

    /// Removes somebody else's file.
    ///
    /// # Panics
    /// When there is none.
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("somebody-else")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a peer that is being killed may hold it for a moment more.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
