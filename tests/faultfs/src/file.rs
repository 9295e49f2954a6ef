//! The bytes of a file, and how each write since the last sync is undone.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::Rng;

use crate::image::{some_of, Lost};

/// Writes of one file that wait for a sync; what is older the system has written
/// back by itself.
const WRITES_UNSYNCED_MAX: usize = 4_096;

/// One write, by what it replaced.
#[derive(Debug)]
struct Step {
    number: u64,
    at: usize,
    /// How much was written there; 0 for a change of the length.
    len: usize,
    /// What stood from `at` on.
    before: Vec<u8>,
    /// How long the file was.
    len_before: usize,
}

/// A file.
#[derive(Debug, Default)]
pub struct File {
    bytes: Vec<u8>,
    /// Oldest first.
    unsynced: VecDeque<Step>,
    /// How many of the oldest no sync brings to the disk any more.
    spoilt: usize,
}

impl File {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Bytes from `at` on, `len` at most.
    pub fn read(&self, at: u64, len: usize) -> &[u8] {
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let from = from.min(self.bytes.len());
        let to = from.saturating_add(len).min(self.bytes.len());
        &self.bytes[from..to]
    }

    /// Writes at `at`; a gap before it is filled with zeros.
    pub fn write(&mut self, number: u64, at: u64, bytes: &[u8]) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let end = at + bytes.len();
        let before = self.read(at as u64, bytes.len()).to_vec();
        self.note(Step {
            number,
            at,
            len: bytes.len(),
            before,
            len_before: self.bytes.len(),
        });
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
    }

    /// Sets the length.
    pub fn set_len(&mut self, number: u64, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let before = self.read(len as u64, usize::MAX).to_vec();
        self.note(Step {
            number,
            at: len,
            len: 0,
            before,
            len_before: self.bytes.len(),
        });
        self.bytes.resize(len, 0);
    }

    fn note(&mut self, step: Step) {
        self.unsynced.push_back(step);
        if self.unsynced.len() > WRITES_UNSYNCED_MAX && self.spoilt == 0 {
            self.unsynced.pop_front();
        }
    }

    /// Brings all changes up to this one to the disk.
    pub fn sync(&mut self, through: u64) {
        if self.spoilt > 0 {
            return;
        }
        while self.unsynced.front().is_some_and(|s| s.number <= through) {
            self.unsynced.pop_front();
        }
    }

    /// What is not durable never will be, nor what comes after it.
    pub fn spoil(&mut self) {
        self.spoilt = self.unsynced.len();
    }

    /// Takes back what was not synced, but for a beginning of it.
    pub fn lose_power(&mut self, rng: &mut StdRng, lost: &mut Lost) {
        let kept = if self.spoilt > 0 {
            0
        } else {
            some_of(rng, self.unsynced.len())
        };
        while self.unsynced.len() > kept {
            let Some(step) = self.unsynced.pop_back() else {
                break;
            };
            let first = self.unsynced.len() == kept;
            let torn = if first && kept > 0 && step.len > 1 && rng.gen() {
                let len = rng.gen_range(1..step.len);
                self.bytes[step.at..step.at + len].to_vec()
            } else {
                Vec::new()
            };
            self.undo(&step);
            lost.writes += 1;
            if !torn.is_empty() {
                let end = step.at + torn.len();
                if self.bytes.len() < end {
                    self.bytes.resize(end, 0);
                }
                self.bytes[step.at..end].copy_from_slice(&torn);
                lost.torn += 1;
            }
        }
        self.unsynced.clear();
        self.spoilt = 0;
    }

    fn undo(&mut self, step: &Step) {
        self.bytes.resize(step.len_before, 0);
        let end = step.at + step.before.len();
        if !step.before.is_empty() {
            self.bytes[step.at..end].copy_from_slice(&step.before);
        }
    }
}
