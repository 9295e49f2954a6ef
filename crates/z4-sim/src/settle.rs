//! When the faults end, the cluster must come to rest: everything that was
//! created is ended, removed members know it, and all peers hold the same
//! (liveness: TigerBeetle's VOPR has such a second phase). Then what clients saw
//! is judged.
//!
//! How long that may take is counted from the end of the faults, and known from
//! then on: what tasks wait for (`Options::settle_ms`), and the lead of machine
//! time over the clocks, during which nothing falls due.

use std::collections::BTreeMap;

use z4_consensus::limits::{LEVEL_SETTLE_TICKS, TICK};
use z4_consensus::machine::StateMachine as _;
use z4_core::machine::untouched;
use z4_core::state::find_task;
use z4_core::task::Phase;
use z4_core::{invariants, Namespace, TaskId};

use crate::check::ends::End;
use crate::disk::greatest_stamp;
use crate::peer::LogJob;
use crate::spaces::{BETA, GAMMA};
use crate::world::{Event, World, MS};

/// Steps of the search for an order of one task's operations.
const STEPS_MAX: u64 = 2_000_000;

/// How often it is looked whether all is at rest.
const LOOK_NS: u64 = 300 * MS;
/// The same while nothing can be expected.
const LOOK_SELDOM_NS: u64 = 5_000 * MS;
/// In so long what does not wait for machine time is done.
const SOON_NS: u64 = 20_000 * MS;

impl World {
    /// Whether all is at rest; an error if it is not in time, or if what rests
    /// is wrong.
    pub(crate) fn settled(&mut self) -> Result<bool, String> {
        let healed_at_ns = self.healed_at_ns.unwrap_or_default();
        if let Some(open) = self.unsettled()? {
            // The level rises last, and not while members change.
            let raise_ns = 2 * LEVEL_SETTLE_TICKS * TICK.as_nanos() as u64;
            let allowed_ns = self.options.settle_ms * MS + self.lead_ns + raise_ns;
            if self.now_ns > healed_at_ns + allowed_ns {
                return Err(format!("liveness: {open}"));
            }
            self.trace
                .note(self.now_ns, format_args!("not settled: {open}"));
            self.go_on();
            let delay_ns = self.next_look_ns(healed_at_ns);
            self.at(delay_ns, Event::Settled);
            return Ok(false);
        }
        self.check_rest()?;
        self.check_restored()?;
        self.check_history()?;
        self.report.hashes = self.checks.states.compared();
        let took_ns = self.now_ns - healed_at_ns;
        self.report.settled_ms = took_ns / MS;
        self.report.beyond_lead_ms = took_ns.saturating_sub(self.lead_ns) / MS;
        Ok(true)
    }

    /// When to look again: seldom while machine time is far ahead, for nothing
    /// falls due then.
    fn next_look_ns(&self, healed_at_ns: u64) -> u64 {
        let since_ns = self.now_ns - healed_at_ns;
        let waits_long = since_ns > SOON_NS && since_ns + LOOK_SELDOM_NS < self.lead_ns;
        if waits_long {
            LOOK_SELDOM_NS
        } else {
            LOOK_NS
        }
    }

    /// An administrator looks again: a namespace that is paused still, by a request
    /// that came late, is to go on, and a newcomer that is lost is told of.
    fn go_on(&mut self) {
        self.set_addresses_of_learners();
        let Some((leader, _)) = self.some_leader() else {
            return;
        };
        let Some(run) = self.peers.get(&leader).and_then(|p| p.run.as_ref()) else {
            return;
        };
        let rows = run.machine.machine().namespaces();
        let paused = rows.filter(|(_, row)| row.paused_at_ns.is_some());
        let paused: Vec<_> = paused.map(|(name, _)| self.space_of(name)).collect();
        for space in paused {
            if self.clients[space].todo.is_empty() && self.clients[space].op.is_none() {
                let settings = self.settings_of(space, true);
                self.clients[space].todo.push_back(settings);
                self.at(MS, Event::Client(space));
            }
        }
    }

    /// By how much machine time is ahead of the clocks, or will be: the greatest
    /// stamp that a peer has applied, has in its log, or is being sent. To be
    /// asked once, when the clocks have been put right.
    pub(crate) fn lead_now_ns(&self) -> u64 {
        let mut most_ns = self.stamp_on_its_way_ns();
        for peer in self.peers.values().filter(|peer| !peer.gone) {
            most_ns = most_ns.max(peer.log.greatest_stamp());
            let Some(run) = &peer.run else { continue };
            most_ns = most_ns.max(run.machine.machine().stamp_ns());
            for job in &run.log_jobs {
                if let LogJob::Persist(persist) = job {
                    most_ns = most_ns.max(greatest_stamp(&persist.write.entries));
                }
            }
        }
        most_ns.saturating_sub(self.wall_ns())
    }

    /// What still keeps the cluster from being at rest.
    fn unsettled(&mut self) -> Result<Option<String>, String> {
        let leader = self.some_leader();
        if leader.is_none() {
            if let Some(what) = self.dials_in_vain() {
                return Ok(Some(format!("no peer leads: {what}")));
            }
        }
        if let Some(what) = leader.and_then(|(_, members)| self.wrong_address(&members)) {
            return Ok(Some(what));
        }
        let busy = |c: &crate::clients::Client| c.op.is_some() || !c.todo.is_empty();
        if let Some(client) = self.clients.iter().position(busy) {
            let op = &self.clients[client].op;
            return Ok(Some(format!("client {client} waits for {op:?}")));
        }
        if !self.admin.rests() {
            return Ok(Some(format!("members are changing: {:?}", self.admin)));
        }
        let Some((leader, members)) = self.some_leader() else {
            return Ok(Some("no peer leads".into()));
        };
        if let Some(what) = self.level_open(leader, &members) {
            return Ok(Some(what));
        }
        let last = self.checks.history.last_index();
        for peer in self.peers.values() {
            let id = peer.raft_id;
            let Some(run) = &peer.run else {
                if peer.gone {
                    continue;
                }
                return Ok(Some(format!("peer {id} does not run")));
            };
            if !members.members.contains_key(&id) {
                let what = format!("peer {id} does not know that it was removed");
                return Ok(Some(what));
            }
            let applied = run.machine.applied().position.index;
            if applied != last {
                return Ok(Some(format!("peer {id} is at {applied} of {last}")));
            }
            if run.replica.glance().leader != leader {
                return Ok(Some(format!("peer {id} does not follow {leader}")));
            }
        }
        if let Some(what) = self.wrong_consumers(leader) {
            return Ok(Some(what));
        }
        let open = self.open_task(leader)?;
        Ok(open.or_else(|| self.wrong_ledger()))
    }

    /// A task that is not ended, as the leader has it; an error when one was
    /// lost, or is dead without a cause.
    fn open_task(&mut self, leader: u64) -> Result<Option<String>, String> {
        let Some(run) = self.peers.get(&leader).and_then(|p| p.run.as_ref()) else {
            return Ok(Some("the leader is gone".into()));
        };
        let machine = run.machine.machine();
        let dead: BTreeMap<_, _> = machine
            .namespaces()
            .map(|(name, row)| (name, row.counts.dead))
            .collect();
        let tasks: Vec<_> = self.checks.creates.all().collect();
        let (mut died, mut missing) = (Vec::new(), Vec::new());
        for (id, name) in tasks {
            let over = self.checks.ends.is_over(id);
            let found = find_task(machine.state(), name, id).map_err(|e| e.0)?;
            let phase =
                |(body, status): (_, Option<_>)| status.unwrap_or_else(|| untouched(&body)).phase;
            match found.map(phase) {
                None if over => {}
                None => {
                    let dead = dead.get(name).copied().unwrap_or_default();
                    missing.push((name.clone(), id, dead));
                }
                Some(Phase::Dead { reason, at_ns, .. }) if !over => {
                    died.push((name.clone(), id, reason, at_ns));
                }
                Some(phase) if !over => {
                    let stamp_ns = machine.stamp_ns();
                    let text = self.whereabouts(name, id);
                    return Ok(Some(format!("task {id} is {phase:?} at {stamp_ns}{text}")));
                }
                // A namespace goes in steps.
                Some(_) if self.checks.ends.was_deleted(name) => {
                    return Ok(Some(format!("task {id} is not deleted yet")));
                }
                Some(phase) => {
                    return Err(format!("promise 3: task {id} was ended and is {phase:?}"));
                }
            }
        }
        for (name, id, reason, at_ns) in died {
            self.checks.is_dead(&name, id, reason, at_ns)?;
        }
        for (name, id, dead) in missing {
            self.checks.is_missing(&name, id, dead)?;
        }
        Ok(None)
    }

    /// Where a task stands, at each peer.
    fn whereabouts(&self, name: &Namespace, id: TaskId) -> String {
        let mut text = String::new();
        for peer in self.peers.values() {
            let Some(run) = &peer.run else { continue };
            let machine = run.machine.machine();
            if let Ok(Some((body, _))) = find_task(machine.state(), name, id) {
                text += &format!("; peer {}: {name}, due {}", peer.raft_id, body.due_at_ns);
            }
            let names = machine.namespaces().filter(|(n, _)| *n == name);
            for (_, row) in names {
                text += &format!(", {:?}, {:?}", row.counts, row.paused_at_ns);
            }
        }
        text
    }

    fn check_rest(&mut self) -> Result<(), String> {
        let last = self.checks.history.last_index();
        for peer in self.peers.values() {
            let Some(run) = &peer.run else { continue };
            let state = run.machine.machine().state();
            self.checks.states.check(peer.raft_id, last, state)?;
            let report = invariants::check(state).map_err(|e| e.0)?;
            report.verdict().map_err(|broken| broken.join("; "))?;
            self.checks.access.at_rest(peer.raft_id, state)?;
            for (name, row) in run.machine.machine().namespaces() {
                if self.checks.ends.was_deleted(name) {
                    continue;
                }
                let counts = [
                    ("done", row.counts.done, End::Done),
                    ("cancelled", row.counts.cancelled, End::Cancelled),
                ];
                for (what, counted, end) in counts {
                    let ended = self.checks.ends.count(name, end);
                    if counted != ended {
                        return Err(format!(
                            "promise 6: peer {} counts {counted} tasks {what} in {name}, and it \
                             were {ended}",
                            peer.raft_id
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// What clients and consumers were told can be put in an order.
    fn check_history(&mut self) -> Result<(), String> {
        let beta = self.namespaces[BETA].clone();
        for id in self.checks.creates.of(&beta) {
            let mut nature = self.history.nature(id);
            nature.forgotten = true;
            self.history.set_nature(id, nature);
        }
        // GetTaskStream acknowledges by itself.
        let gamma = self.namespaces[GAMMA].clone();
        for id in self.checks.creates.of(&gamma) {
            let mut nature = self.history.nature(id);
            nature.ended = true;
            self.history.set_nature(id, nature);
        }
        let report = z4_check::task::check(&self.history, STEPS_MAX);
        self.report.linearized = report.operations;
        if let Some((_, violation)) = report.violations.first() {
            return Err(format!("promise 5: {}", violation.text));
        }
        if let Some(task) = report.gave_up.first() {
            return Err(format!(
                "the order of the operations on task {task} was not found within {STEPS_MAX} steps"
            ));
        }
        Ok(())
    }
}
