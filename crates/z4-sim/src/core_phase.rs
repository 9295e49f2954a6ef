//! The core: a minority stays away, and the rest must serve.
//!
//! In about half of the runs with three voters or more (and no clock that jumped
//! by hours), the faults end in two steps, as in TigerBeetle's VOPR. First nothing new goes wrong, every peer runs
//! and every way is open, but for a minority of the voters: they stay down, or
//! cut off from all others in both directions, for good. Whoever is left (the
//! *core*) is a quorum of every membership that one of them may go by, so
//! nothing excuses it from its work. Within [`CORE_MS`], and the lead of machine
//! time over the clocks,
//!
//! - every client has got an answer: not a refusal to be repeated elsewhere,
//! - a create asked for since then was acknowledged,
//! - a read asked for since then was answered,
//! - a task created since then was delivered to a consumer at the core.
//!
//! In some of these runs the clock of one of the core is an hour ahead all the while, mostly
//! that of its leader: leadership goes to another one, and machine time does not follow it.
//!
//! Clients and consumers stay with the peers of the core. The administrator
//! waits: what is on its way through a log may come to its end. Only when all is
//! had the minority comes back, a little later, and the cluster settles
//! (`settle.rs`). A cluster that needs all of its peers would pass that last part.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand::Rng;
use z4_consensus::level::LEVEL_OF_LEVELS;
use z4_consensus::Membership;
use z4_core::TaskId;

use crate::clients::Op;
use crate::world::{Event, World, MS};

/// What an election, a retry of each client and the lease of a consumer that is
/// away may take together, in milliseconds. The lead of machine time comes on
/// top: until the clocks have caught up no lease runs out.
const CORE_MS: u64 = 30_000;
/// How often it is looked whether the core has done its work.
const LOOK_NS: u64 = 200 * MS;

/// The phase, while it lasts.
#[derive(Debug)]
pub(crate) struct Core {
    since_ns: u64,
    until_ns: u64,
    /// The voters that stay away.
    away: BTreeSet<u64>,
    /// The clock of one of the others is an hour ahead.
    has_wrong_clock: bool,
    /// Clients that got an answer.
    answered: BTreeSet<usize>,
    /// Tasks that were created since then.
    created: BTreeSet<TaskId>,
    acked: bool,
    read: bool,
    delivered: bool,
    /// The core has done its work; the minority comes back in a while.
    done: bool,
}

impl World {
    /// Whether faults are over, for the whole cluster or its core.
    pub(crate) fn calm(&self) -> bool {
        self.core.is_some() || self.healed_at_ns.is_some()
    }

    /// Whether a peer stays away for now.
    pub(crate) fn is_away(&self, id: u64) -> bool {
        let core = self.core.as_ref();
        core.is_some_and(|core| core.away.contains(&id))
    }

    /// The work is over: the faults end, at once or in two steps.
    pub(crate) fn end_faults(&mut self) {
        if self.options.lost {
            return self.at(0, Event::Lost);
        }
        self.end_epoch();
        self.replace_too_old();
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.start(id);
        }
        // After jumps by hours the phase would last as long as the lead, and the
        // work of clients that nobody may be given meanwhile pile up.
        let split = self.rng.gen() && !self.options.hours;
        let away = if split {
            self.minority()
        } else {
            BTreeSet::new()
        };
        if away.is_empty() {
            return self.heal();
        }
        self.trace
            .note(self.now_ns, format_args!("the core is all but {away:?}"));
        let (cut_off, there): (bool, _) = (self.rng.gen(), self.members());
        for id in &away {
            if !cut_off {
                self.crash(*id);
            }
            for other in there.difference(&away) {
                self.net.block(*id, *other);
                self.net.block(*other, *id);
            }
        }
        let until_ns = self.now_ns + CORE_MS * MS + self.lead_now_ns();
        let has_wrong_clock = self.wrong_clock(&away);
        self.core = Some(Core {
            since_ns: self.now_ns,
            until_ns,
            away,
            has_wrong_clock,
            answered: BTreeSet::new(),
            created: BTreeSet::new(),
            acked: false,
            read: false,
            delivered: false,
            done: false,
        });
        self.mend_settings();
        self.set_addresses();
        self.at(LOOK_NS, Event::Core);
    }

    /// Puts the clock of a voter of the core an hour ahead, now and then, where all of the
    /// core know the level from which on a leader heeds that; whether it did.
    fn wrong_clock(&mut self, away: &BTreeSet<u64>) -> bool {
        let there: Vec<u64> = self.members().difference(away).copied().collect();
        let heeds = |id: &u64| {
            let run = self.peers.get(id).and_then(|peer| peer.run.as_ref());
            run.is_some_and(|run| run.replica.membership().level >= LEVEL_OF_LEVELS)
        };
        if there.len() < 2 || !there.iter().all(heeds) || self.one_in(3) {
            return false;
        }
        // The leader mostly: it has to hand over.
        let leader = self.some_leader().map(|(leader, _)| leader);
        let leader = leader.filter(|leader| there.contains(leader) && !self.one_in(4));
        let one = leader.or_else(|| self.one_of(&there));
        if let Some(one) = one {
            self.trace.note(
                self.now_ns,
                format_args!("the clock of {one} is an hour ahead"),
            );
            self.put_clock_ahead(one);
        }
        one.is_some()
    }

    /// Voters that can be missed together: without them, and those that are gone
    /// for good, a majority is left of each membership that somebody may go by.
    fn minority(&mut self) -> BTreeSet<u64> {
        let Some(last) = self.checks.members.last() else {
            return BTreeSet::new();
        };
        let mut candidates: Vec<u64> = voters(last).into_iter().collect();
        let Some(most) = candidates.len().checked_sub(1).map(|others| others / 2) else {
            return BTreeSet::new();
        };
        if most == 0 {
            return BTreeSet::new();
        }
        let there = self.members();
        let sets = self.voters_known();
        let wanted = self.rng.gen_range(1..=most);
        candidates.shuffle(&mut self.rng);
        let mut away = BTreeSet::new();
        for id in candidates {
            if away.len() == wanted || !there.contains(&id) {
                continue;
            }
            away.insert(id);
            let left: BTreeSet<u64> = there.difference(&away).copied().collect();
            let serves = |set: &BTreeSet<u64>| set.intersection(&left).count() > set.len() / 2;
            if !sets.iter().all(serves) {
                away.remove(&id);
            }
        }
        away
    }

    /// The voters by each membership that somebody may go by: the last ones that
    /// were committed, those that peers have applied, and what a change on its
    /// way may make of them.
    fn voters_known(&self) -> Vec<BTreeSet<u64>> {
        let runs = self.peers.values().filter_map(|peer| peer.run.as_ref());
        let applied = runs.map(|run| run.replica.membership());
        let known = self.checks.members.iter().chain(applied);
        let mut sets = Vec::new();
        for members in known.filter(|members| !members.members.is_empty()) {
            let now = voters(members);
            let learners = members.members.keys().filter(|id| !now.contains(id));
            for learner in learners {
                sets.push(now.iter().chain([learner]).copied().collect());
            }
            if let Some(leaving) = self.admin.leaving() {
                sets.push(now.iter().filter(|id| **id != leaving).copied().collect());
            }
            sets.push(now);
        }
        // One that goes may have been the last.
        sets.retain(|set: &BTreeSet<u64>| !set.is_empty());
        sets
    }

    /// Looks whether the core has done its work.
    pub(crate) fn core_look(&mut self) {
        let working = (0..self.clients.len()).filter(|client| self.thinks(*client));
        let working: Vec<usize> = working.collect();
        let Some(core) = &mut self.core else { return };
        if core.done {
            return self.heal();
        }
        let waiting = working
            .into_iter()
            .find(|client| !core.answered.contains(client));
        let open = match waiting {
            Some(client) => {
                let op = &self.clients[client].op;
                Some(format!("client {client} got no answer to {op:?}"))
            }
            None if !core.acked => Some("no create was acknowledged".to_owned()),
            None if !core.read => Some("no read was answered".to_owned()),
            None if !core.delivered => Some("no task was delivered".to_owned()),
            None => None,
        };
        let Some(open) = open else {
            core.done = true;
            if core.has_wrong_clock {
                self.saw("the clock of a voter was an hour ahead and the rest went on");
            }
            self.saw("a minority stayed away and the rest went on");
            // It falls behind, now and then so far that it needs a snapshot.
            return self.within(100, 8_000, Event::Core);
        };
        if self.now_ns > core.until_ns {
            let away = core.away.clone();
            return self.fail(format!("liveness: {open}, with peers {away:?} away"));
        }
        self.at(LOOK_NS, Event::Core);
    }

    /// A client got an answer to what it asked for at some time.
    pub(crate) fn core_answered(&mut self, client: usize, op: &Op, began_ns: u64) {
        let Some(core) = &mut self.core else { return };
        core.answered.insert(client);
        core.read |= began_ns >= core.since_ns && matches!(op, Op::Get { .. });
    }
}

impl Core {
    /// A client was told of the tasks that it created.
    pub(crate) fn created(&mut self, began_ns: u64, tasks: &[TaskId]) {
        if began_ns >= self.since_ns {
            self.acked = true;
            self.created.extend(tasks);
        }
    }

    /// A consumer at a peer was handed a task.
    pub(crate) fn delivered(&mut self, peer: u64, task: TaskId) {
        self.delivered |= !self.away.contains(&peer) && self.created.contains(&task);
    }
}

/// The voters of a membership.
fn voters(members: &Membership) -> BTreeSet<u64> {
    let voters = members.members.iter().filter(|(_, member)| member.voter);
    voters.map(|(id, _)| *id).collect()
}
