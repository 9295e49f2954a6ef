//! Leases that wait for a new task to ride with.
//!
//! A delivery otherwise takes two commits one after the other: the create, and then the
//! lease that the leader proposes when it has applied the create. A *rider* is a lease
//! that the dispatcher has decided beforehand, with the room of its consumers reserved.
//! Whoever puts a create into the log that is due at once takes the rider of its
//! namespace and puts it into the same entry, behind the create. Apply decides about it
//! as about any lease: pause, limits and rate hold, and what is due is leased in its
//! order.

use std::collections::{BTreeMap, VecDeque};

use crate::command::{Command, CreateTasks, Due, LeaseTasks};
use crate::task::Namespace;

/// The riders of a leader. The dispatcher's shell shares it with whoever puts commands
/// into the log, under a lock.
///
/// ```
/// use z4_core::command::{LeaseTasks, Taker};
/// use z4_core::dispatch::Riders;
/// use z4_core::Namespace;
///
/// let mail = Namespace::new("mail").unwrap();
/// let takers = vec![Taker { consumer: "c".into(), room: 5 }];
/// let lease = LeaseTasks { namespace: mail.clone(), takers, lease_ms: 0, ahead_ms: 0 };
/// let mut riders = Riders::default();
/// riders.offer(7, lease.clone());
/// assert_eq!(riders.take(&mail, 8), None, "it was offered by the leader of another term");
/// assert_eq!(riders.take(&mail, 7), Some(lease));
/// assert!(riders.recall(&mail).is_empty(), "it is in the log, or on its way into it");
/// ```
#[derive(Debug, Default)]
pub struct Riders {
    /// The term in which the dispatcher that offered them leads.
    term: u64,
    offered: BTreeMap<Namespace, VecDeque<LeaseTasks>>,
}

impl Riders {
    /// The dispatcher of the leader of this term offers a lease. Those of other terms are
    /// forgotten, because their dispatcher is.
    pub fn offer(&mut self, term: u64, lease: LeaseTasks) {
        if self.term != term {
            self.clear();
            self.term = term;
        }
        let of_namespace = self.offered.entry(lease.namespace.clone()).or_default();
        of_namespace.push_back(lease);
    }

    /// Takes a lease to put it into the log, in this term, behind a task of the namespace.
    pub fn take(&mut self, namespace: &Namespace, term: u64) -> Option<LeaseTasks> {
        if self.term != term {
            return None;
        }
        let of_namespace = self.offered.get_mut(namespace)?;
        let lease = of_namespace.pop_front();
        if of_namespace.is_empty() {
            self.offered.remove(namespace);
        }
        lease
    }

    /// Takes those back that nobody has taken.
    pub fn recall(&mut self, namespace: &Namespace) -> Vec<LeaseTasks> {
        self.offered.remove(namespace).unwrap_or_default().into()
    }

    /// The leases that nobody has taken, in no order that matters.
    pub fn iter(&self) -> impl Iterator<Item = &LeaseTasks> {
        self.offered.values().flatten()
    }

    /// Forgets all: their dispatcher leads no more.
    pub fn clear(&mut self) {
        self.offered.clear();
    }
}

/// The namespace of whose riders this command may take one: that of new tasks, if one of
/// them is due at once by the clock of who asks, in nanoseconds since the Unix epoch.
#[must_use]
pub fn rides_with(command: &Command, wall_ns: u64) -> Option<&Namespace> {
    match command {
        Command::CreateTasks(create) => {
            is_due_at_once(create, wall_ns).then_some(&create.namespace)
        }
        _ => None,
    }
}

/// Tells whether one of these tasks is due at once by a clock, in nanoseconds since the Unix
/// epoch. It is a hint: apply decides by the stamp.
#[must_use]
pub fn is_due_at_once(create: &CreateTasks, wall_ns: u64) -> bool {
    create.tasks.iter().any(|task| match task.due {
        Due::Now => true,
        Due::At(at) => at.as_ns() <= wall_ns,
        Due::AfterSeconds(_) => false,
    })
}
