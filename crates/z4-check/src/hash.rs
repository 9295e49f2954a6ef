//! Peers at one index have one state.
//!
//! Source: promise 7 of z4; etcd's HashKV, TigerBeetle's state checker.

use std::collections::BTreeMap;

use crate::violation::{Rule, Violation};

/// The hashes that were seen.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    /// Who said it first, by index.
    seen: BTreeMap<u64, (u64, u128)>,
    compared: u64,
}

impl Hashes {
    /// A peer has this hash at this index.
    ///
    /// # Errors
    ///
    /// [`Rule::HashDiffers`]: another has another one.
    pub fn seen(&mut self, peer: u64, index: u64, hash: u128) -> Result<(), Violation> {
        let (first, known) = match self.seen.get(&index) {
            None => {
                self.seen.insert(index, (peer, hash));
                return Ok(());
            }
            Some(known) => *known,
        };
        self.compared += 1;
        if known == hash {
            return Ok(());
        }
        Err(Violation::new(
            Rule::HashDiffers,
            format!("peers {first} and {peer} differ at index {index}: {known:032x}, {hash:032x}"),
        ))
    }

    /// How many hashes had another to be compared with.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// Nothing will be said of indexes below this one any more.
    pub fn forget_below(&mut self, index: u64) {
        self.seen = self.seen.split_off(&index);
    }
}
