//! The files of an incoming snapshot: named plainly, bounded, checked, synced.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use grpcio::{RpcStatus, RpcStatusCode};
use z4_consensus::fault::point;
use z4_proto::generated::peer::{SnapshotChunk, SnapshotFile};

use crate::limits;

/// Files on their way in, in a directory named `….part` until all of them are
/// whole and durable. Erased when dropped before [`finish`](Self::finish).
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Where they are written.
    dir: PathBuf,
    /// What the directory is called when all is there.
    whole: PathBuf,
    files: Vec<SnapshotFile>,
    /// The file being written: its place, its handle, bytes so far.
    current: usize,
    open: Option<File>,
    offset: u64,
    kept: bool,
}

impl Incoming {
    /// Checks the list of files and makes the directory, empty.
    pub(crate) fn begin(whole: PathBuf, files: Vec<SnapshotFile>) -> Result<Self, RpcStatus> {
        check_list(&files)?;
        let mut name = whole.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let dir = whole.with_file_name(name);
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&error)),
            _ => {}
        }
        fs::create_dir(&dir).map_err(|e| io(&e))?;
        Ok(Self {
            dir,
            whole,
            files,
            current: 0,
            open: None,
            offset: 0,
            kept: false,
        })
    }

    /// Writes the next piece: pieces come in order, files whole.
    pub(crate) fn chunk(&mut self, chunk: &SnapshotChunk) -> Result<(), RpcStatus> {
        self.pass_full_files()?;
        let Some(file) = self.files.get(self.current) else {
            return Err(invalid("a piece behind the last file"));
        };
        let size_bytes = file.get_size_bytes();
        if chunk.get_file() as usize != self.current || chunk.get_offset_bytes() != self.offset {
            return Err(invalid("a piece out of order"));
        }
        let data = chunk.get_data();
        if data.is_empty() || self.offset + data.len() as u64 > size_bytes {
            return Err(invalid(
                "a piece that is empty or beyond the end of its file",
            ));
        }
        if crc32c::crc32c(data) != chunk.get_crc32c() {
            return Err(RpcStatus::with_message(
                RpcStatusCode::DATA_LOSS,
                "a piece was damaged on the way".into(),
            ));
        }
        if let Some(open) = &mut self.open {
            fault("snapshot.receive.write")?;
            open.write_all(data).map_err(|e| io(&e))?;
        }
        self.offset += data.len() as u64;
        self.pass_full_files()
    }

    /// Closes files that are whole and opens the next one that is not.
    fn pass_full_files(&mut self) -> Result<(), RpcStatus> {
        while let Some(file) = self.files.get(self.current) {
            if self.open.is_none() {
                let path = self.dir.join(file.get_name());
                let opened = OpenOptions::new().write(true).create_new(true).open(path);
                self.open = Some(opened.map_err(|e| io(&e))?);
            }
            if self.offset < file.get_size_bytes() {
                return Ok(());
            }
            if let Some(open) = self.open.take() {
                fault("snapshot.receive.sync")?;
                open.sync_all().map_err(|e| io(&e))?;
            }
            self.current += 1;
            self.offset = 0;
        }
        Ok(())
    }

    /// Checks that all came, and makes it durable.
    pub(crate) fn finish(&mut self) -> Result<(), RpcStatus> {
        self.pass_full_files()?;
        if self.current < self.files.len() {
            return Err(invalid("the stream ended before the last file was whole"));
        }
        sync_dir(&self.dir)?;
        // A snapshot of this position that came before, and is perhaps being
        // installed now, holds the same state: it stays, this one goes.
        if self.whole.exists() {
            return Ok(());
        }
        fault("snapshot.receive.rename")?;
        fs::rename(&self.dir, &self.whole).map_err(|e| io(&e))?;
        self.kept = true;
        if let Some(parent) = self.whole.parent() {
            sync_dir(parent)?;
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            self.open = None;
            // What stays is erased by the next one, or at the next start.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn fault(name: &'static str) -> Result<(), RpcStatus> {
    point(name).map_err(|fault| io(&fault.into()))
}

fn sync_dir(dir: &Path) -> Result<(), RpcStatus> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| io(&e))
}

fn check_list(files: &[SnapshotFile]) -> Result<(), RpcStatus> {
    if files.len() > limits::SNAPSHOT_FILE_COUNT_MAX {
        return Err(invalid("too many files"));
    }
    let mut names = BTreeSet::new();
    let mut total: u64 = 0;
    for file in files {
        if !is_plain(file.get_name()) {
            return Err(invalid("a file name that is not plain"));
        }
        if !names.insert(file.get_name()) {
            return Err(invalid("a file name twice"));
        }
        total = total.saturating_add(file.get_size_bytes());
    }
    if total > limits::SNAPSHOT_BYTES_MAX {
        return Err(invalid("more bytes than a snapshot may have"));
    }
    Ok(())
}

/// A name that stays in its directory on every system.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    (1..=limits::SNAPSHOT_NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !name.bytes().all(|c| c == b'.')
}

fn invalid(message: &str) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, message.to_owned())
}

fn io(error: &std::io::Error) -> RpcStatus {
    let message = format!("the snapshot cannot be stored: {error}");
    RpcStatus::with_message(RpcStatusCode::INTERNAL, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn file(name: &str, size_bytes: u64) -> SnapshotFile {
        let mut file = SnapshotFile::default();
        file.set_name(name.into());
        file.set_size_bytes(size_bytes);
        file
    }

    fn piece(file: u32, offset_bytes: u64, data: &[u8]) -> SnapshotChunk {
        let mut chunk = SnapshotChunk::default();
        chunk.set_file(file);
        chunk.set_offset_bytes(offset_bytes);
        chunk.set_data(data.to_vec());
        chunk.set_crc32c(crc32c::crc32c(data));
        chunk
    }

    fn begin(dir: &Path) -> Incoming {
        let files = vec![
            file("empty", 0),
            file("a.sst", 5),
            file("CURRENT", 2),
            file("z", 0),
        ];
        Incoming::begin(dir.join("7-1"), files).unwrap()
    }

    #[test]
    fn whole_files_arrive_as_sent() {
        let root = tempfile::tempdir().unwrap();
        let mut incoming = begin(root.path());
        incoming.chunk(&piece(1, 0, b"abc")).unwrap();
        incoming.chunk(&piece(1, 3, b"de")).unwrap();
        incoming.chunk(&piece(2, 0, b"xy")).unwrap();
        incoming.finish().unwrap();
        drop(incoming);
        let dir = root.path().join("7-1");
        assert_eq!(fs::read(dir.join("a.sst")).unwrap(), b"abcde");
        assert_eq!(fs::read(dir.join("CURRENT")).unwrap(), b"xy");
        assert_eq!(fs::read(dir.join("empty")).unwrap(), b"");
        assert_eq!(fs::read(dir.join("z")).unwrap(), b"");
    }

    #[test]
    fn no_flipped_bit_of_a_piece_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let mut state = 7_u32;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize % bound
        };
        let data: Vec<u8> = (0..32 << 10).map(|_| below(256) as u8).collect();
        let whole = piece(0, 0, &data);
        for n in 0..2_000 {
            let files = vec![file("a.sst", data.len() as u64)];
            let mut incoming = Incoming::begin(root.path().join("7-1"), files).unwrap();
            let mut damaged = whole.clone();
            // The checksum is as good a place as any.
            if n % 50 == 0 {
                damaged.set_crc32c(damaged.get_crc32c() ^ (1 << below(32)));
            } else {
                let bit = below(data.len() * 8);
                damaged.mut_data()[bit / 8] ^= 1 << (bit % 8);
            }
            let refused = incoming.chunk(&damaged).unwrap_err();
            assert_eq!(refused.code(), RpcStatusCode::DATA_LOSS, "{refused:?}");
            drop(incoming);
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn the_same_snapshot_again_leaves_the_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("7-1");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("mark"), b"first").unwrap();
        let mut incoming = Incoming::begin(dir.clone(), vec![file("a", 0)]).unwrap();
        incoming.finish().unwrap();
        drop(incoming);
        assert_eq!(fs::read(dir.join("mark")).unwrap(), b"first");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_cut_short_is_erased() {
        let root = tempfile::tempdir().unwrap();
        let mut incoming = begin(root.path());
        incoming.chunk(&piece(1, 0, b"abcde")).unwrap();
        assert!(incoming.finish().is_err());
        drop(incoming);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn bad_pieces_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut damaged = piece(1, 0, b"abc");
        damaged.set_crc32c(1);
        for bad in [
            damaged,
            piece(0, 0, b"a"),
            piece(1, 1, b"a"),
            piece(1, 0, b""),
            piece(1, 0, b"abcdef"),
            piece(2, 0, b"x"),
            piece(9, u64::MAX, b"x"),
        ] {
            let mut incoming = begin(root.path());
            assert!(incoming.chunk(&bad).is_err(), "{bad:?}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "",
            ".",
            "..",
            "...",
            "../x",
            "/x",
            "a/b",
            "a\\b",
            "a\0",
            "ä",
            &"x".repeat(256),
        ] {
            let begun = Incoming::begin(root.path().join("d"), vec![file(name, 1)]);
            assert!(begun.is_err(), "{name}");
        }
        let twice = vec![file("a", 1), file("a", 1)];
        assert!(Incoming::begin(root.path().join("d"), twice).is_err());
        let huge = vec![file("a", u64::MAX), file("b", u64::MAX)];
        assert!(Incoming::begin(root.path().join("d"), huge).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
