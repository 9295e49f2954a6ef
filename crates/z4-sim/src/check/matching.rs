//! Log matching: two entries with one index and one term are the same entry, at
//! whatever peer (Raft, figure 3).

use std::collections::BTreeMap;

use raft::eraftpb::Entry;
use xxhash_rust::xxh3::Xxh3;

#[derive(Default)]
pub(crate) struct Matching {
    /// Fingerprints by (index, term).
    entries: BTreeMap<(u64, u64), u64>,
    /// Where the log of each peer ends.
    ends: BTreeMap<u64, u64>,
}

impl Matching {
    /// A peer appends entries. Whether they replace others, which then were not
    /// committed.
    pub(crate) fn appended(&mut self, peer: u64, entries: &[Entry]) -> Result<bool, String> {
        let Some((first, last)) = entries.first().zip(entries.last()) else {
            return Ok(false);
        };
        for entry in entries {
            let print = fingerprint(entry);
            let known = *self
                .entries
                .entry((entry.index, entry.term))
                .or_insert(print);
            if known != print {
                return Err(format!(
                    "log matching: peer {peer} has another entry {} of term {} than others",
                    entry.index, entry.term
                ));
            }
        }
        let end = self.ends.insert(peer, last.index).unwrap_or_default();
        Ok(first.index <= end)
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
