//! What must hold at every moment, one property a file.
//!
//! The checkers see each committed entry once, at the peer that applies it
//! first, with what its commands answered, and keep a model of their own.

pub(crate) mod creates;
pub(crate) mod elections;
pub(crate) mod history;
pub(crate) mod leases;
pub(crate) mod promises;
pub(crate) mod reads;
pub(crate) mod states;
pub(crate) mod times;

use z4_consensus::machine::Committed;
use z4_core::{Command, Outcome, View};
use z4_proto::command::decode_command;

/// All checkers.
pub(crate) struct Checks {
    pub(crate) history: history::History,
    pub(crate) creates: creates::Creates,
    pub(crate) leases: leases::Leases,
    pub(crate) reads: reads::Reads,
    pub(crate) states: states::States,
    elections: elections::Elections,
    times: times::Times,
}

impl Checks {
    pub(crate) fn new(first_index: u64) -> Self {
        Self {
            history: history::History::new(first_index),
            creates: creates::Creates::default(),
            leases: leases::Leases::default(),
            reads: reads::Reads::default(),
            states: states::States::default(),
            elections: elections::Elections::default(),
            times: times::Times::default(),
        }
    }

    pub(crate) fn leader(&mut self, term: u64, id: u64) -> Result<bool, String> {
        self.elections.leads(term, id)
    }

    /// A peer applied an entry.
    pub(crate) fn applied(
        &mut self,
        peer: u64,
        entry: &Committed,
        outcomes: &[Outcome],
    ) -> Result<(), String> {
        let first = self.history.take(peer, entry)?;
        if !first {
            return Ok(());
        }
        let index = entry.position.index;
        let now_ns = self.times.at(entry.stamp_ns);
        for (bytes, outcome) in entry.commands.iter().zip(outcomes) {
            let command = decode_command(bytes).map_err(|e| e.to_string())?;
            match (&command, outcome) {
                (Command::CreateTasks(create), Outcome::Created(tasks)) => {
                    for (new, task) in create.tasks.iter().zip(tasks) {
                        self.times.created(new, task.id);
                    }
                    self.creates.created(create, tasks)?;
                }
                (Command::LeaseTasks(_), Outcome::Leased { grants, .. }) => {
                    for grant in grants {
                        self.times.granted(grant.id)?;
                        self.leases.granted_one(grant, now_ns)?;
                    }
                }
                (Command::AckTasks(refs), Outcome::Ended { results, .. }) => {
                    self.leases.acked(refs, results, index)?;
                }
                (Command::ReleaseTasks(refs), Outcome::Ended { results, .. }) => {
                    self.leases
                        .given_back(refs.leases.iter().copied(), results)?;
                }
                (Command::NackTasks(nacks), Outcome::Ended { results, .. }) => {
                    let leases = nacks.nacks.iter().map(|nack| (nack.id, nack.token));
                    self.leases.given_back(leases, results)?;
                }
                (Command::ExtendLeases(extends), Outcome::Extended { results, .. }) => {
                    for (extend, result) in extends.extends.iter().zip(results) {
                        if let Ok(deadline_ns) = result {
                            self.leases
                                .extended(extend.id, extend.token, *deadline_ns)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A peer's state at an index.
    pub(crate) fn state(&mut self, peer: u64, index: u64, state: &impl View) -> Result<(), String> {
        self.states.check(peer, index, state)?;
        let report = z4_core::invariants::check(state).map_err(|e| e.0)?;
        report
            .verdict()
            .map_err(|broken| format!("peer {peer} at {index}: {}", broken.join("; ")))
    }
}
