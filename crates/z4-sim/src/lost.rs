//! The quorum is lost for good, and a new cluster is made of what is left.
//!
//! In a run with `Options::lost` the work ends with a misfortune instead of a rest: all peers
//! lose power, in the middle of whatever goes wrong, and only so few disks are left that they
//! are no quorum. Then the procedure of an operator is followed, with the code of production:
//! evidence of each disk, a plan, and the cluster of one that the best survivor founds.
//!
//! The plan claims that all up to an index is kept. That is checked against what the cluster
//! had committed, entry by entry: what was acknowledged is what was applied, and the checkers
//! saw all that was applied. Then the founder must elect itself and take in a task.

use std::sync::Arc;

use rand::seq::SliceRandom;
use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, StateMachine as _};
use z4_consensus::Identity;
use z4_core::command::{CreateTasks, NewTask};
use z4_core::{invariants, Command, Outcome};
use z4_recover::{Evidence, Plan, PlanError};
use z4_storage::{survivor, MemStore, TaskMachine};

use crate::addresses;
use crate::disk::SimLog;
use crate::founder::{found, Founder, ANY_LEVEL};
use crate::peer::Peer;
use crate::world::World;

/// The cluster of the founder.
const NEW_CLUSTER: [u8; 16] = [0xf0; 16];

impl World {
    /// Loses the quorum and recovers what is left.
    pub(crate) fn lose_quorum(&mut self) -> Result<(), String> {
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.crash(id);
        }
        if let Some(what) = self.failure.take() {
            return Err(what);
        }
        let Some(survivors) = self.survivors()? else {
            return Ok(());
        };
        let mut plan = Plan::of(&survivors).map_err(|e| e.to_string())?;
        if self.options.planted("survivor-by-term-alone") {
            let of_the_term = |e: &&Evidence| e.last_term == plan.best.last_term;
            let least = survivors.iter().filter(of_the_term);
            plan.best = least.min_by_key(|e| e.last_index).unwrap_or(plan.best);
            plan.kept_index = plan.best.last_index;
        }
        self.trace.note(self.now_ns, format_args!("{plan:?}"));
        if plan.kept_index < plan.known_index {
            return Err(format!(
                "recovery: the log of {} ends at {}, and entry {} is claimed to be kept",
                plan.best.peer_id, plan.kept_index, plan.known_index
            ));
        }
        let (best, known_index) = (plan.best.raft_id, plan.known_index);
        let Some(peer) = self.peers.get(&best) else {
            return Err(format!("there is no peer {best}"));
        };
        let (machine, lost) = self.replayed(peer, known_index)?;
        let faults = &mut self.report.faults;
        *faults.entry("quorums lost for good").or_default() += 1;
        *faults
            .entry("committed entries lost with them")
            .or_default() += lost;
        self.goes_on(best, machine)
    }

    /// Evidence of disks that are no quorum together; `None` where no such disks are.
    fn survivors(&mut self) -> Result<Option<Vec<Evidence>>, String> {
        let mut all = Vec::new();
        for peer in self.peers.values().filter(|peer| !peer.gone) {
            peer.log.recover();
            let evidence = evidence_of(peer)?;
            // One that was never a member knows none.
            if !evidence.members.is_empty() {
                all.push(evidence);
            }
        }
        all.shuffle(&mut self.rng);
        loop {
            match Plan::of(&all) {
                Ok(_) => return Ok(Some(all)),
                Err(PlanError::QuorumLives { .. }) => drop(all.pop()),
                Err(PlanError::NoEvidence) => return Ok(None),
                Err(error) => return Err(format!("recovery: no plan: {error}")),
            }
        }
    }

    /// The state of a survivor with all of its log, and how many of the entries that were
    /// committed are not in it. All up to `known_index` must be.
    fn replayed(
        &self,
        peer: &Peer,
        known_index: u64,
    ) -> Result<(TaskMachine<MemStore>, u64), String> {
        let (store, applied) = peer.state.open();
        let mut membership = applied.membership.clone();
        let from = applied.position;
        let mut machine = TaskMachine::open(store, applied, Box::new(|_| {})).map_err(|e| e.0)?;
        let mut same_through = from.index;
        let history = &self.checks.history;
        let replayed = survivor::rest_of_log(&*peer.log, from, &mut membership, ANY_LEVEL, |run| {
            for entry in &run {
                let index = entry.position.index;
                match history.has(entry) {
                    Some(true) if same_through + 1 == index => same_through = index,
                    Some(false) if index <= known_index => {
                        return Err(Unkept(format!(
                            "entry {index} is claimed to be kept, and peer {} has another one",
                            peer.raft_id
                        )));
                    }
                    _ => {}
                }
            }
            machine.apply(run).map(drop).map_err(|e| Unkept(e.0))
        });
        replayed.map_err(|Unkept(what)| format!("recovery: {what}"))?;
        let lost = history.last_index().saturating_sub(same_through);
        Ok((machine, lost))
    }

    /// The survivor founds a cluster, leads it and takes in a task.
    fn goes_on(&mut self, id: u64, machine: TaskMachine<MemStore>) -> Result<(), String> {
        let state = machine.machine().state();
        let report = invariants::check(state).map_err(|e| e.0)?;
        report
            .verdict()
            .map_err(|broken| format!("recovery: {}", broken.join("; ")))?;
        machine.flusher()().map_err(|e| e.0)?;
        let Some(peer) = self.peers.get(&id) else {
            return Ok(());
        };
        let (log, applied) = founded(peer, machine.applied())?;
        let founder = Founder::start((id, peer.says), log, &peer.state, self.wall_ns());
        let mut founder = founder.map_err(|what| format!("recovery: {what}"))?;
        if founder.begun_at() != applied.position {
            return Err("recovery: the founded state is not durable".into());
        }
        let create = Command::CreateTasks(CreateTasks {
            namespace: self.namespaces[0].clone(),
            request_id: "after the loss".to_owned(),
            tasks: vec![NewTask::default()],
        });
        match founder.ask(&create) {
            Ok(Outcome::Created(_)) => Ok(()),
            Ok(outcome) => Err(format!("recovery: a create gave {outcome:?}")),
            Err(what) => Err(format!("recovery: {what}")),
        }
    }
}

/// A claim of a plan that does not hold, or a store that failed.
struct Unkept(String);

impl From<z4_consensus::log::LogError> for Unkept {
    fn from(e: z4_consensus::log::LogError) -> Self {
        Self(e.to_string())
    }
}

fn identity(peer: &Peer, cluster_id: [u8; 16]) -> Identity {
    Identity {
        cluster_id,
        raft_id: peer.raft_id,
        peer_id: format!("peer{}", peer.raft_id),
    }
}

fn evidence_of(peer: &Peer) -> Result<Evidence, String> {
    let (_, applied) = peer.state.open();
    let identity = identity(peer, applied.membership.cluster_id);
    survivor::evidence(&identity, &*peer.log, &applied, ANY_LEVEL).map_err(|e| e.to_string())
}

/// Founds a cluster of one on the state at `applied`, which is durable.
fn founded(peer: &Peer, applied: &Applied) -> Result<(Arc<SimLog>, Applied), String> {
    let founding = survivor::again(
        &identity(peer, NEW_CLUSTER),
        &addresses::text(peer.says),
        &*peer.log,
        applied,
        ANY_LEVEL,
    );
    let founding = founding.map_err(|e| e.to_string())?;
    let founding = founding.map_err(|e| format!("recovery: {e}"))?;
    let Position { index, term } = founding.at;
    if index <= applied.position.index || term <= applied.position.term {
        return Err("recovery: the new log does not begin above the old one".into());
    }
    let (store, _) = peer.state.open();
    found(store, &peer.log, &founding)?;
    let founded = Applied {
        position: founding.at,
        membership: founding.membership,
        ..applied.clone()
    };
    Ok((Arc::clone(&peer.log), founded))
}
