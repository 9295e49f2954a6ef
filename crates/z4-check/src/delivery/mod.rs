//! At least once, never early, never after the end: what consumers can tell.
//!
//! Source: promises 2 and 3 of z4; the total-queue checker of Jepsen (what was
//! acknowledged comes out at least once), with a reason demanded for each
//! duplicate.
//!
//! Tokens of leases are log indexes, so the deliveries of one task are ordered by
//! them, whoever got them and when. Two clocks are used: machine time (due times,
//! grants, deadlines; a grant is its deadline less the length of the lease), and
//! the observer's (when a consumer asked, when an answer came).

mod judge;

use std::collections::BTreeMap;

use z4_core::TaskId;

use crate::violation::{Rule, Violation};

/// A task came to a consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivered {
    /// Which.
    pub task: TaskId,
    /// Proof of the lease.
    pub token: u64,
    /// Which try, from 1.
    pub attempt: u32,
    /// Which delivery, from 1.
    pub deliveries: u32,
    /// When the lease was granted, in machine time.
    pub granted_ns: u64,
    /// When it ends, in machine time.
    pub deadline_ns: u64,
    /// When the consumer asked (its call or its stream began), by the observer.
    pub asked_ns: u64,
    /// When it came, by the observer.
    pub at_ns: u64,
    /// It was said to be a lease of before.
    pub resumed: bool,
}

/// A task, as its creator knows of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Created {
    /// When it is due, in machine time.
    pub due_ns: u64,
    /// The create was acknowledged.
    pub acked: bool,
    /// It may go without a delivery: it has a time to live, or its namespace may
    /// be deleted.
    pub may_vanish: bool,
}

/// Why a consumer's lease may have ended before its deadline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Returned {
    /// A nack was sent, answered or not.
    Nacked,
    /// A release was sent, answered or not.
    Released,
    /// Its consumer closed the stream in good order: its peer gives back what the
    /// consumer holds. A stream that breaks gives back nothing.
    Closed,
}

/// How a task went by a client's word, other than by an ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// It was answered; else it may have been done, or not.
    pub acked: bool,
    /// When the answer came, by the observer.
    pub at_ns: u64,
    /// A log index that is not below that of the entry that did it, where one is
    /// known: the nearer, the more is found. What was asked after the answer has a
    /// higher one.
    pub index: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Created(Created),
    Delivered(Delivered),
    Acked { at_ns: u64 },
    AckUnknown,
    Returned(Returned),
    Extended { deadline_ns: Option<u64> },
    Moved { due_ns: u64 },
    Redriven,
    Removed(Removed),
}

/// What consumers and creators saw. An event takes 96 bytes.
#[derive(Clone, Debug, Default)]
pub struct Deliveries {
    events: Vec<(TaskId, u64, Event)>,
}

impl Deliveries {
    /// A task was created, or may have been.
    pub fn created(&mut self, task: TaskId, created: Created) {
        self.events.push((task, 0, Event::Created(created)));
    }

    /// A task came to a consumer.
    pub fn delivered(&mut self, delivered: Delivered) {
        let Delivered { task, token, .. } = delivered;
        self.events.push((task, token, Event::Delivered(delivered)));
    }

    /// A task came on a stream that acknowledges by itself: it is done with that, and
    /// never comes again. Its token is not told: `count` stands for it, the number of
    /// tasks that have come. What counts as its grant is when it came.
    pub fn streamed(&mut self, task: TaskId, count: u32, at_ns: u64) {
        let token = u64::from(count);
        self.delivered(Delivered {
            task,
            token,
            attempt: count,
            deliveries: count,
            granted_ns: at_ns,
            deadline_ns: at_ns,
            asked_ns: 0,
            at_ns,
            resumed: false,
        });
        self.acked(task, token, at_ns);
    }

    /// An ack was acknowledged at this time of the observer.
    pub fn acked(&mut self, task: TaskId, token: u64, at_ns: u64) {
        self.events.push((task, token, Event::Acked { at_ns }));
    }

    /// An ack got no answer.
    pub fn ack_unknown(&mut self, task: TaskId, token: u64) {
        self.events.push((task, token, Event::AckUnknown));
    }

    /// A lease was given back, or may have been.
    pub fn returned(&mut self, task: TaskId, token: u64, why: Returned) {
        self.events.push((task, token, Event::Returned(why)));
    }

    /// A lease was extended to this machine time; `None`: no answer came.
    pub fn extended(&mut self, task: TaskId, token: u64, deadline_ns: Option<u64>) {
        self.events
            .push((task, token, Event::Extended { deadline_ns }));
    }

    /// A task may have got this due time, in machine time.
    pub fn moved(&mut self, task: TaskId, due_ns: u64) {
        self.events.push((task, 0, Event::Moved { due_ns }));
    }

    /// A dead letter may have been tried again: its attempts may count anew.
    pub fn redriven(&mut self, task: TaskId) {
        self.events.push((task, 0, Event::Redriven));
    }

    /// A task was cancelled or purged, or may have been.
    pub fn removed(&mut self, task: TaskId, removed: Removed) {
        self.events.push((task, 0, Event::Removed(removed)));
    }

    /// How many deliveries were seen.
    #[must_use]
    pub fn count(&self) -> u64 {
        let all = self.events.iter();
        all.filter(|(_, _, event)| matches!(event, Event::Delivered(_)))
            .count() as u64
    }

    /// Judges all that was seen. Of the tasks, those that were due at
    /// `until_ns`, in machine time, must have been delivered by now. At most
    /// `strangers_max` tasks may come from creates that got no answer and are not
    /// known to have made them.
    #[must_use]
    pub fn check(mut self, until_ns: u64, strangers_max: u64) -> Report {
        self.events.sort_by_key(|(task, token, event)| {
            let at_ns = match event {
                Event::Delivered(delivered) => delivered.at_ns,
                _ => u64::MAX,
            };
            (*task, *token, at_ns)
        });
        judge::judge(&self.events, until_ns, strangers_max)
    }
}

/// What the judge found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Tasks that were created, surely or perhaps.
    pub tasks: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Tasks whose ack was acknowledged.
    pub acked: u64,
    /// Tasks that came from creates without an answer.
    pub strangers: u64,
    /// Deliveries that came again under the same lease.
    pub resumed: u64,
    /// Deliveries after a lease that had reached its deadline.
    pub after_expiry: u64,
    /// Deliveries after a nack.
    pub after_nack: u64,
    /// Deliveries after a release.
    pub after_release: u64,
    /// Deliveries after a stream that its consumer closed.
    pub after_close: u64,
    /// Of all these, how many followed an ack that got no answer.
    pub after_unknown_ack: u64,
    /// Broken promises; the first 1,000 of those that were judged at once.
    pub violations: Vec<Violation>,
    /// How many there are.
    pub violation_count: u64,
    by_rule: BTreeMap<Rule, u64>,
}

impl Report {
    /// Adds the report of other tasks.
    pub(crate) fn add(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.deliveries += other.deliveries;
        self.acked += other.acked;
        self.strangers += other.strangers;
        self.resumed += other.resumed;
        self.after_expiry += other.after_expiry;
        self.after_nack += other.after_nack;
        self.after_release += other.after_release;
        self.after_close += other.after_close;
        self.after_unknown_ack += other.after_unknown_ack;
        self.violations.extend(other.violations);
        self.violation_count += other.violation_count;
        for (rule, count) in other.by_rule {
            *self.by_rule.entry(rule).or_default() += count;
        }
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        self.by_rule.get(&rule).copied().unwrap_or(0)
    }
}
