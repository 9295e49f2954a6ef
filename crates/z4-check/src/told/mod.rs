//! The record of a round holds what all clients asked, were told and were given;
//! the judge decides about it. The runners of real binaries fill the record in, and
//! this module knows nothing of the wire.
//!
//! Times are nanoseconds of the observer's monotonic clock; the times of leases and
//! due times are the cluster's.
//!
//! | file | promise |
//! |---|---|
//! | `requests` | a create, however often repeated, makes its tasks once; one that was refused, none |
//! | `deliveries` | at least once, not before its time, in one hand, never after its end |
//! | `holders` | a lease comes to one consumer |
//! | `indexes` | what was asked later has the higher log index |
//! | `calls` | what was acknowledged is seen by every call that begins later |
//! | `counts` | the counts of the namespace are what the clients know |
//! | `ends` | every acknowledged task ended in a way that somebody asked for |
//! | `deaths` | none dies that may not, and none is tried more often than it may |
//!
//! `judge` lays all of them together; a long round it judges in parts (`part`).

mod calls;
mod counts;
mod deaths;
mod deliveries;
mod ends;
mod holders;
mod indexes;
mod judge;
mod part;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use z4_core::task::DeathReason;
use z4_core::TaskId;

use crate::history::Standing;
pub use judge::{judge, Verdict};

/// How a consumer ended a lease, or moved its end.
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

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Tasks with these labels were to be made, all or none.
    Create {
        /// Its request id; `None`: it was sent once and had none.
        request: Option<String>,
        /// What the tasks carry.
        labels: Vec<u64>,
    },
    /// A task was read.
    Get(TaskId),
    /// A task that waits was to be removed.
    Cancel(TaskId),
    /// A dead letter was to be tried again.
    Redrive(TaskId),
    /// A dead letter was to be removed.
    Purge(TaskId),
    /// A lease, by its token, was to end or to last longer.
    Lease(Act, TaskId, u64),
}

impl Call {
    /// Its name in the report.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create { labels, .. } if labels.len() > 1 => "create (batch)",
            Self::Create { request: None, .. } => "create (no id)",
            Self::Create { .. } => "create",
            Self::Get(_) => "get",
            Self::Cancel(_) => "cancel",
            Self::Redrive(_) => "redrive",
            Self::Purge(_) => "purge",
            Self::Lease(Act::Ack, ..) => "ack",
            Self::Lease(Act::Nack | Act::NackForGood, ..) => "nack",
            Self::Lease(Act::Extend, ..) => "extend",
            Self::Lease(Act::Release, ..) => "release",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A create made these, in the order of its labels.
    Made(Vec<TaskId>),
    /// It was done.
    Done,
    /// The lease lasts until then, by machine time.
    Lasts(u64),
    /// The lease ended and the task is a dead letter.
    Died,
    /// What a get saw; or nothing was done, for the task stands so.
    Stands(Standing),
    /// Surely nothing was done, and this is why.
    Refused(String),
    /// It may have been done, or may still be.
    Unknown,
}

/// One operation of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Whose.
    pub client: u32,
    /// What.
    pub call: Call,
    /// When it was asked first.
    pub invoked_ns: u64,
    /// When the answer came, or hope was given up.
    pub at_ns: u64,
    /// How it ended.
    pub end: End,
}

impl Op {
    /// The call was to end a lease, and nothing was done because the lease had ended.
    #[must_use]
    pub fn is_refused_end(&self) -> bool {
        matches!((&self.call, &self.end), (Call::Lease(..), End::Stands(_)))
    }
}

/// A task that came to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// Whose.
    pub client: u32,
    /// To whom, by the name that the cluster knows; shared, for there are millions.
    pub consumer: Arc<str>,
    /// When the consumer had asked for it.
    pub asked_ns: u64,
    /// When it came.
    pub at_ns: u64,
    /// The task.
    pub id: TaskId,
    /// What it carries.
    pub label: u64,
    /// The lease.
    pub token: u64,
    /// Which try.
    pub attempt: u32,
    /// Which delivery of the task.
    pub deliveries: u32,
    /// Whether the peer said that the lease is one of before.
    pub resumed: bool,
    /// When the lease began, by machine time, as far as its end was not moved.
    pub began_ns: u64,
    /// When it ends, by machine time.
    pub deadline_ns: u64,
}

/// What became of a create's tasks, as far as their maker planned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spec {
    /// What consumers are to do with it.
    pub fate: Fate,
    /// Its time of delivery in nanoseconds since 1970; 0: at once.
    pub due_ns: u64,
    /// Its time to live in milliseconds; 0: for ever.
    pub ttl_ms: u64,
    /// Failures that make it a dead letter, those of the namespace's setting
    /// included; 0: it may fail for ever.
    pub attempts_max: u32,
}

impl Spec {
    /// The task may end as a dead letter.
    #[must_use]
    pub fn may_die(&self) -> bool {
        self.ttl_ms > 0 || self.attempts_max > 0 || self.fate == Fate::Hopeless
    }
}

/// What consumers do with a task: it says so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It can be done.
    Good,
    /// The task fails, whatever a consumer does.
    Poison,
    /// The first who sees it knows that it can never be done.
    Hopeless,
}

impl Fate {
    /// What a task of this fate carries.
    #[must_use]
    pub fn payload(self, label: u64) -> Vec<u8> {
        let word = match self {
            Self::Good => "good",
            Self::Poison => "poison",
            Self::Hopeless => "hopeless",
        };
        format!("{word}-{label}").into_bytes()
    }

    /// Fate and label of what a task carries.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<(Self, u64)> {
        let text = std::str::from_utf8(payload).ok()?;
        let (word, label) = text.split_once('-')?;
        let fate = match word {
            "good" => Self::Good,
            "poison" => Self::Poison,
            "hopeless" => Self::Hopeless,
            _ => return None,
        };
        Some((fate, label.parse().ok()?))
    }
}

/// A consumer closed its side of a stream: what it holds is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Who.
    pub consumer: Arc<str>,
    /// Right before it did.
    pub at_ns: u64,
    /// The stream ended with OK: all was given back by then.
    pub is_over: bool,
}

/// A dead letter, as it stands at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Why it died.
    pub reason: DeathReason,
    /// How often it had failed since it was made, or last tried again by a redrive.
    pub failures: u32,
}

/// The tasks that are dead letters at the end, when nothing else is left.
pub type Dead = BTreeMap<TaskId, Death>;

/// All of a round.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Operations, in the order they ended.
    pub ops: Vec<Op>,
    /// Deliveries, in the order they came.
    pub handed: Vec<Handed>,
    /// Tasks that were in a list, and what they carry.
    pub listed: Vec<(TaskId, u64)>,
    /// What was planned, by label.
    pub specs: BTreeMap<u64, Spec>,
    /// Streams that their consumers closed.
    pub closed_streams: Vec<Closed>,
    /// What no client may ever be told, one sentence each.
    pub absurd: Vec<String>,
    /// The clients that are programs of the client crate. The others speak the
    /// protocol themselves.
    pub through_crate: BTreeSet<u32>,
    /// How long a lease lasts at most, from when it was last granted or extended.
    pub lease_max_ns: u64,
    /// Acknowledged creates: when they were asked, and when answered.
    pub writes: Vec<(u64, u64)>,
}
