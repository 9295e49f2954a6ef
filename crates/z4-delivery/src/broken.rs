//! Sessions that broke and whose consumers may come back, here or at another
//! peer. A grant that is seen after the end of such a session may be with its
//! consumer already, which found it at the other peer: it stays until its deadline.

use std::collections::{HashSet, VecDeque};

use crate::limits;

/// The names of the sessions that broke last.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    names: HashSet<String>,
    /// The same in the order in which they came; some may be out already.
    order: VecDeque<String>,
}

impl Broken {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Its consumer may come back (`true`), or is done and what it is granted late
    /// goes to others (`false`).
    pub(crate) fn set(&mut self, name: String, may_come_back: bool) {
        if !may_come_back {
            self.names.remove(&name);
        } else if self.names.insert(name.clone()) {
            self.order.push_back(name);
        }
        while self.order.len() > limits::BROKEN_COUNT_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.names.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut broken = Broken::default();
        let max = limits::BROKEN_COUNT_MAX;
        (0..max + 2).for_each(|n| broken.set(n.to_string(), true));
        assert!(!broken.contains("0") && !broken.contains("1") && broken.contains("2"));
        broken.set("2".into(), false);
        assert!(!broken.contains("2"));
        assert_eq!((broken.names.len(), broken.order.len()), (max - 1, max));
    }
}
