//! What all clients of a round asked, were told and were given.
//!
//! Times are nanoseconds of the runner's monotonic clock since its start; the
//! times of leases and due times are the cluster's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use grpcio::RpcStatusCode;
use z4_core::TaskId;

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

/// Where a task stands, by an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It waits.
    Waiting,
    /// Somebody holds it.
    Leased,
    /// It waits or is held: the lease had expired.
    Held,
    /// It is a dead letter.
    Dead,
    /// It is there.
    Present,
    /// There is none.
    Missing,
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
    Stands(Stands),
    /// Surely nothing was done.
    Refused(RpcStatusCode),
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

/// A task that came to a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// To whom, by the name that the cluster knows.
    pub consumer: String,
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
}

/// What consumers do with a task: it says so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It can be done.
    Good,
    /// It fails whatever one does, and may fail twice.
    Poison,
    /// The first who sees it knows that it can never be done.
    Hopeless,
}

impl Fate {
    /// What a task of this fate carries.
    pub fn payload(self, label: u64) -> Vec<u8> {
        let word = match self {
            Self::Good => "good",
            Self::Poison => "poison",
            Self::Hopeless => "hopeless",
        };
        format!("{word}-{label}").into_bytes()
    }

    /// Fate and label of what a task carries.
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
    pub consumer: String,
    /// Right before it did.
    pub at_ns: u64,
    /// The stream ended with OK: all was given back by then.
    pub is_over: bool,
}

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
    /// Acknowledged creates: when they were asked, and when answered.
    pub writes: Vec<(u64, u64)>,
}

/// The record of a round. Clones are one record.
#[derive(Debug, Clone)]
pub struct Record {
    start: Instant,
    told: Arc<Mutex<Told>>,
}

impl Record {
    /// An empty record on a clock that began at `start`.
    pub fn new(start: Instant) -> Self {
        Self {
            start,
            told: Arc::default(),
        }
    }

    /// Now.
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What there is so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation ended just now.
    pub fn ended(&self, client: u32, call: Call, invoked_ns: u64, end: End) {
        let at_ns = self.now_ns();
        let mut told = self.told();
        if let (Call::Create { .. }, End::Made(_)) = (&call, &end) {
            told.writes.push((invoked_ns, at_ns));
        }
        told.ops.push(Op {
            client,
            call,
            invoked_ns,
            at_ns,
            end,
        });
    }

    /// Something that must never be.
    pub fn absurd(&self, what: String) {
        self.told().absurd.push(what);
    }

    /// When the first create that was asked at `since_ns` or later was
    /// answered.
    pub fn first_write_since(&self, since_ns: u64) -> Option<u64> {
        let told = self.told();
        let later = told.writes.iter().rev().take_while(|w| w.1 >= since_ns);
        later.filter(|w| w.0 >= since_ns).map(|w| w.1).min()
    }

    /// The longest time without an answer to a create between two moments.
    pub fn longest_gap(&self, from_ns: u64, to_ns: u64) -> u64 {
        let told = self.told();
        let answers = told.writes.iter().map(|w| w.1);
        let mut last = from_ns;
        let mut longest = 0;
        for at in answers.filter(|at| (from_ns..=to_ns).contains(at)) {
            longest = longest.max(at.saturating_sub(last));
            last = at;
        }
        longest.max(to_ns.saturating_sub(last))
    }

    /// Operations that ended between two moments.
    pub fn count_between(&self, from_ns: u64, to_ns: u64) -> usize {
        let told = self.told();
        let within = |at: u64| (from_ns..to_ns).contains(&at);
        let ops = told.ops.iter().filter(|op| within(op.at_ns)).count();
        ops + told.handed.iter().filter(|h| within(h.at_ns)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_count_again_when_one_that_began_later_is_answered() {
        let record = Record::new(Instant::now());
        record.told().writes = vec![(1, 10), (5, 30), (12, 31), (25, 40)];
        // The one that began at 5 may have been done before.
        assert_eq!(record.first_write_since(11), Some(31));
        assert_eq!(record.first_write_since(26), None);
        assert_eq!(record.longest_gap(10, 41), 20);
        assert_eq!(record.longest_gap(31, 100), 60);
    }
}
