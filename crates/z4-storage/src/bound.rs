//! The lower-bound file: what the raft log held at least, beside the log.
//!
//! RocksDB opens a directory whose WAL file is missing as an empty database,
//! without an error. A peer that then takes part would vote twice or forget
//! what it acknowledged. This file says from outside how far the log, term and
//! vote had come at least; a log that is behind it was lost.
//!
//! All of its files are open from the start on: a write must not depend on
//! whether the process has a descriptor left.
//!
//! There are two copies, written in turn, so that a torn write leaves one. What
//! the file promises about entries is taken back, in both copies, before
//! entries are replaced. Beside them stands what the last synced write held,
//! itself not synced, and how far the log's list of files reached (`list`).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use raft::eraftpb::HardState;
use z4_consensus::log::Position;
use z4_consensus::proposals::wire::{Reader, Writer};
use z4_consensus::Identity;

use crate::error::StorageError;
use crate::files;
use crate::list::ListFile;
use crate::peer_dir::PeerDir;

const VERSION: u8 = 1;
const NAMES: [&str; 2] = ["BOUND.0", "BOUND.1"];
/// Follows every synced write, but is not synced itself: it outlives the process,
/// not the machine. It may be torn or missing.
const HINT: &str = "BOUND.hint";

/// What the log held at least.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bound {
    /// Whose log.
    pub cluster_id: [u8; 16],
    /// Whose log.
    pub raft_id: u64,
    /// Term of the hard state.
    pub term: u64,
    /// Vote in that term; 0 for none.
    pub vote: u64,
    /// An entry that was synced, or a place where the log was cut.
    pub last: Position,
}

impl Bound {
    fn new(identity: &Identity) -> Self {
        Self {
            cluster_id: identity.cluster_id,
            raft_id: identity.raft_id,
            ..Self::default()
        }
    }

    /// Whether it is this peer's.
    pub fn is_of(&self, identity: &Identity) -> bool {
        self.cluster_id == identity.cluster_id && self.raft_id == identity.raft_id
    }

    pub(crate) fn encode(&self, sequence: u64) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.number(sequence);
        out.fixed(&self.cluster_id);
        out.number(self.raft_id);
        out.number(self.term);
        out.number(self.vote);
        out.number(self.last.index);
        out.number(self.last.term);
        files::seal(out.finish())
    }

    pub(crate) fn decode(sealed: &[u8]) -> Option<(u64, Self)> {
        let mut input = Reader::new(files::unseal(sealed)?, VERSION)?;
        let sequence = input.number()?;
        let bound = Self {
            cluster_id: input.fixed()?,
            raft_id: input.number()?,
            term: input.number()?,
            vote: input.number()?,
            last: Position {
                index: input.number()?,
                term: input.number()?,
            },
        };
        input.end().then_some((sequence, bound))
    }
}

/// The file, kept open by its only writer.
#[derive(Debug)]
pub(crate) struct BoundFile {
    sequence: u64,
    /// Which copy is the older one.
    copy_next: usize,
    bound: Bound,
    copies: [InPlace; 2],
    hint: InPlace,
    list: ListFile,
}

/// One file that is written in place, and how long it is.
#[derive(Debug)]
pub(crate) struct InPlace {
    path: PathBuf,
    file: File,
    len: u64,
}

impl InPlace {
    /// Opens it, or makes it.
    pub fn open(dir: &Path, name: &str) -> Result<Self, StorageError> {
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false);
        let opened = files::fault("bound.open").and_then(|()| options.open(&path));
        let read_len = |file: File| Ok((file.metadata()?.len(), file));
        let (len, file) = opened
            .and_then(read_len)
            .map_err(StorageError::io("open", &path))?;
        Ok(Self { path, file, len })
    }

    /// Writes it in place.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all_at(bytes, 0)?;
        // Numbers are written as short as they are.
        let len = bytes.len() as u64;
        if self.len != len {
            self.file.set_len(len)?;
            self.len = len;
        }
        Ok(())
    }

    /// Writes it in place, durably.
    pub fn write_synced(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        files::fault("bound.write")
            .and_then(|()| self.write(bytes))
            .and_then(|()| self.file.sync_data())
            .map_err(StorageError::io("write", &self.path))
    }
}

/// The two copies, open.
fn open_copies(dir: &Path) -> Result<[InPlace; 2], StorageError> {
    let [first, second] = NAMES;
    Ok([InPlace::open(dir, first)?, InPlace::open(dir, second)?])
}

/// The list of files of the log beside it, which is open.
fn open_list(dir: &Path) -> Result<ListFile, StorageError> {
    ListFile::open(dir, &PeerDir::new(dir).log_path())
}

impl BoundFile {
    /// Reads the newer valid copy; `None` when there is no copy at all.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when there are copies but none is valid.
    pub fn read(dir: &Path) -> Result<Option<Self>, StorageError> {
        let mut newest: Option<(u64, Bound)> = None;
        let mut copy_next = 0;
        let mut found = false;
        for (copy, name) in NAMES.iter().enumerate() {
            let Some(bytes) = files::read(&dir.join(name))? else {
                continue;
            };
            // An empty one was made and never written: a write does not shorten it
            // before it is there.
            found |= !bytes.is_empty();
            if let Some(read) = Bound::decode(&bytes) {
                if newest.as_ref().is_none_or(|n| n.0 < read.0) {
                    newest = Some(read);
                    copy_next = 1 - copy;
                }
            }
        }
        // Never alone: what the copies say of term and vote must not be lost.
        let hint = files::read(&dir.join(HINT))?.and_then(|bytes| Bound::decode(&bytes));
        if let (Some(newest), Some(hint)) = (&mut newest, hint) {
            let same = (hint.1.cluster_id, hint.1.raft_id);
            if newest.0 < hint.0 && same == (newest.1.cluster_id, newest.1.raft_id) {
                *newest = hint;
            }
        }
        match newest {
            Some((sequence, bound)) => Ok(Some(Self {
                sequence,
                copy_next,
                bound,
                copies: open_copies(dir)?,
                hint: InPlace::open(dir, HINT)?,
                list: open_list(dir)?,
            })),
            None if found => Err(StorageError::damaged(
                dir.join(NAMES[0]),
                "no copy of the lower bound of the log is whole",
            )),
            None => Ok(None),
        }
    }

    /// Starts anew for a peer whose log is empty.
    pub fn create(
        dir: &Path,
        identity: &Identity,
        hard_state: &HardState,
        last: Position,
    ) -> Result<Self, StorageError> {
        files::remove(&dir.join(HINT))?;
        let mut file = Self {
            sequence: 0,
            copy_next: 0,
            copies: open_copies(dir)?,
            hint: InPlace::open(dir, HINT)?,
            list: open_list(dir)?,
            bound: Bound {
                term: hard_state.term,
                vote: hard_state.vote,
                last,
                ..Bound::new(identity)
            },
        };
        file.write_both()?;
        files::sync_dir(dir)?;
        Ok(file)
    }

    /// What it says.
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// The entry it promises.
    pub fn last(&self) -> Position {
        self.bound.last
    }

    /// Whether term and vote are in it.
    pub fn covers(&self, hard_state: &HardState) -> bool {
        self.bound.term == hard_state.term && self.bound.vote == hard_state.vote
    }

    /// Follows what is durable now.
    pub fn raise(&mut self, hard_state: &HardState, last: Position) -> Result<(), StorageError> {
        self.bound.term = hard_state.term;
        self.bound.vote = hard_state.vote;
        self.bound.last = last;
        self.list.follow()?;
        self.write_one()
    }

    /// Follows what is durable now, without a sync: a log that others cut short
    /// behind the last raise is found then, unless the machine went down.
    pub fn follow(&mut self, hard_state: &HardState, last: Position) -> Result<(), StorageError> {
        self.bound.term = hard_state.term;
        self.bound.vote = hard_state.vote;
        self.bound.last = last;
        self.list.follow()?;
        self.sequence += 1;
        let bytes = self.bound.encode(self.sequence);
        let hint = &mut self.hint;
        let written = hint.write(&bytes);
        written.map_err(StorageError::io("write", &hint.path))
    }

    /// Promises no entry any more, until it is raised again. In both copies: the
    /// older one must not come back.
    pub fn lower(&mut self) -> Result<(), StorageError> {
        self.bound.last = Position::default();
        self.write_both()
    }

    fn write_both(&mut self) -> Result<(), StorageError> {
        self.write_one()?;
        self.write_one()
    }

    /// Writes the older copy. In place: the other one is whole meanwhile.
    fn write_one(&mut self) -> Result<(), StorageError> {
        self.sequence += 1;
        let bytes = self.bound.encode(self.sequence);
        let copy = &mut self.copies[self.copy_next];
        self.copy_next = 1 - self.copy_next;
        copy.write_synced(&bytes)
    }
}
