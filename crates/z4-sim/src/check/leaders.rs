//! Leader completeness: a leader has every entry that was committed before its
//! term (Raft, figure 3). By log matching it is enough that it has the last one.

use z4_consensus::log::LogStore as _;

use crate::peer::{LogJob, Peer};
use crate::world::World;

impl World {
    /// A peer leads from now on in a term.
    pub(crate) fn check_leader(&mut self, id: u64, term: u64) {
        let Some(last) = self.checks.history.last_before(term) else {
            return;
        };
        let has = self
            .peers
            .get(&id)
            .is_some_and(|peer| term_at(peer, last.index).is_none_or(|found| found == last.term));
        if !has {
            self.fail(format!(
                "leader completeness: peer {id} leads in term {term} without entry {} of term {}, \
                 which was committed",
                last.index, last.term
            ));
        }
    }
}

/// The term of an entry in a peer's log, written or about to be; 0 for none.
/// `None` when a snapshot stands in its place.
fn term_at(peer: &Peer, index: u64) -> Option<u64> {
    let jobs = peer.run.iter().flat_map(|run| run.log_jobs.iter().rev());
    for job in jobs {
        let LogJob::Persist(persist) = job else {
            continue;
        };
        let entries = &persist.write.entries;
        let Some(first) = entries.first().filter(|first| first.index <= index) else {
            continue;
        };
        let found = entries.get((index - first.index) as usize);
        return Some(found.map_or(0, |entry| entry.term));
    }
    match peer.log.cut() {
        Ok(cut) if cut.index >= index => None,
        _ => Some(peer.log.term(index).ok().flatten().unwrap_or_default()),
    }
}
