//! The network between peers.
//!
//! - Loss, duplicates, delay: rates for an epoch. A few messages take ten times
//!   the longest delay, so that they are overtaken.
//! - Lost replies: a rate for an epoch; what a client asked is done, and it does
//!   not learn of it.
//! - Partitions: one peer cut off from all, or the peers split in two; both
//!   directions. They last until another fault heals them, or the epoch ends.
//! - One way: nothing passes from one peer to another, or to all; the other
//!   direction is open.

use rand::Rng;

use super::Fault;
use crate::world::{Event, World};

impl World {
    pub(super) fn network_epoch(&mut self) {
        self.net.heal();
        if self.about(Fault::Loss) {
            self.net.loss = self.rng.gen_range(1..300);
        }
        if self.about(Fault::Duplicate) {
            self.net.doubled = self.rng.gen_range(1..300);
        }
        if self.about(Fault::Delay) {
            self.net.delay_ms = [10, 60, 200][self.rng.gen_range(0..3)];
        }
        if self.about(Fault::LostReply) {
            self.net.reply_loss = self.rng.gen_range(1..500);
        }
    }

    pub(crate) fn partition(&mut self, id: u64, ids: &[u64]) {
        let mut side = vec![id];
        if self.rng.gen() {
            side.extend(ids.iter().filter(|_| self.rng.gen::<bool>()));
        }
        for here in &side {
            for there in ids.iter().filter(|there| !side.contains(there)) {
                self.net.block(*here, *there);
                self.net.block(*there, *here);
            }
        }
        self.plan_mending();
    }

    pub(super) fn one_way(&mut self, id: u64, ids: &[u64]) {
        let all = self.rng.gen();
        let one = self.one_of(ids);
        for there in ids.iter().filter(|there| all || Some(**there) == one) {
            self.net.block(id, *there);
        }
        self.plan_mending();
    }

    fn plan_mending(&mut self) {
        let longest_ms = [600, 3_000, 12_000][self.rng.gen_range(0..3)];
        self.within(100, longest_ms, Event::Mend);
    }

    /// All ways are open again.
    pub(crate) fn mend(&mut self) {
        // Who is away from the core stays so.
        if self.calm() {
            return;
        }
        self.trace
            .note(self.now_ns, format_args!("the network is whole"));
        self.net.unblock();
    }
}
