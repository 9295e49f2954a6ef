//! State machine safety: all peers apply the same entry at the same index (Raft,
//! figure 3), none is left out, and stamps rise.

use xxhash_rust::xxh3::Xxh3;
use z4_consensus::log::Position;
use z4_consensus::machine::Committed;

pub(crate) struct History {
    /// Fingerprints of the entries from `first` on.
    entries: Vec<u64>,
    /// Their terms, which never fall.
    terms: Vec<u64>,
    first: u64,
    stamp_ns: u64,
}

impl History {
    /// A history whose first entry stands at this index.
    pub(crate) fn new(first: u64) -> Self {
        Self {
            entries: Vec::new(),
            terms: Vec::new(),
            first,
            stamp_ns: 0,
        }
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.first + self.entries.len() as u64 - 1
    }

    /// The last entry that was committed in a term before this one.
    pub(crate) fn last_before(&self, term: u64) -> Option<Position> {
        let at = self.terms.partition_point(|known| *known < term);
        let last = at.checked_sub(1)?;
        Some(Position {
            index: self.first + last as u64,
            term: *self.terms.get(last)?,
        })
    }

    /// Tells whether this very entry was applied at its place; `None` when none was yet.
    pub(crate) fn has(&self, entry: &Committed) -> Option<bool> {
        let at = entry.position.index.checked_sub(self.first)? as usize;
        let known = self.entries.get(at)?;
        Some(*known == fingerprint(entry))
    }

    /// A peer applies an entry; whether it is the first to do so.
    pub(crate) fn take(&mut self, peer: u64, entry: &Committed) -> Result<bool, String> {
        let index = entry.position.index;
        let print = fingerprint(entry);
        let at = (index - self.first) as usize;
        match self.entries.get(at) {
            Some(known) if *known == print => return Ok(false),
            Some(_) => {
                return Err(format!(
                    "peer {peer} applies another entry at {index} than others did"
                ))
            }
            None if at != self.entries.len() => {
                return Err(format!("peer {peer} leaves a gap before entry {index}"))
            }
            None => {
                self.entries.push(print);
                self.terms.push(entry.position.term);
            }
        }
        if entry.stamp_ns != 0 {
            if entry.stamp_ns <= self.stamp_ns {
                let (stamp_ns, last_ns) = (entry.stamp_ns, self.stamp_ns);
                return Err(format!(
                    "entry {index} is stamped {stamp_ns}, one before it {last_ns}"
                ));
            }
            self.stamp_ns = entry.stamp_ns;
        }
        Ok(true)
    }
}

fn fingerprint(entry: &Committed) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&entry.position.index.to_le_bytes());
    hash.update(&entry.position.term.to_le_bytes());
    hash.update(&entry.stamp_ns.to_le_bytes());
    for command in &entry.commands {
        hash.update(&(command.len() as u64).to_le_bytes());
        hash.update(command);
    }
    if let Some(membership) = &entry.membership {
        hash.update(&membership.encode());
    }
    hash.digest()
}
