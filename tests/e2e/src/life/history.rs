//! What all consumers saw and were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protobuf::well_known_types::Timestamp;
use z4_proto::generated::collection::{Delivery, LeaseOutcome, LeaseResult};

/// What a consumer did about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// It is done.
    Ack,
    /// It failed.
    Nack,
    /// It will never succeed.
    NackForGood,
    /// It takes longer.
    Extend,
    /// It was given back.
    Release,
}

/// A lease, as its holders saw it.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    /// Who got it, each time it came.
    pub consumers: Vec<String>,
    /// Which try.
    pub attempt: u32,
    /// When it began, by machine time in nanoseconds; `None` when it was only
    /// ever seen after a reconnect, perhaps with a deadline that was moved.
    pub began_ns: Option<u64>,
    /// The latest deadline that anybody was told, in machine nanoseconds.
    pub deadline_ns: u64,
    /// What was done about it and not answered yet.
    pub open: Vec<Act>,
    /// What was answered.
    pub answers: Vec<(Act, LeaseOutcome)>,
    /// Its holder left properly, so that it may have been given back.
    pub left: bool,
}

/// A task, as its consumers saw it.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What it carries.
    pub payload: Vec<u8>,
    /// Its leases by token.
    pub leases: BTreeMap<u64, Lease>,
}

/// What all consumers saw. Cheap to clone: clones are one history.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<BTreeMap<String, Seen>>>);

impl History {
    /// The tasks by id.
    pub fn tasks(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task came, with a lease of this length unless it is resumed.
    pub fn delivered(&self, consumer: &str, delivery: &Delivery, lease_ns: u64) {
        let task = delivery.get_task();
        let mut tasks = self.tasks();
        let seen = tasks.entry(task.get_id().to_owned()).or_default();
        seen.payload = task.get_payload().to_vec();
        let lease = seen.leases.entry(delivery.get_lease_token()).or_default();
        lease.consumers.push(consumer.to_owned());
        lease.attempt = delivery.get_attempt();
        let deadline_ns = ns(delivery.get_lease_deadline());
        if !delivery.get_resumed() {
            lease.began_ns = Some(deadline_ns - lease_ns);
        }
        lease.deadline_ns = lease.deadline_ns.max(deadline_ns);
    }

    /// A consumer closed its side: what it holds may be given back.
    pub fn left(&self, consumer: &str) {
        for seen in self.tasks().values_mut() {
            for lease in seen.leases.values_mut() {
                lease.left |= lease.consumers.iter().any(|name| name == consumer);
            }
        }
    }

    /// Something is said of a lease.
    pub fn said(&self, id: &str, token: u64, act: Act) {
        let mut tasks = self.tasks();
        let seen = tasks.get_mut(id);
        if let Some(lease) = seen.and_then(|seen| seen.leases.get_mut(&token)) {
            lease.open.push(act);
        }
    }

    /// It was answered. Answers about one lease come in the order of what was
    /// said of it on one stream; after a reconnect the old ones never come.
    pub fn answered(&self, act: Act, result: &LeaseResult) {
        let mut tasks = self.tasks();
        let seen = tasks.get_mut(result.get_task_id());
        let lease = seen.and_then(|seen| seen.leases.get_mut(&result.get_lease_token()));
        let Some(lease) = lease else { return };
        if let Some(place) = lease.open.iter().position(|open| *open == act) {
            lease.open.remove(place);
        }
        if result.get_outcome() == LeaseOutcome::LEASE_OUTCOME_EXTENDED {
            lease.deadline_ns = lease.deadline_ns.max(ns(result.get_lease_deadline()));
        }
        lease.answers.push((act, result.get_outcome()));
    }
}

/// A timestamp of the wire in nanoseconds since 1970.
#[must_use]
pub fn ns(time: &Timestamp) -> u64 {
    let seconds = u64::try_from(time.get_seconds()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.get_nanos()).unwrap_or(0)
}
