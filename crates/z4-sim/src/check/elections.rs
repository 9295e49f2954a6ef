//! A term has one leader at most.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Elections(BTreeMap<u64, u64>);

impl Elections {
    /// A peer leads in a term; whether that is news.
    pub(crate) fn leads(&mut self, term: u64, id: u64) -> Result<bool, String> {
        match self.0.insert(term, id) {
            None => Ok(true),
            Some(known) if known == id => Ok(false),
            Some(other) => Err(format!("peers {other} and {id} both lead in term {term}")),
        }
    }
}
