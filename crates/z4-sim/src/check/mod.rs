//! What must hold at every moment, one property a file.
//!
//! The checkers see each committed entry once, at the peer that applies it
//! first, with what its commands answered, and keep a model of their own. What
//! clients saw is judged by `z4-check` at the end of a run (`settle.rs`).
//!
//! | file | property | source |
//! |---|---|---|
//! | `elections` | election safety | Raft (Ongaro, Ousterhout 2014), figure 3 |
//! | `matching` | log matching | the same |
//! | `leaders` | leader completeness | the same |
//! | `history` | state machine safety; stamps rise | the same; promise 2 |
//! | `quorum` | applied only what a quorum has synced | promise 1; Raft thesis, section 10.2.1 |
//! | `promises` | votes and acknowledgements are synced before they leave | Raft thesis, section 3.8 |
//! | `creates` | acknowledged creates are committed; one request, one create | promises 1 and 4 |
//! | `times` | never early, never after its time to live | promise 2 |
//! | `clocks` | no leader goes by a clock that is ahead of most | promise 2; RFC 5905, section 8 |
//! | `leases` | one live lease; only its holder ends it, and is not refused | promise 3 |
//! | `deaths` | no task dies, or goes, without a cause | promises 1 and 2 |
//! | `ends` | what is done, cancelled or purged stays so | promise 3 |
//! | `reads` | a read sees what was acknowledged before it | promise 5 |
//! | `access` | principals are what the log made them; a revoked token is nowhere | promises 1 and 7 |
//! | `states` | equal index, equal state; conservation | promises 6 and 7 |

pub(crate) mod access;
mod clocks;
pub(crate) mod creates;
pub(crate) mod deaths;
pub(crate) mod elections;
pub(crate) mod ends;
pub(crate) mod history;
mod leaders;
pub(crate) mod leases;
pub(crate) mod matching;
pub(crate) mod promises;
mod quorum;
pub(crate) mod reads;
pub(crate) mod states;
#[cfg(test)]
mod tests;
pub(crate) mod times;

use raft::eraftpb::Entry;
use z4_consensus::machine::Committed;
use z4_consensus::Membership;
use z4_core::command::{Ended, HeldLeases, LeaseLost, Unchanged};
use z4_core::task::DeathReason;
use z4_core::{Command, Namespace, Outcome, TaskId};
use z4_proto::command::decode_command;
use z4_proto::level;

use crate::spaces::{GAMMA, GAMMA_LEASED_MAX};
use crate::world::World;

/// All checkers.
pub(crate) struct Checks {
    pub(crate) history: history::History,
    pub(crate) creates: creates::Creates,
    pub(crate) leases: leases::Leases,
    pub(crate) ends: ends::Ends,
    pub(crate) reads: reads::Reads,
    pub(crate) states: states::States,
    pub(crate) elections: elections::Elections,
    pub(crate) access: access::Access,
    pub(crate) matching: matching::Matching,
    times: times::Times,
    deaths: deaths::Deaths,
    /// The least token that any cluster gave which was restored from a backup of this one.
    pub(crate) restored_token_least: u64,
    /// The members as of the last entries that changed them, the newest last.
    pub(crate) members: Vec<Membership>,
    /// Whether the limit on leases in force is known.
    limited: bool,
}

impl Checks {
    pub(crate) fn new(first_index: u64) -> Self {
        Self {
            history: history::History::new(first_index),
            creates: creates::Creates::default(),
            leases: leases::Leases::default(),
            ends: ends::Ends::default(),
            reads: reads::Reads::default(),
            states: states::States::default(),
            elections: elections::Elections::default(),
            access: access::Access::default(),
            matching: matching::Matching::default(),
            times: times::Times::default(),
            deaths: deaths::Deaths::default(),
            restored_token_least: u64::MAX,
            members: Vec::new(),
            limited: false,
        }
    }

    /// Machine time as of the last entry, in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        self.times.now_ns()
    }

    /// The cluster was founded with these members.
    pub(crate) fn founded(&mut self, members: &Membership) {
        self.members.push(members.clone());
    }

    /// An entry was applied for the first time. Returns what rare events it was.
    fn commands(
        &mut self,
        entry: &Committed,
        outcomes: &[Outcome],
        gamma: &Namespace,
    ) -> Result<Vec<&'static str>, String> {
        let index = entry.position.index;
        let now_ns = self.times.at(entry.stamp_ns);
        let mut seen = Vec::new();
        for (bytes, outcome) in entry.commands.iter().zip(outcomes) {
            let command = decode_command(bytes).map_err(|e| e.to_string())?;
            match (&command, outcome) {
                (Command::CreateTasks(create), Outcome::Created(tasks)) => {
                    if self.creates.created(create, tasks, now_ns)? {
                        for (new, task) in create.tasks.iter().zip(tasks) {
                            self.times.created(new, task.id);
                            self.deaths.created(new, task.id, now_ns);
                        }
                    } else {
                        seen.push("a create was answered from a remembered request");
                    }
                }
                (Command::LeaseTasks(lease), Outcome::Leased { grants, .. }) => {
                    for grant in grants {
                        self.ends.granted(grant.id)?;
                        self.times
                            .granted((lease.lease_ms, lease.ahead_ms), grant)?;
                        if self.leases.granted_one(&lease.namespace, grant, now_ns)? {
                            seen.push("a task was leased twice in a row");
                        }
                        self.deaths.granted(grant, now_ns)?;
                    }
                    if lease.namespace == *gamma && self.limited {
                        self.leases.within(gamma, now_ns, GAMMA_LEASED_MAX)?;
                    }
                }
                (Command::AckTasks(refs), Outcome::Ended { results, .. }) => {
                    let leases = refs.leases.iter().copied();
                    let going = |id| self.ends.is_over(id);
                    seen.extend(self.leases.ended(leases, results, now_ns, going)?);
                    for ((id, _), result) in refs.leases.iter().zip(results) {
                        if result.is_ok() {
                            self.ends
                                .ended(&refs.namespace, *id, ends::End::Done, index);
                        }
                    }
                }
                (
                    Command::ReleaseTasks(HeldLeases { refs, consumer })
                    | Command::ReturnTasks(HeldLeases { refs, consumer }),
                    Outcome::Ended { results, .. },
                ) => {
                    let going = |id| self.ends.is_over(id);
                    let all = refs.leases.iter().zip(results);
                    // To others a lease is refused, and it lives on.
                    let (its, others): (Vec<_>, Vec<_>) =
                        all.partition(|((id, _), _)| self.leases.is_held_by(*id, consumer));
                    if let Some(((id, _), _)) = others.iter().find(|(_, result)| result.is_ok()) {
                        return Err(format!(
                            "promise 3: task {id} was given back by {consumer}, and another \
                             consumer holds it"
                        ));
                    }
                    let is_live = |lease: &_| self.leases.is_live(lease, now_ns);
                    if others.iter().any(|(lease, _)| is_live(lease)) {
                        seen.push("a lease was resumed before it could be given back");
                    }
                    let its = its.into_iter().map(|(lease, result)| (*lease, *result));
                    let (leases, ended): (Vec<_>, Vec<_>) = its.unzip();
                    self.leases
                        .ended(leases.into_iter(), &ended, now_ns, going)?;
                    for ((id, _), result) in refs.leases.iter().zip(results) {
                        self.came_back(&refs.namespace, *id, None, result)?;
                    }
                    let ids = refs.leases.iter().map(|l| l.0);
                    if self.times.came_back(ids, results)? {
                        seen.push("a lease was given back ahead of its time");
                    }
                }
                (Command::NackTasks(nacks), Outcome::Ended { results, .. }) => {
                    let leases = nacks.nacks.iter().map(|nack| (nack.id, nack.token));
                    let going = |id| self.ends.is_over(id);
                    self.leases.ended(leases, results, now_ns, going)?;
                    for (nack, result) in nacks.nacks.iter().zip(results) {
                        let failed = Some(nack.permanent);
                        self.came_back(&nacks.namespace, nack.id, failed, result)?;
                    }
                    let ids = nacks.nacks.iter().map(|n| n.id);
                    self.times.came_back(ids, results)?;
                }
                (Command::ExtendLeases(extends), Outcome::Extended { results, .. }) => {
                    for (extend, result) in extends.extends.iter().zip(results) {
                        let lease = (extend.id, extend.token);
                        let going = self.ends.is_over(extend.id);
                        self.leases.extended(lease, result, now_ns, going)?;
                        if let Ok(until_ns) = result {
                            self.deaths.extended(extend.id, *until_ns);
                        }
                    }
                }
                (Command::ResumeLeases(resume), Outcome::Extended { results, .. }) => {
                    let refs = &resume.held.refs;
                    for (lease, result) in refs.leases.iter().zip(results) {
                        let going = self.ends.is_over(lease.0);
                        let is_live = self.leases.is_live(lease, now_ns);
                        let is_its = [&resume.held.consumer, &resume.by]
                            .map(|name| self.leases.is_held_by(lease.0, name))
                            .contains(&true);
                        if is_live && !is_its {
                            if result.is_ok() {
                                let (id, by) = (lease.0, &resume.by);
                                return Err(format!("task {id} was taken from a session by {by}"));
                            }
                            seen.push("a lease was resumed by another session meanwhile");
                            continue;
                        }
                        self.leases.extended(*lease, result, now_ns, going)?;
                        if result.is_ok() {
                            self.leases.resumed(lease.0, &resume.by);
                        } else if !going {
                            seen.push("a lease ended before it could be resumed");
                        }
                    }
                }
                (_, Outcome::Changed(results)) => {
                    seen.extend(self.changed(&command, results, index, now_ns)?);
                }
                (Command::SetNamespace(set), Outcome::NamespaceSet { config, .. }) => {
                    self.deaths.set(&set.namespace, config);
                    if set.namespace == *gamma {
                        self.limited = config.leased_max == GAMMA_LEASED_MAX;
                    }
                }
                (Command::DeleteNamespace(name), Outcome::NamespaceDeleting) => {
                    if self.ends.deleted(name, &self.creates, index) {
                        seen.push("a namespace was deleted with tasks in it");
                    }
                    self.creates.forget(name);
                }
                (Command::ChangePrincipal(change), outcome) => {
                    let level = self.members.last().map_or(0, |members| members.level);
                    seen.push(
                        self.access
                            .changed((index, now_ns, level), change, outcome)?,
                    );
                }
                // Pulses and marks promise nothing here; of the rest, what was refused
                // changed nothing. Each is named, so that a new command is looked at.
                (Command::Pulse | Command::Mark { .. }, _)
                | (
                    Command::CreateTasks(_)
                    | Command::LeaseTasks(_)
                    | Command::AckTasks(_)
                    | Command::ReleaseTasks(_)
                    | Command::ReturnTasks(_)
                    | Command::ResumeLeases(_)
                    | Command::NackTasks(_)
                    | Command::ExtendLeases(_)
                    | Command::CancelTasks(_)
                    | Command::RescheduleTasks(_)
                    | Command::RedriveTasks(_)
                    | Command::PurgeTasks(_)
                    | Command::SetNamespace(_)
                    | Command::DeleteNamespace(_),
                    _,
                ) => {}
            }
        }
        Ok(seen)
    }

    fn changed(
        &mut self,
        command: &Command,
        results: &[Result<(), Unchanged>],
        index: u64,
        now_ns: u64,
    ) -> Result<Option<&'static str>, String> {
        let (namespace, ids) = match command {
            Command::CancelTasks(refs) | Command::PurgeTasks(refs) => (&refs.namespace, &refs.ids),
            Command::RescheduleTasks(change) => (&change.namespace, &change.ids),
            Command::RedriveTasks(redrive) => (&redrive.namespace, &redrive.ids),
            other => return Err(format!("{other:?} has the outcome of a change")),
        };
        let mut seen = None;
        let done = ids.iter().zip(results).filter(|(_, result)| result.is_ok());
        for (id, _) in done {
            self.ends.changed(*id)?;
            match command {
                Command::CancelTasks(_) => {
                    self.leases.removed(*id, now_ns, "cancelled")?;
                    self.ends.ended(namespace, *id, ends::End::Cancelled, index);
                    seen = Some("a task was cancelled");
                }
                Command::PurgeTasks(_) => {
                    self.leases.removed(*id, now_ns, "purged")?;
                    self.deaths.purged(namespace, *id, self.age(*id, now_ns))?;
                    self.ends.ended(namespace, *id, ends::End::Purged, index);
                }
                Command::RescheduleTasks(change) => self.times.rescheduled(*id, change.due),
                Command::RedriveTasks(redrive) => {
                    let keeps = redrive.keep_attempts;
                    let age = self.age(*id, now_ns);
                    self.deaths.redriven(namespace, *id, keeps, age)?;
                    self.times.redriven(*id);
                    seen = Some("a dead letter was tried again");
                }
                other => return Err(format!("{other:?} is a change that nothing checks")),
            }
        }
        Ok(seen)
    }

    /// The lease of a task was ended by a nack, for good or not, or without a
    /// failure.
    fn came_back(
        &mut self,
        namespace: &Namespace,
        id: TaskId,
        failed: Option<bool>,
        result: &Result<Ended, LeaseLost>,
    ) -> Result<(), String> {
        let age = self.age(id, self.times.now_ns());
        self.deaths.ended(namespace, id, failed, result, age)
    }

    /// A time, and whether a task is too old by then.
    fn age(&self, id: TaskId, at_ns: u64) -> (u64, bool) {
        (at_ns, self.times.is_too_old(id, at_ns))
    }

    /// A task is a dead letter at the end of a run.
    pub(crate) fn is_dead(
        &mut self,
        namespace: &Namespace,
        id: TaskId,
        reason: DeathReason,
        at_ns: u64,
    ) -> Result<(), String> {
        let age = self.age(id, at_ns);
        self.deaths.dead(namespace, id, Some(reason), age)
    }

    /// A task that nobody ended is not there at the end of a run, and so many
    /// dead letters of its namespace are.
    pub(crate) fn is_missing(
        &mut self,
        namespace: &Namespace,
        id: TaskId,
        dead: u64,
    ) -> Result<(), String> {
        let age = self.age(id, self.times.now_ns());
        self.deaths.missing(namespace, id, dead, age)
    }
}

impl World {
    /// A peer applied an entry.
    pub(crate) fn check_applied(&mut self, id: u64, entry: &Committed, outcomes: &[Outcome]) {
        self.check_readable(id, entry);
        let first = match self.checks.history.take(id, entry) {
            Ok(first) => first,
            Err(broken) => return self.fail(broken),
        };
        if !first {
            return;
        }
        self.report.entries += 1;
        if let Err(broken) = self.check_quorum(entry.position) {
            return self.fail(broken);
        }
        if let Some(members) = &entry.membership {
            self.note_members(members);
        }
        for (bytes, outcome) in entry.commands.iter().zip(outcomes) {
            if let Ok(command) = decode_command(bytes) {
                self.judge_applied(&command, outcome);
            }
        }
        let gamma = self.namespaces[GAMMA].clone();
        match self.checks.commands(entry, outcomes, &gamma) {
            Ok(seen) => {
                for what in seen {
                    self.saw(what);
                }
            }
            Err(broken) => self.fail(broken),
        }
        self.report.leases = self.checks.leases.granted();
    }

    /// The binary of a peer that applied an entry knows what is in it.
    fn check_readable(&mut self, id: u64, entry: &Committed) {
        let max = self.peers.get(&id).map_or(u32::MAX, |peer| peer.levels.max);
        if max >= level::LEVEL_MAX {
            return;
        }
        let commands = entry.commands.iter().map(|bytes| decode_command(bytes));
        let needed = commands
            .flatten()
            .map(|command| level::needed(&command))
            .max();
        if needed.is_some_and(|needed| needed > max) {
            let index = entry.position.index;
            self.fail(format!(
                "peer {id}, whose binary knows levels up to {max}, applied {index}, which needs more"
            ));
        }
    }

    fn note_members(&mut self, members: &Membership) {
        let voters = |m: &Membership| m.voter_count();
        let promoted = self.checks.members.last().is_some_and(|old| {
            old.members.len() == members.members.len() && voters(old) < voters(members)
        });
        if promoted && self.net.split() {
            self.saw("a learner was promoted while the network was split");
        }
        let moved = self.checks.members.last().is_some_and(|old| {
            let addresses = |m: &Membership| -> Vec<(u64, String)> {
                let members = m.members.iter();
                members.map(|(id, m)| (*id, m.address.clone())).collect()
            };
            let same = old.members.keys().eq(members.members.keys());
            same && addresses(old) != addresses(members) && voters(old) != voters(members)
        });
        if moved {
            self.fail("promise 9: an address changed who votes");
        }
        // A voter that is alone has nobody to be found by, and nobody to lose.
        let invented = self.invented_address(members);
        if let Some(what) = invented.filter(|_| voters(members) > 1) {
            self.fail(format!("promise 9: {what}"));
        }
        self.checks.members.push(members.clone());
        if self.checks.members.len() > 3 {
            self.checks.members.remove(0);
        }
    }

    /// A peer is about to append these entries to its log.
    pub(crate) fn check_appended(&mut self, id: u64, number: u64, entries: &[Entry]) {
        if self.checks.matching.appended(id, number, entries) {
            self.saw("entries that were not committed were replaced");
        }
    }

    /// Writes of a peer's log are on stable storage.
    pub(crate) fn check_synced(&mut self, id: u64, number: u64) {
        if let Err(broken) = self.checks.matching.synced(id, number) {
            self.fail(broken);
        }
    }

    /// A peer lost power, and its log is as it will find it again.
    pub(crate) fn check_crashed(&mut self, id: u64) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let kept = |entry: &Entry| peer.log.has_entry(entry);
        if let Err(broken) = self.checks.matching.crashed(id, kept) {
            self.fail(broken);
        }
    }
}
