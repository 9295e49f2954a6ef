//! The simulated disk of a raft log: memory that knows what is synced.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType, HardState};
use xxhash_rust::xxh3::Xxh3;
use z4_consensus::log::{LogError, LogStore, LogWrite, Position};
use z4_consensus::proposals::Envelope;

/// What a log holds at one moment.
#[derive(Clone, Debug, Default)]
struct Image {
    hard_state: HardState,
    cut: Position,
    entries: BTreeMap<u64, Entry>,
}

/// One step of the disk, in the order of its write-ahead log.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Entry>, Option<HardState>),
    Cut(Position),
}

/// A step of which power loss left a part, with the checksum of all of it.
#[derive(Debug)]
struct Torn {
    part: Step,
    sum: u64,
}

/// Where a step is torn: any number will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tear(pub u64);

#[derive(Debug, Default)]
struct Disk {
    /// As a running process sees it.
    seen: Image,
    /// As a power loss leaves it.
    synced: Image,
    /// Between the two, oldest first.
    unsynced: Vec<Step>,
    /// Behind what is synced, until recovery looks at it.
    torn: Option<Torn>,
}

/// A [`LogStore`] in memory. What was not synced is lost by
/// [`crash`](Self::crash).
#[derive(Debug, Default)]
pub struct SimLog(Mutex<Disk>);

impl Image {
    fn last(&self) -> Position {
        let last = self.entries.last_key_value();
        last.map_or(self.cut, |(index, entry)| Position {
            index: *index,
            term: entry.term,
        })
    }

    fn term(&self, index: u64) -> Option<u64> {
        if index == self.cut.index {
            return Some(self.cut.term);
        }
        self.entries.get(&index).map(|entry| entry.term)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(entries, hard_state) => {
                if let Some(first) = entries.first() {
                    self.entries.split_off(&first.index);
                }
                let added = entries.iter().map(|entry| (entry.index, entry.clone()));
                self.entries.extend(added);
                if let Some(hard_state) = hard_state {
                    self.hard_state = hard_state.clone();
                }
            }
            Step::Cut(through) if through.index > self.cut.index => {
                self.entries = self.entries.split_off(&(through.index + 1));
                self.cut = *through;
            }
            Step::Cut(_) => {}
        }
    }
}

impl Step {
    /// What is there of a step that is torn: some entries, the last of them cut
    /// short; of a hard state alone the term. A cut is there or not.
    fn part(&self, Tear(at): Tear) -> Option<Self> {
        let Self::Write(entries, hard_state) = self else {
            return None;
        };
        let mut hard_state = hard_state.clone().filter(|_| entries.is_empty());
        if let Some(hard_state) = &mut hard_state {
            hard_state.vote = 0;
            hard_state.commit = 0;
        }
        let there = at as usize % (entries.len() + 1);
        let mut entries: Vec<_> = entries.iter().take(there).cloned().collect();
        if let Some(last) = entries.last_mut() {
            let half = last.data.len() / 2;
            last.data = last.data.slice(..half);
        }
        Some(Self::Write(entries, hard_state))
    }

    /// How many entries it writes.
    fn entries(&self) -> usize {
        match self {
            Self::Write(entries, _) => entries.len(),
            Self::Cut(_) => 0,
        }
    }

    fn sum(&self) -> u64 {
        let mut hash = Xxh3::new();
        match self {
            Self::Write(entries, hard_state) => {
                for entry in entries {
                    hash.update(&entry.index.to_le_bytes());
                    hash.update(&entry.term.to_le_bytes());
                    hash.update(&(entry.data.len() as u64).to_le_bytes());
                    hash.update(&entry.data);
                    hash.update(&entry.context);
                }
                if let Some(hard_state) = hard_state {
                    for number in [hard_state.term, hard_state.vote, hard_state.commit] {
                        hash.update(&number.to_le_bytes());
                    }
                }
            }
            Self::Cut(through) => hash.update(&through.index.to_le_bytes()),
        }
        hash.digest()
    }
}

impl Disk {
    fn step(&mut self, step: Step) {
        self.seen.take(&step);
        self.unsynced.push(step);
    }

    fn sync(&mut self) {
        for step in std::mem::take(&mut self.unsynced) {
            self.synced.take(&step);
        }
    }
}

impl SimLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings all that was written to stable storage.
    pub fn sync(&self) {
        self.disk().sync();
    }

    /// How many steps are not on stable storage.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.disk().unsynced.len()
    }

    /// Power loss: of the steps that were not synced, the first `kept` survive,
    /// and a part of the next one if it is torn. Gives the number of entries
    /// that are lost.
    pub fn crash(&self, kept: usize, tear: Option<Tear>) -> usize {
        let mut disk = self.disk();
        let kept = kept.min(disk.unsynced.len());
        let lost = disk.unsynced.split_off(kept);
        disk.sync();
        disk.seen = disk.synced.clone();
        disk.torn = lost.first().zip(tear).and_then(|(step, tear)| {
            let (part, sum) = (step.part(tear)?, step.sum());
            Some(Torn { part, sum })
        });
        // Whoever reads the log without recovery finds the part.
        if let Some(Torn { part, .. }) = &disk.torn {
            let part = part.clone();
            disk.seen.take(&part);
        }
        lost.iter().map(Step::entries).sum()
    }

    /// What a start does before anything else: drops a torn step, which does not
    /// have its checksum. Whether there was one.
    pub fn recover(&self) -> bool {
        let mut disk = self.disk();
        let Some(Torn { part, sum }) = disk.torn.take() else {
            return false;
        };
        let whole = part.sum() == sum;
        if whole {
            // Nothing of it was missing.
            disk.synced.take(&part);
        }
        disk.seen = disk.synced.clone();
        !whole
    }

    /// The log begins behind this position, as that of a founder does.
    ///
    /// # Errors
    /// Why it cannot be reset.
    pub fn begin_at(&self, at: Position) -> Result<(), String> {
        let hard_state = HardState {
            term: at.term,
            commit: at.index,
            ..HardState::default()
        };
        self.reset(at, &hard_state).map_err(|e| e.to_string())
    }

    /// A disk that lies: forgets the last `count` entries, synced or not.
    pub fn forget(&self, count: u64) {
        let mut disk = self.disk();
        let from = disk.synced.last().index.saturating_sub(count) + 1;
        disk.synced.entries.split_off(&from);
        let last = disk.synced.last().index;
        let commit = disk.synced.hard_state.commit;
        disk.synced.hard_state.commit = commit.min(last);
        disk.unsynced.clear();
        disk.torn = None;
        disk.seen = disk.synced.clone();
    }

    /// The hard state on stable storage.
    #[must_use]
    pub fn synced_hard_state(&self) -> HardState {
        self.disk().synced.hard_state.clone()
    }

    /// The greatest stamp in the log, written or synced; 0 without any.
    pub(crate) fn greatest_stamp(&self) -> u64 {
        greatest_stamp(self.disk().seen.entries.values())
    }

    /// The term of the entry that was written last at an index before the hard
    /// state had a term later than this; synced or not, cut away since then or not.
    #[must_use]
    pub fn term_written(&self, index: u64, term: u64) -> Option<u64> {
        let disk = self.disk();
        let of_the_term = disk.unsynced.iter().take_while(|step| match step {
            Step::Write(_, Some(hard_state)) => hard_state.term <= term,
            _ => true,
        });
        let newest = of_the_term.filter_map(|step| match step {
            Step::Write(entries, _) if entries.first()?.index <= index => Some(entries),
            _ => None,
        });
        match newest.last() {
            // Behind its last one nothing is left.
            Some(entries) => entries.iter().find(|e| e.index == index).map(|e| e.term),
            None => disk.synced.term(index),
        }
    }

    /// Whether this very entry is on stable storage, or was cut away.
    #[must_use]
    pub fn has_synced(&self, at: Position) -> bool {
        let disk = self.disk();
        at.index <= disk.synced.cut.index || disk.synced.term(at.index) == Some(at.term)
    }

    /// Whether this very entry is on stable storage.
    #[must_use]
    pub fn has_entry(&self, entry: &Entry) -> bool {
        self.disk().synced.entries.get(&entry.index) == Some(entry)
    }
}

/// The greatest stamp among entries that follow each other: that of the last
/// one that has any, since stamps rise along a log. 0 without any.
pub(crate) fn greatest_stamp<'a>(
    entries: impl IntoIterator<Item = &'a Entry, IntoIter: DoubleEndedIterator>,
) -> u64 {
    let stamped = |entry: &&Entry| entry.get_entry_type() == EntryType::EntryNormal;
    let mut newest_first = entries.into_iter().rev().filter(stamped);
    let stamp_ns = newest_first.find_map(|entry| Envelope::stamp(&entry.data));
    stamp_ns.unwrap_or_default()
}

impl LogStore for SimLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.disk().seen.hard_state.clone())
    }

    fn cut(&self) -> Result<Position, LogError> {
        Ok(self.disk().seen.cut)
    }

    fn last(&self) -> Result<Position, LogError> {
        Ok(self.disk().seen.last())
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let disk = self.disk();
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for index in low..high {
            let Some(entry) = disk.seen.entries.get(&index) else {
                return Err(LogError::Damaged(format!("entry {index} is missing")));
            };
            bytes += u64::from(entry.compute_size());
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        Ok(self.disk().seen.term(index))
    }

    fn write(&self, write: &LogWrite) -> Result<(), LogError> {
        let mut disk = self.disk();
        if let Some(first) = write.entries.first() {
            let run = (first.index..).zip(&write.entries);
            let gap = first.index > disk.seen.last().index + 1
                || first.index <= disk.seen.cut.index
                || run.into_iter().any(|(index, entry)| entry.index != index);
            if gap {
                return Err(LogError::Failed(format!(
                    "entry {} leaves a gap",
                    first.index
                )));
            }
        }
        disk.step(Step::Write(write.entries.clone(), write.hard_state.clone()));
        if write.sync {
            disk.sync();
        }
        Ok(())
    }

    fn cut_through(&self, through: Position) -> Result<(), LogError> {
        let mut disk = self.disk();
        if through.index > disk.seen.cut.index
            && disk.seen.term(through.index) != Some(through.term)
        {
            let index = through.index;
            return Err(LogError::Failed(format!(
                "the log has no entry {index} to be cut at"
            )));
        }
        disk.step(Step::Cut(through));
        Ok(())
    }

    fn reset(&self, to: Position, hard_state: &HardState) -> Result<(), LogError> {
        let mut disk = self.disk();
        disk.unsynced.clear();
        disk.torn = None;
        disk.synced = Image {
            hard_state: hard_state.clone(),
            cut: to,
            entries: BTreeMap::new(),
        };
        disk.seen = disk.synced.clone();
        Ok(())
    }
}
