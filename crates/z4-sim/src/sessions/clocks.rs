//! How peers hear of the clock of their leader, and whether what is delivered is due by it.

use z4_consensus::ClockLimit;
use z4_delivery::{ClockReading, Delivery, Input};

use crate::world::World;

impl World {
    /// Tells whether a peer leads and may go by its clock now.
    pub(super) fn leads_by_clock(&self, id: u64) -> bool {
        let run = self.peers.get(&id).and_then(|peer| peer.run.as_ref());
        let allows = |limit: ClockLimit| limit.allows(self.clocks(id));
        run.is_some_and(|run| run.leading && allows(run.replica.clock_limit()))
    }

    /// Reads the clock of a peer, if it leads and may go by it.
    pub(crate) fn read_clock(&mut self, id: u64) -> Option<ClockReading> {
        let at_ns = self.clocks(id).wall_ns;
        if !self.leads_by_clock(id) {
            return None;
        }
        let term = self.peers.get(&id)?.run.as_ref()?.replica.glance().term;
        self.check_reading(id, at_ns);
        self.judge.leader_clock_ns = self.judge.leader_clock_ns.max(at_ns);
        Some(ClockReading {
            leader: id,
            term,
            at_ns,
        })
    }

    /// A leader tells another peer what its clock showed.
    pub(super) fn tell_clock(&mut self, from: u64, to: u64, term: u64, at_ns: u64) {
        self.saw("a leader said that a task is due elsewhere");
        self.check_reading(from, at_ns);
        self.judge.leader_clock_ns = self.judge.leader_clock_ns.max(at_ns);
        let reading = ClockReading {
            leader: from,
            term,
            at_ns,
        };
        for delay_ns in self.net.fate(&mut self.rng, from, to).into_iter().flatten() {
            self.at(delay_ns, crate::event::Event::ToldClock { to, reading });
        }
    }

    /// A peer hears of it.
    pub(crate) fn hear_clock(&mut self, id: u64, reading: ClockReading) {
        let wakes = self
            .shell(id)
            .is_some_and(|shell| shell.clock.heard(reading));
        if wakes {
            self.session_input(id, Input::LeaderClock(reading));
        }
    }

    /// A peer hands a task to a consumer: some leader's clock had reached its due time, or
    /// the stamps of the log had.
    pub(super) fn judge_due(&mut self, id: u64, delivery: &Delivery) {
        let _ = self.read_clock(id);
        let due_at_ns = delivery.grant.due_at_ns;
        let known_ns = self.judge.leader_clock_ns.max(self.checks.now_ns());
        if due_at_ns > known_ns {
            self.fail(format!(
                "promise 2: task {} was delivered {} us before it was due by the clock of any leader",
                delivery.grant.id,
                (due_at_ns - known_ns) / 1_000
            ));
        }
    }
}
