//! Memory after a crowd of connections has left.
//!
//! gRPC keeps some 16 KiB for a connection, more behind TLS. When thousands of them close,
//! that is free, and lies scattered among blocks in use, where the allocator keeps it. So
//! a thread counts connections, and has the allocator give memory back when many have left.

use std::thread;

use z4_rpc::accept::ConnectionMetrics;

use crate::allocator;
use crate::limits::{CROWD_COUNT_MIN, CROWD_LOOK_INTERVAL};

/// Watches for as long as the process lives.
///
/// # Errors
/// The system has no thread.
pub(crate) fn watch(connections: ConnectionMetrics) -> std::io::Result<()> {
    let thread = thread::Builder::new().name("crowds".into());
    let watching = move || {
        let mut crowd = Crowd::default();
        loop {
            thread::sleep(CROWD_LOOK_INTERVAL);
            if crowd.has_left(connections.open_count()) {
                allocator::trim();
            }
        }
    };
    thread.spawn(watching).map(drop)
}

/// The most connections since memory was given back last.
#[derive(Default)]
struct Crowd {
    most: u64,
}

impl Crowd {
    /// Tells whether many have left, as so many are open now. It is told of them once.
    fn has_left(&mut self, open: u64) -> bool {
        self.most = self.most.max(open);
        let has_left = self.most - open >= CROWD_COUNT_MIN;
        if has_left {
            self.most = open;
        }
        has_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_leaves_once_and_few_are_no_crowd() {
        let mut crowd = Crowd::default();
        let said: Vec<bool> = [10, 500, 480, 5, 5, 20, 3]
            .map(|open| crowd.has_left(open))
            .to_vec();
        assert_eq!(said, [false, false, false, true, false, false, false]);
    }
}
