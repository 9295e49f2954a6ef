//! Log matching: two entries with one index and one term are the same entry, at
//! whatever peer (Raft, figure 3).
//!
//! An entry counts once it is on stable storage or has been sent. One that was
//! lost with its peer before either never was: a single voter makes its term
//! durable together with the first entries of it, and may begin that term anew.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::Entry;
use xxhash_rust::xxh3::Xxh3;

/// The entries of one write.
type Write = (u64, Vec<Entry>);

#[derive(Default)]
pub(crate) struct Matching {
    /// Fingerprints by (index, term).
    entries: BTreeMap<(u64, u64), u64>,
    /// What each peer writes and has not synced.
    writing: BTreeMap<u64, VecDeque<Write>>,
    /// Where the log of each peer ends.
    ends: BTreeMap<u64, u64>,
}

impl Matching {
    /// A peer appends entries, with the write of this number. Whether they
    /// replace others, which then were not committed.
    pub(crate) fn appended(&mut self, peer: u64, number: u64, entries: &[Entry]) -> bool {
        let Some((first, last)) = entries.first().zip(entries.last()) else {
            return false;
        };
        let writing = self.writing.entry(peer).or_default();
        writing.push_back((number, entries.to_vec()));
        let end = self.ends.insert(peer, last.index).unwrap_or_default();
        first.index <= end
    }

    /// The writes of a peer up to this number are on stable storage.
    pub(crate) fn synced(&mut self, peer: u64, number: u64) -> Result<(), String> {
        let mut done = Vec::new();
        if let Some(writing) = self.writing.get_mut(&peer) {
            while writing.front().is_some_and(|(n, _)| *n <= number) {
                done.extend(writing.pop_front());
            }
        }
        for (_, entries) in done {
            self.are(peer, &entries)?;
        }
        Ok(())
    }

    /// A peer lost power; of what it was writing, what `kept` says is still
    /// there.
    pub(crate) fn crashed(
        &mut self,
        peer: u64,
        kept: impl Fn(&Entry) -> bool,
    ) -> Result<(), String> {
        for (_, mut entries) in self.writing.remove(&peer).unwrap_or_default() {
            entries.retain(&kept);
            self.are(peer, &entries)?;
        }
        Ok(())
    }

    /// A peer has or sends these entries.
    pub(crate) fn are(&mut self, peer: u64, entries: &[Entry]) -> Result<(), String> {
        for entry in entries {
            let print = fingerprint(entry);
            let place = (entry.index, entry.term);
            if *self.entries.entry(place).or_insert(print) != print {
                return Err(format!(
                    "log matching: peer {peer} has another entry {} of term {} than others",
                    entry.index, entry.term
                ));
            }
        }
        Ok(())
    }
}

fn fingerprint(entry: &Entry) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&[entry.get_entry_type() as u8]);
    hash.update(&entry.data);
    hash.update(&[0]);
    hash.update(&entry.context);
    hash.digest()
}
