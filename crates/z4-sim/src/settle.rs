//! When the faults end, the cluster must come to rest: everything that was
//! created is delivered and acknowledged, and all peers hold the same.

use z4_consensus::machine::StateMachine as _;
use z4_core::state::find_task;
use z4_core::{invariants, TaskId};

use crate::world::{Event, Report, World, MS};

impl World {
    /// The report, if all is at rest; an error if it is not in time, or if what
    /// rests is wrong.
    pub(crate) fn settled(&mut self) -> Result<Option<Report>, String> {
        let healed_at_ns = self.healed_at_ns.unwrap_or_default();
        if let Some(open) = self.unsettled() {
            if self.now_ns > healed_at_ns + self.options.settle_ms * MS {
                return Err(format!("liveness: {open}"));
            }
            self.at(200 * MS, Event::Settled);
            return Ok(None);
        }
        self.check_rest()?;
        self.report.trace = self.trace.digest();
        self.report.entries = self.checks.history.last_index();
        self.report.leases = self.checks.leases.granted();
        self.report.settled_ms = (self.now_ns - healed_at_ns) / MS;
        Ok(Some(self.report))
    }

    /// What still keeps the cluster from being at rest.
    fn unsettled(&self) -> Option<String> {
        if let Some(client) = self.clients.iter().position(|c| c.op.is_some()) {
            let op = &self.clients[client].op;
            return Some(format!("client {client} waits for {op:?}"));
        }
        let open = self.checks.creates.not_in(&self.checks.leases);
        if !open.is_empty() {
            return Some(format!(
                "{} tasks are not acked: {}",
                open.len(),
                self.whereabouts(open[0])
            ));
        }
        if self.options.members_change && !self.admin.done {
            return Some(format!("members are changing: {:?}", self.admin));
        }
        let Some((leader, members)) = self.some_leader() else {
            return Some("no peer leads".into());
        };
        let last = self.checks.history.last_index();
        for peer in self.peers.values() {
            let id = peer.raft_id;
            let Some(run) = &peer.run else {
                if peer.gone {
                    continue;
                }
                return Some(format!("peer {id} does not run"));
            };
            if !members.members.contains_key(&id) {
                return Some(format!("peer {id} does not know that it was removed"));
            }
            let applied = run.machine.applied().position.index;
            if applied != last {
                return Some(format!("peer {id} is at {applied} of {last}"));
            }
            if run.replica.status().leader != leader {
                return Some(format!("peer {id} does not follow {leader}"));
            }
        }
        None
    }

    /// Where a task stands, at each peer.
    fn whereabouts(&self, id: TaskId) -> String {
        let mut text = format!("{id}");
        for peer in self.peers.values() {
            let Some(run) = &peer.run else { continue };
            let state = run.machine.machine().state();
            for namespace in &self.namespaces {
                if let Ok(Some((body, status))) = find_task(state, namespace, id) {
                    let stamp_ns = run.machine.machine().stamp_ns();
                    text += &format!(
                        "; peer {} at {stamp_ns}: {namespace}, due {}, {status:?}",
                        peer.raft_id, body.due_at_ns
                    );
                }
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
            let done = run.machine.machine().namespaces();
            let done: u64 = done.map(|(_, row)| row.counts.done).sum();
            let ended = self.checks.leases.ended();
            if done != ended {
                return Err(format!(
                    "peer {} counts {done} tasks done, {ended} were acked",
                    peer.raft_id
                ));
            }
        }
        Ok(())
    }
}
