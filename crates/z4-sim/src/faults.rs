//! What goes wrong, and the end of it.

use rand::Rng;

use crate::world::{Event, World, MS};

impl World {
    /// One fault, and the plan for the next.
    pub(crate) fn fault(&mut self) {
        if self.healed_at_ns.is_some() {
            return;
        }
        self.within(80, 700, Event::Fault);
        let ids: Vec<u64> = self.peers.keys().copied().collect();
        let id = ids[self.rng.gen_range(0..ids.len())];
        let kind = self.rng.gen_range(0..15);
        self.trace
            .note(self.now_ns, format_args!("fault {kind} at {id}"));
        match kind {
            0..=3 => {
                self.crash(id);
                self.within(20, 2_000, Event::Restart(id));
            }
            4 => {
                for id in ids {
                    self.crash(id);
                    self.within(20, 800, Event::Restart(id));
                }
            }
            5 | 6 => {
                for other in ids {
                    self.net.block(id, other);
                    self.net.block(other, id);
                }
            }
            7 => {
                let other = ids[self.rng.gen_range(0..ids.len())];
                self.net.block(id, other);
            }
            8 => {
                self.net.loss = self.rng.gen_range(0..200);
                self.net.doubled = self.rng.gen_range(0..200);
            }
            9 => self.net.delay_ms = self.rng.gen_range(1..60),
            10 => {
                let pause_ns = self.rng.gen_range(100..2_500) * MS;
                let until_ns = self.now_ns + pause_ns;
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.paused_until_ns = until_ns;
                }
            }
            11 => {
                let skew_ns = self.rng.gen_range(-2_000..2_000) * MS as i64;
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.skew_ns = skew_ns;
                }
            }
            _ => self.net.heal(),
        }
    }

    /// The end of all faults: from here on the cluster must settle.
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now_ns, format_args!("healed"));
        self.healed_at_ns = Some(self.now_ns);
        self.net.heal();
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        self.at(200 * MS, Event::Settled);
    }
}
