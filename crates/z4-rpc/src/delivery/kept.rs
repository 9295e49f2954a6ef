//! Streams that broke and whose consumers may come back, here or at another peer.
//! A grant that is seen after such a stream's end may be with its consumer
//! already, which found it at the other peer: it stays until its deadline.

use std::collections::{HashSet, VecDeque};

use crate::limits;

/// The last streams that broke, by name.
#[derive(Default)]
pub(super) struct Kept {
    names: HashSet<String>,
    /// The same in the order in which they came; some may be out already.
    order: VecDeque<String>,
}

impl Kept {
    pub(super) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(super) fn insert(&mut self, name: String) {
        if self.names.insert(name.clone()) {
            self.order.push_back(name);
        }
        while self.order.len() > limits::BROKEN_STREAM_COUNT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }

    /// Its consumer is done: what it is granted late goes to others.
    pub(super) fn remove(&mut self, name: &str) {
        self.names.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut kept = Kept::default();
        let max = limits::BROKEN_STREAM_COUNT_MAX;
        (0..max + 2).for_each(|n| kept.insert(n.to_string()));
        assert!(!kept.contains("0") && !kept.contains("1") && kept.contains("2"));
        kept.remove("2");
        assert!(!kept.contains("2"));
        assert_eq!((kept.names.len(), kept.order.len()), (max - 1, max));
    }
}
