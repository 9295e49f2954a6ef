//! The lower bound of the raft log's list of files (MANIFEST).
//!
//! RocksDB takes a list of which the last record is not whole for one whose writer died,
//! and opens the database as it was before that record. A flipped bit in the length of a
//! record hides all records behind it in the same way. The task state is then an older one,
//! and the raft log has the rest, or the start refuses it (`recover`). The raft log loses the
//! entries of the tables that are named no more, for their write-ahead files are gone, and
//! keeps what was written later. So it ends where it should and has a hole, or has entries
//! again that were replaced.
//!
//! This file beside the log says how many bytes of whole, synced records the list had. A
//! change of the list is noted with the next synced write of the log, and promises nothing
//! before. Each opening of the log begins another list, with a greater number. A file that is
//! missing or torn promises nothing either: versions before this one wrote none.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use z4_consensus::proposals::wire::{Reader, Writer};

use crate::bound::InPlace;
use crate::error::StorageError;
use crate::files;
use crate::peer_dir::PeerDir;

const VERSION: u8 = 1;
const NAME: &str = "BOUND.list";
/// RocksDB's file that names the list in use.
const CURRENT: &str = "CURRENT";
const LIST_PREFIX: &str = "MANIFEST-";
/// A record does not reach over the end of such a block; a longer one is in parts.
const BLOCK_BYTES: u64 = 32 << 10;
/// A header is a checksum of four bytes, a length of two and a kind of one.
const HEADER_BYTES: u64 = 7;

/// A list, and the least that it had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ListBound {
    /// The number in the name of the list.
    number: u64,
    /// The place at which its last whole record ended.
    whole_bytes: u64,
}

impl ListBound {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.number(self.number);
        out.number(self.whole_bytes);
        files::seal(out.finish())
    }

    pub(crate) fn decode(sealed: &[u8]) -> Option<Self> {
        let mut input = Reader::new(files::unseal(sealed)?, VERSION)?;
        let bound = Self {
            number: input.number()?,
            whole_bytes: input.number()?,
        };
        input.end().then_some(bound)
    }
}

/// Follows the list that is in use.
#[derive(Debug)]
pub(crate) struct ListFile {
    bound: ListBound,
    note: InPlace,
    path: PathBuf,
    list: File,
    /// The length of the list at the last look.
    seen_bytes: u64,
}

impl ListFile {
    /// Begins to follow the list of the log in `log_dir`, which is open.
    pub fn open(dir: &Path, log_dir: &Path) -> Result<Self, StorageError> {
        let Some((number, path)) = current(log_dir)? else {
            return Err(StorageError::damaged(
                log_dir.join(CURRENT),
                "it names no list of files",
            ));
        };
        let list = File::open(&path).map_err(StorageError::io("open", &path))?;
        // An earlier list must not come back as the one in use.
        files::sync_dir(log_dir)?;
        let mut file = Self {
            bound: ListBound {
                number,
                whole_bytes: 0,
            },
            note: InPlace::open(dir, NAME)?,
            path,
            list,
            seen_bytes: 0,
        };
        file.follow()?;
        Ok(file)
    }

    /// Notes what the list has now.
    pub fn follow(&mut self) -> Result<(), StorageError> {
        let failed = |doing, path: &Path| StorageError::io(doing, path.to_owned());
        let len = self.list.metadata();
        let len = len.map_err(failed("read", &self.path))?.len();
        if len == self.seen_bytes {
            return Ok(());
        }
        let whole_bytes = match whole_end(&self.list, self.bound.whole_bytes) {
            // RocksDB writes meanwhile, and a file system may show a length before the bytes.
            // Nothing more is promised until the next look.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            whole => whole.map_err(failed("read", &self.path))?,
        };
        self.seen_bytes = len;
        if whole_bytes == self.bound.whole_bytes {
            return Ok(());
        }
        // RocksDB may not have synced them yet, and a promise must outlive the machine.
        let synced = self.list.sync_data();
        synced.map_err(failed("sync", &self.path))?;
        self.bound.whole_bytes = whole_bytes;
        self.note.write_synced(&self.bound.encode())
    }
}

/// Checks that the list of the log has what was noted. The log is not open yet, for its
/// opening replaces the list.
pub(crate) fn check(peer_dir: &PeerDir) -> Result<(), StorageError> {
    let noted = files::read(&peer_dir.path().join(NAME))?;
    let Some(noted) = noted.and_then(|bytes| ListBound::decode(&bytes)) else {
        return Ok(());
    };
    // A log without a list is refused by RocksDB, or by its own lower bound.
    let Some((number, path)) = current(&peer_dir.log_path())? else {
        return Ok(());
    };
    let whole_bytes = match File::open(&path) {
        Ok(list) => whole_end(&list, 0).map_err(StorageError::io("read", &path))?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StorageError::io("open", &path)(e)),
    };
    let kept = number > noted.number || number == noted.number && whole_bytes >= noted.whole_bytes;
    if kept {
        return Ok(());
    }
    Err(peer_dir.quarantine(&format!(
        "the list of files of the raft log lost its end: {whole_bytes} bytes of {LIST_PREFIX}{number:06} \
         are whole records, and {LIST_PREFIX}{:06} had {}",
        noted.number, noted.whole_bytes
    )))
}

/// The list in use, by number and path; `None` when none is named.
fn current(log_dir: &Path) -> Result<Option<(u64, PathBuf)>, StorageError> {
    let Some(bytes) = files::read(&log_dir.join(CURRENT))? else {
        return Ok(None);
    };
    let name = String::from_utf8_lossy(&bytes);
    let name = name.trim_end();
    let number = name.strip_prefix(LIST_PREFIX);
    let number = number.and_then(|number| number.parse().ok());
    Ok(number.map(|number| (number, log_dir.join(name))))
}

/// The end of the last whole record of a list, in which one ends at `end`.
fn whole_end(list: &File, mut end: u64) -> std::io::Result<u64> {
    let len = list.metadata()?.len();
    loop {
        let left = BLOCK_BYTES - end % BLOCK_BYTES;
        // The rest of a block that is too short for a header is filled up.
        let from = if left < HEADER_BYTES { end + left } else { end };
        if from + HEADER_BYTES > len {
            return Ok(end);
        }
        let mut header = [0; HEADER_BYTES as usize];
        list.read_exact_at(&mut header, from)?;
        let [_, _, _, _, low, high, kind] = header;
        let to = from + HEADER_BYTES + u64::from(u16::from_le_bytes([low, high]));
        // Kind 0 is space that was set aside.
        if kind == 0 || to > len {
            return Ok(end);
        }
        end = to;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A folder of a peer, with a log that has this list.
    fn peer(list: &[u8]) -> (tempfile::TempDir, PeerDir) {
        let dir = tempfile::tempdir().unwrap();
        let peer_dir = PeerDir::new(dir.path());
        std::fs::create_dir(peer_dir.log_path()).unwrap();
        std::fs::write(peer_dir.log_path().join(CURRENT), "MANIFEST-000005\n").unwrap();
        set(&peer_dir, list);
        (dir, peer_dir)
    }

    fn set(peer_dir: &PeerDir, list: &[u8]) {
        std::fs::write(peer_dir.log_path().join("MANIFEST-000005"), list).unwrap();
    }

    fn open(peer_dir: &PeerDir) -> ListFile {
        ListFile::open(peer_dir.path(), &peer_dir.log_path()).unwrap()
    }

    /// A record with so many bytes behind its header.
    fn record(bytes: u16) -> Vec<u8> {
        let mut record = vec![1; HEADER_BYTES as usize + usize::from(bytes)];
        record[4..6].copy_from_slice(&bytes.to_le_bytes());
        record
    }

    /// Files of the kernel show a length and have less, as a list may while it is written.
    #[test]
    fn a_list_that_is_shorter_than_it_says_promises_nothing_more() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = PathBuf::from("/sys/devices/system/cpu/online");
        let mut file = ListFile {
            bound: ListBound {
                number: 5,
                whole_bytes: 1_000,
            },
            note: InPlace::open(dir.path(), NAME).unwrap(),
            list: File::open(&path).unwrap(),
            path,
            seen_bytes: 0,
        };
        assert!(whole_end(&file.list, 1_000).is_err());
        file.follow().unwrap();
        assert_eq!((file.bound.whole_bytes, file.seen_bytes), (1_000, 0));
    }

    #[test]
    fn what_is_noted_are_whole_records() {
        let (whole, begun) = (record(100), record(50));
        let (_dir, peer_dir) = peer(&whole);
        let mut file = open(&peer_dir);
        for part in 1..begun.len() {
            set(&peer_dir, &[&whole[..], &begun[..part]].concat());
            file.follow().unwrap();
        }
        // The writer died in the middle of the second record.
        check(&peer_dir).unwrap();
        set(&peer_dir, &whole);
        check(&peer_dir).unwrap();

        set(&peer_dir, &[&whole[..], &begun].concat());
        file.follow().unwrap();
        check(&peer_dir).unwrap();
        set(&peer_dir, &whole);
        let refused = check(&peer_dir).unwrap_err().to_string();
        assert!(refused.contains("MANIFEST-000005 had 164"), "{refused}");
    }

    #[test]
    fn space_that_was_set_aside_is_no_record() {
        let (_dir, peer_dir) = peer(&[record(100), vec![0; 500]].concat());
        assert_eq!(open(&peer_dir).bound.whole_bytes, 107);
    }

    #[test]
    fn a_block_may_end_with_less_than_a_header() {
        let full = record((BLOCK_BYTES - HEADER_BYTES) as u16);
        let short = record((BLOCK_BYTES - HEADER_BYTES - 3) as u16);
        let list = [&full[..], &short, &[0; 3], &record(9)].concat();
        let (_dir, peer_dir) = peer(&list);
        assert_eq!(open(&peer_dir).bound.whole_bytes, list.len() as u64);
    }

    #[test]
    fn a_later_list_is_another_and_an_earlier_one_is_refused() {
        let (_dir, peer_dir) = peer(&record(100));
        drop(open(&peer_dir));
        let log = peer_dir.log_path();
        for (name, taken) in [("MANIFEST-000006", true), ("MANIFEST-000004", false)] {
            std::fs::write(log.join(name), record(1)).unwrap();
            std::fs::write(log.join(CURRENT), format!("{name}\n")).unwrap();
            assert_eq!(check(&peer_dir).is_ok(), taken, "{name}");
        }
    }
}
