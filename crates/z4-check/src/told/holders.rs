//! A lease comes to one consumer, however often: who comes back under its name has
//! it again, and nobody else ever does.

use std::collections::BTreeMap;

use super::part::Part;
use crate::{Rule, Violation};

/// The leases that came to more than one consumer.
pub(super) fn check(part: &Part<'_>) -> Vec<Violation> {
    let mut holders = BTreeMap::new();
    let mut broken = Vec::new();
    for handed in &part.handed {
        let holder: &mut &str = holders
            .entry((handed.id, handed.token))
            .or_insert(&handed.consumer);
        if **holder != *handed.consumer {
            let text = format!("{holder} had this lease: {handed:?}");
            broken.push(Violation::new(Rule::TwoHolders, text));
        }
    }
    broken
}
