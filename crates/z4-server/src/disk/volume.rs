//! What the system says of a volume, and the reserve on it.

use crate::limits;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A volume as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Volume {
    /// Which one.
    pub device: u64,
    /// All of it, in bytes.
    pub size_bytes: u64,
    /// What this process may still fill, in bytes.
    pub free_bytes: u64,
}

impl Volume {
    /// The volume of a folder, or of the nearest one above it that exists.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let exists = |dir: &&Path| dir.is_dir();
        let dir = dir.ancestors().find(exists).unwrap_or(Path::new("."));
        let told = rustix::fs::statvfs(dir)?;
        Ok(Self {
            device: std::fs::metadata(dir)?.dev(),
            size_bytes: told.f_blocks.saturating_mul(told.f_frsize),
            free_bytes: told.f_bavail.saturating_mul(told.f_frsize),
        })
    }

    /// What stays free: as asked, else by size.
    pub fn reserve_bytes(&self, asked: Option<u64>) -> u64 {
        asked.unwrap_or((self.size_bytes / limits::RESERVE_PART).min(limits::RESERVE_BYTES_MAX))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_reserve_fits_the_volume() {
        let volume = |size_bytes| Volume {
            device: 1,
            size_bytes,
            free_bytes: 0,
        };
        assert_eq!(volume(640 << 20).reserve_bytes(None), 64 << 20);
        assert_eq!(volume(4 << 40).reserve_bytes(None), 2 << 30);
        assert_eq!(volume(4 << 40).reserve_bytes(Some(7)), 7);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_the_volume_above() {
        let here = std::env::temp_dir();
        let (here, below) = (Volume::of(&here), Volume::of(&here.join("no/such/folder")));
        let (here, below) = (here.unwrap(), below.unwrap());
        assert!(here.size_bytes > 0);
        assert_eq!(
            (here.device, here.size_bytes),
            (below.device, below.size_bytes)
        );
    }
}
