//! Promise 7: replicas at one index have one state.

use std::collections::BTreeMap;

use z4_core::invariants::state_hash;
use z4_core::View;

#[derive(Default)]
pub(crate) struct States(BTreeMap<u64, (u64, u128)>);

impl States {
    /// A peer's state at an index.
    pub(crate) fn check(&mut self, peer: u64, index: u64, state: &impl View) -> Result<(), String> {
        let hash = state_hash(state).map_err(|e| e.0)?;
        let (first, known) = *self.0.entry(index).or_insert((peer, hash));
        if known != hash {
            return Err(format!(
                "promise 7: peers {first} and {peer} differ at index {index}"
            ));
        }
        Ok(())
    }
}
