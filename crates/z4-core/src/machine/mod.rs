//! Apply: the one place where something happens to a task.
//!
//! | file | what |
//! |---|---|
//! | `create` | CreateTasks, and request ids |
//! | `lease` | LeaseTasks |
//! | `gate` | what a namespace lets through: pause and limits |
//! | `end` | AckTasks, NackTasks, ReleaseTasks, ReturnTasks |
//! | `extend` | ExtendLeases, ResumeLeases |
//! | `backoff` | the wait after a failure |
//! | `dead` | dead letters |
//! | `change` | CancelTasks, RescheduleTasks, RedriveTasks, PurgeTasks |
//! | `settings` | SetNamespace |
//! | `access` | ChangePrincipal |
//! | `pulse` | the pulse: leases and ages that end |
//! | `delete` | DeleteNamespace |
//! | `place` | the moves of a task between its places |
//! | `forget` | outdated request ids, a few with each entry |
//! | `namespaces` | rows of namespaces in memory |
//!
//! What is kept in memory beside the store (namespaces, deadlines) is a copy of
//! rows. It may save reads, but it never decides what is written: a replica
//! that was opened a moment ago writes the same rows as one that runs for
//! months.

mod access;
mod backoff;
mod change;
mod create;
mod dead;
mod delete;
mod end;
mod extend;
mod forget;
mod gate;
mod lease;
mod namespaces;
mod place;
mod pulse;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

pub use self::gate::{gate, Gate};
use self::namespaces::Namespaces;
pub use self::place::untouched;
use crate::command::{Command, Grant, Outcome, Taker};
use crate::planted::planted;
use crate::state::{MetaRow, NamespaceRow, Row, RowKey, State, StateError};
use crate::task::{LeaseToken, Namespace, NamespaceId, TaskId};

/// What the shell around the machine should know after an entry: hints for
/// dispatch and the grants for the consumers' streams. Never decides anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A task was put into the due index of this namespace; this is the
    /// earliest due time of those that the entry put there and did not lease.
    Due {
        /// Which namespace.
        namespace: Namespace,
        /// Machine time in nanoseconds.
        due_at_ns: u64,
    },
    /// A lease command was applied: each taker learns its grants, none included
    /// when nothing was due. A refused command makes no event.
    Leased {
        /// Which namespace.
        namespace: Namespace,
        /// Machine time of the entry, in nanoseconds.
        stamp_ns: u64,
        /// Whom the command named: tells the dispatcher which of its proposals
        /// came back.
        takers: Vec<Taker>,
        /// What was granted.
        grants: Vec<Grant>,
        /// Due tasks were left.
        more: bool,
    },
    /// Leases were ended, in whatever way.
    Ended {
        /// Which namespace.
        namespace: Namespace,
        /// The leases, in the order in which they ended.
        leases: Vec<(TaskId, LeaseToken)>,
    },
    /// Leases go on under another name: whoever held them before has them no more.
    Resumed {
        /// The namespace.
        namespace: Namespace,
        /// The leases.
        leases: Vec<(TaskId, LeaseToken)>,
        /// The name of the consumer that holds them from now on.
        by: String,
    },
    /// A principal or one of its tokens changed, or is gone: whoever keeps a copy of principals
    /// reads them again.
    Access,
    /// The settings of a namespace changed, or it is gone: what was held back
    /// may go on.
    Namespace {
        /// Which.
        namespace: Namespace,
    },
}

/// The task state machine over a store.
#[derive(Debug)]
pub struct Machine<S> {
    state: S,
    meta: MetaRow,
    namespaces: Namespaces,
    /// The lease rows: (deadline, namespace, task).
    deadlines: BTreeSet<(u64, NamespaceId, TaskId)>,
    /// No request id is outdated before this time, in machine nanoseconds.
    forget_next_ns: u64,
    /// No timer fires before this time, in machine nanoseconds.
    timer_next_ns: u64,
}

/// What the commands of one entry share.
struct Entry<'a> {
    /// Its place in the log; the token of the leases it grants.
    index: u64,
    /// As the leader stamped it: part of task ids, which the leader foretells.
    entry_stamp_ns: u64,
    /// Machine time: decides what is due and what has expired.
    now_ns: u64,
    /// The place that the next task takes.
    ordinal: u32,
    /// The due times that the entry put into each namespace's index, and may still be there.
    due: BTreeMap<NamespaceId, NewDue>,
    events: &'a mut Vec<Event>,
}

/// The earliest due times of what an entry put into an index.
#[derive(Clone, Copy, Debug, Default)]
struct NewDue {
    /// The earliest of those that are due by the time of the entry, in machine nanoseconds.
    now_ns: Option<u64>,
    /// The earliest of those that are due later, in machine nanoseconds.
    later_ns: Option<u64>,
}

impl Entry<'_> {
    fn note_due(&mut self, namespace: NamespaceId, due_at_ns: u64) {
        let new = self.due.entry(namespace).or_default();
        let earliest = match due_at_ns <= self.now_ns {
            true => &mut new.now_ns,
            false => &mut new.later_ns,
        };
        *earliest = Some(earliest.map_or(due_at_ns, |known| known.min(due_at_ns)));
    }

    /// All that is due in this namespace was leased.
    fn note_leased(&mut self, namespace: NamespaceId) {
        if planted!("later-due-forgotten") {
            self.due.remove(&namespace);
        }
        if let Some(new) = self.due.get_mut(&namespace) {
            new.now_ns = None;
        }
    }
}

impl<S: State> Machine<S> {
    /// Opens a machine over a store, which may be empty: reads namespaces and
    /// live leases into memory.
    ///
    /// # Errors
    /// [`StateError`] when the store fails.
    pub fn open(state: S) -> Result<Self, StateError> {
        let meta = match state.get(&RowKey::Meta)? {
            Some(Row::Meta(meta)) => meta,
            Some(_) => return Err(StateError("the meta row is of another kind".into())),
            None => MetaRow::default(),
        };
        let namespaces = Namespaces::load(&state)?;
        let mut deadlines = BTreeSet::new();
        let (from, to) = RowKey::leases();
        state.scan(&from, &to, &mut |key, _| {
            if let RowKey::Lease {
                deadline_ns,
                namespace,
                id,
            } = key
            {
                if !planted!("leases-forgotten-at-start") {
                    deadlines.insert((deadline_ns, namespace, id));
                }
            }
            true
        })?;
        let mut timer_next_ns = u64::MAX;
        let (from, to) = RowKey::timers(meta.timer_from_ns);
        state.scan(&from, &to, &mut |key, _| {
            if let RowKey::Timer { at_ns, .. } = key {
                timer_next_ns = at_ns;
            }
            false
        })?;
        Ok(Self {
            state,
            meta,
            namespaces,
            deadlines,
            forget_next_ns: 0,
            timer_next_ns,
        })
    }

    /// Applies the commands of one entry, in order, and gives each its outcome.
    ///
    /// `index` is the entry's place in the log, higher than any before and below
    /// 2^44; `stamp_ns` the leader's stamp. Machine time becomes the greater of
    /// itself and the stamp. Events are added to `events`. The rows of the entry
    /// are whole in the store when the call returns, never between.
    ///
    /// # Errors
    /// [`StateError`] when the store fails or contradicts itself: the process
    /// must end, for memory may have gone past the store.
    pub fn apply_entry(
        &mut self,
        index: u64,
        stamp_ns: u64,
        commands: Vec<Command>,
        events: &mut Vec<Event>,
    ) -> Result<Vec<Outcome>, StateError> {
        self.meta.stamp_ns = self.meta.stamp_ns.max(stamp_ns);
        let mut entry = Entry {
            index,
            entry_stamp_ns: stamp_ns,
            now_ns: self.meta.stamp_ns,
            ordinal: 0,
            due: BTreeMap::new(),
            events,
        };
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            // Refused or not: the leader foretold ids by counting alike.
            let ordinal_next = entry.ordinal.saturating_add(command.units());
            outcomes.push(self.apply(&mut entry, command)?);
            entry.ordinal = ordinal_next;
        }
        self.forget_requests(entry.now_ns)?;
        self.namespaces.flush(&mut self.state, entry.now_ns);
        self.state.put(RowKey::Meta, Row::Meta(self.meta.clone()));
        for (id, new) in entry.due {
            let earliest = new.now_ns.or(new.later_ns);
            if let Some((name, due_at_ns)) = self.namespaces.name(id).zip(earliest) {
                entry.events.push(Event::Due {
                    namespace: name.clone(),
                    due_at_ns,
                });
            }
        }
        Ok(outcomes)
    }

    fn apply(&mut self, entry: &mut Entry<'_>, command: Command) -> Result<Outcome, StateError> {
        if let Err(refusal) = command.check() {
            return Ok(Outcome::Refused(refusal));
        }
        match command {
            Command::CreateTasks(create) => self.create(entry, create),
            Command::LeaseTasks(lease) => self.lease(entry, lease),
            Command::AckTasks(refs) => self.ack(entry, &refs),
            Command::ReleaseTasks(of) => self.give_back_held(entry, &of, end::How::Release),
            Command::ReturnTasks(of) => self.give_back_held(entry, &of, end::How::Return),
            Command::ResumeLeases(resume) => self.resume(entry, &resume),
            Command::NackTasks(nacks) => self.nack(entry, &nacks),
            Command::ExtendLeases(extends) => self.extend(entry, &extends),
            Command::CancelTasks(refs) => self.cancel(&refs),
            Command::RescheduleTasks(change) => self.reschedule(entry, &change),
            Command::RedriveTasks(redrive) => self.redrive(entry, &redrive),
            Command::PurgeTasks(refs) => self.purge(&refs),
            Command::SetNamespace(set) => self.set_namespace(entry, set),
            Command::DeleteNamespace(name) => self.delete_namespace(&name),
            Command::ChangePrincipal(change) => self.change_principal(entry, change),
            Command::Pulse => self.pulse(entry),
            Command::Mark { id } => Ok(Outcome::Marked { id }),
        }
    }

    /// Machine time in nanoseconds: the greatest stamp applied.
    #[must_use]
    pub fn stamp_ns(&self) -> u64 {
        self.meta.stamp_ns
    }

    /// When the machine needs a pulse, in machine nanoseconds: at the earliest
    /// deadline of a live lease, when a task may be too old or a dead letter kept
    /// for long enough, and at once while a namespace is being deleted.
    #[must_use]
    pub fn pulse_next_ns(&self) -> Option<u64> {
        if self.namespaces.first_deleting().is_some() {
            return Some(self.meta.stamp_ns);
        }
        let deadline_ns = self.deadlines.first().map(|(at_ns, _, _)| *at_ns);
        let timer_ns = (self.timer_next_ns < u64::MAX).then_some(self.timer_next_ns);
        deadline_ns.into_iter().chain(timer_ns).min()
    }

    /// The namespaces, in the order of their names.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Namespace, &NamespaceRow)> {
        self.namespaces.iter()
    }

    /// The store.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The store, for its owner to commit batches. Rows must not be changed
    /// through it.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Gives the store back.
    pub fn into_state(self) -> S {
        self.state
    }
}
