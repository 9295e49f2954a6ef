//! The set of operations that are in the order. As a key of the memory it is cut
//! to the words that are neither all in nor all out, so that a long history
//! costs no more for each step than a short one.

pub(super) struct Ordered {
    words: Vec<u64>,
    /// All words below are full.
    full: usize,
    /// All words from here on are empty.
    empty: usize,
}

/// The set, in few words.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Key {
    full: usize,
    rest: Box<[u64]>,
}

impl Ordered {
    pub(super) fn new(count: usize) -> Self {
        Self {
            words: vec![0; count.div_ceil(64)],
            full: 0,
            empty: 0,
        }
    }

    pub(super) fn add(&mut self, op: u32) {
        let (word, bit) = place(op);
        self.words[word] |= bit;
        self.empty = self.empty.max(word + 1);
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    pub(super) fn remove(&mut self, op: u32) {
        let (word, bit) = place(op);
        self.words[word] &= !bit;
        self.full = self.full.min(word);
        while self.empty > 0 && self.words[self.empty - 1] == 0 {
            self.empty -= 1;
        }
    }

    pub(super) fn key(&self) -> Key {
        let to = self.empty.max(self.full);
        Key {
            full: self.full,
            rest: self.words[self.full..to].into(),
        }
    }
}

fn place(op: u32) -> (usize, u64) {
    ((op / 64) as usize, 1 << (op % 64))
}
