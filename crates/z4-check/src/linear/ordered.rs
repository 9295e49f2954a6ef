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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    /// Filled from the front with a hole here and there, and undone, as the
    /// search does; equal sets have equal keys, others have others.
    #[test]
    fn a_key_is_the_set() {
        const COUNT: u32 = 300;
        let mut ordered = Ordered::new(COUNT as usize);
        let mut set = BTreeSet::new();
        let mut sets: HashMap<BTreeSet<u32>, Vec<u64>> = HashMap::new();
        let mut keys: HashMap<Key, BTreeSet<u32>> = HashMap::new();
        let mut added = Vec::new();
        for step in 0..4_000_u32 {
            // Twenty forward, nineteen back, with another hole each time.
            let forward = step % 39 < 20;
            let op = (0..COUNT).find(|op| !set.contains(op) && op % 7 != step / 39 % 7);
            match op {
                Some(op) if forward => {
                    ordered.add(op);
                    set.insert(op);
                    added.push(op);
                }
                _ => {
                    if let Some(op) = added.pop() {
                        ordered.remove(op);
                        set.remove(&op);
                    }
                }
            }
            let key = ordered.key();
            let words = [&[key.full as u64], &*key.rest].concat();
            assert_eq!(
                *sets.entry(set.clone()).or_insert_with(|| words.clone()),
                words
            );
            assert_eq!(*keys.entry(key).or_insert_with(|| set.clone()), set);
        }
        assert!(keys.keys().any(|key| key.full > 0), "no word was ever full");
    }
}
