//! Judges the deliveries of each task, in the order of their tokens.

use z4_core::TaskId;

use super::{Created, Delivered, Event, Removed, Report, Returned};
use crate::violation::{Rule, Violation};

/// How many violations are kept.
const KEPT: usize = 1_000;

/// A lease, from the deliveries and ends that carry its token.
#[derive(Default)]
struct Lease {
    token: u64,
    /// The first delivery of it that was seen.
    delivered: Option<Delivered>,
    /// The latest deadline it is known to have had.
    deadline_ns: u64,
    /// An extend got no answer: it may have made the lease shorter.
    unsure: bool,
    returned: Option<Returned>,
    acked: Option<u64>,
    ack_unknown: bool,
}

/// What is known of a task apart from its leases.
#[derive(Default)]
struct Task {
    created: Option<Created>,
    /// The earliest and the latest time it can have been due.
    due_ns: Option<(u64, u64)>,
    redriven: bool,
    removed: Vec<Removed>,
}

pub(super) fn judge(events: &[(TaskId, u64, Event)], until_ns: u64, strangers_max: u64) -> Report {
    let mut judge = Judge::default();
    for group in events.chunk_by(|a, b| a.0 == b.0) {
        if let Some((task, ..)) = group.first() {
            judge.task(*task, group, until_ns);
        }
    }
    if judge.report.strangers > strangers_max {
        let strangers = judge.report.strangers;
        judge.broken(
            Rule::NeverCreated,
            format!(
                "{strangers} tasks were delivered that no acknowledged create made, and creates \
                 without an answer can have made {strangers_max}; one is {:?}",
                judge.stranger
            ),
        );
    }
    judge.report
}

#[derive(Default)]
struct Judge {
    report: Report,
    stranger: Option<TaskId>,
}

impl Judge {
    fn broken(&mut self, rule: Rule, text: String) {
        self.report.violation_count += 1;
        *self.report.by_rule.entry(rule).or_default() += 1;
        if self.report.violations.len() < KEPT {
            self.report.violations.push(Violation::new(rule, text));
        }
    }

    fn task(&mut self, id: TaskId, events: &[(TaskId, u64, Event)], until_ns: u64) {
        let task = about(events);
        let mut leases = Vec::new();
        for group in events.chunk_by(|a, b| a.1 == b.1) {
            if let Some(lease) = self.lease(group, &task) {
                leases.push(lease);
            }
        }
        self.report.tasks += u64::from(task.created.is_some());
        let is_delivered = leases.iter().any(|lease| lease.delivered.is_some());
        if is_delivered && task.created.is_none() {
            self.report.strangers += 1;
            self.stranger.get_or_insert(id);
        }
        self.chain(&leases, &task);
        self.end(id, &leases, &task);
        let Some(created) = task.created else { return };
        let is_due = task
            .due_ns
            .is_some_and(|(_, latest_ns)| latest_ns <= until_ns);
        let may_be_gone = created.may_vanish || !task.removed.is_empty();
        if created.acked && is_due && !is_delivered && !may_be_gone {
            let text = format!(
                "task {id} was acknowledged, due at {}, and never delivered",
                created.due_ns
            );
            self.broken(Rule::NeverDelivered, text);
        }
    }

    /// One lease of a task; its deliveries by themselves.
    fn lease(&mut self, events: &[(TaskId, u64, Event)], task: &Task) -> Option<Lease> {
        let mut lease = Lease::default();
        let mut any = false;
        for (_, token, event) in events {
            lease.token = *token;
            match *event {
                Event::Delivered(delivered) => {
                    self.report.deliveries += 1;
                    self.one(&lease, &delivered, task);
                    lease.deadline_ns = lease.deadline_ns.max(delivered.deadline_ns);
                    lease.delivered.get_or_insert(delivered);
                }
                Event::Acked { at_ns } => lease.acked = Some(at_ns),
                Event::AckUnknown => lease.ack_unknown = true,
                Event::Returned(why) => lease.returned = Some(why),
                Event::Extended { deadline_ns: None } => lease.unsure = true,
                Event::Extended {
                    deadline_ns: Some(deadline_ns),
                } => {
                    // An extend may make a lease shorter; which of several was
                    // the last is not known.
                    lease.unsure |= deadline_ns < lease.deadline_ns;
                    lease.deadline_ns = lease.deadline_ns.max(deadline_ns);
                }
                _ => continue,
            }
            any = true;
        }
        any.then_some(lease)
    }

    /// A delivery, by itself and beside an earlier one of its lease.
    fn one(&mut self, lease: &Lease, delivered: &Delivered, task: &Task) {
        let Delivered {
            task: id,
            token,
            granted_ns,
            ..
        } = *delivered;
        if let Some((earliest_ns, _)) = task.due_ns.filter(|(due_ns, _)| granted_ns < *due_ns) {
            let text = format!(
                "task {id} was leased at {granted_ns}, {} ns before it was due",
                earliest_ns - granted_ns
            );
            self.broken(Rule::Early, text);
        }
        if lease.delivered.is_some() {
            if delivered.resumed {
                self.report.resumed += 1;
            } else {
                let text = format!("task {id} came twice with token {token}");
                self.broken(Rule::SameLeaseTwice, text);
            }
        }
        for removed in task.removed.iter().filter(|removed| removed.acked) {
            // A stream was asked for long ago: its later leases tell by their tokens.
            let granted_after = removed.index.is_some_and(|index| token > index);
            if granted_after || delivered.asked_ns > removed.at_ns {
                let text =
                    format!("task {id} came with token {token} after it was removed: {removed:?}");
                self.broken(Rule::AfterEnd, text);
            }
        }
    }

    /// Each lease beside the one before it that was seen.
    fn chain(&mut self, leases: &[Lease], task: &Task) {
        let mut before: Option<(&Lease, Delivered)> = None;
        for lease in leases {
            let Some(delivered) = lease.delivered else {
                continue;
            };
            if let Some((earlier, first)) = before {
                self.pair(earlier, &first, &delivered, task);
            }
            before = Some((lease, delivered));
        }
    }

    fn pair(&mut self, lease: &Lease, first: &Delivered, second: &Delivered, task: &Task) {
        let id = first.task;
        if second.granted_ns < first.granted_ns {
            let text =
                format!("task {id}: the later lease has the lower token: {second:?}, {first:?}");
            self.broken(Rule::TokenFell, text);
            return;
        }
        let attempts_fell = second.attempt < first.attempt && !task.redriven;
        if second.deliveries <= first.deliveries || attempts_fell {
            let text = format!("task {id}: attempts do not rise: {first:?}, then {second:?}");
            self.broken(Rule::AttemptsFell, text);
        }
        let report = &mut self.report;
        if second.granted_ns >= lease.deadline_ns || lease.unsure {
            report.after_expiry += 1;
        } else {
            match lease.returned {
                Some(Returned::Nacked) => report.after_nack += 1,
                Some(Returned::Released) => report.after_release += 1,
                Some(Returned::Closed) => report.after_close += 1,
                None => {
                    let text = format!(
                        "task {id} was leased again at {}, and its lease lasts until {}: \
                         {first:?}, then {second:?}",
                        second.granted_ns, lease.deadline_ns
                    );
                    self.broken(Rule::LeaseOverlap, text);
                    return;
                }
            }
        }
        self.report.after_unknown_ack += u64::from(lease.ack_unknown);
    }

    /// What ended the task, and what came after.
    fn end(&mut self, id: TaskId, leases: &[Lease], task: &Task) {
        let mut acked: Option<(u64, u64)> = None;
        for lease in leases {
            if let (Some((token, at_ns)), Some(delivered)) = (acked, &lease.delivered) {
                let text = format!(
                    "task {id} was acknowledged with token {token} at {at_ns}, and came again: \
                     {delivered:?}"
                );
                self.broken(Rule::AfterEnd, text);
            }
            let Some(at_ns) = lease.acked else { continue };
            if let Some((token, _)) = acked {
                let text = format!(
                    "task {id} was acknowledged with token {token}, and with token {}",
                    lease.token
                );
                self.broken(Rule::EndedTwice, text);
            }
            acked = Some((lease.token, at_ns));
        }
        let Some((token, at_ns)) = acked else { return };
        self.report.acked += 1;
        if let Some(removed) = task.removed.iter().find(|removed| removed.acked) {
            let text = format!(
                "task {id} was acknowledged with token {token} at {at_ns}, and removed: {removed:?}"
            );
            self.broken(Rule::EndedTwice, text);
        }
    }
}

fn about(events: &[(TaskId, u64, Event)]) -> Task {
    let mut task = Task::default();
    let mut due = |due_ns: u64| {
        let (low, high) = task.due_ns.unwrap_or((due_ns, due_ns));
        task.due_ns = Some((low.min(due_ns), high.max(due_ns)));
    };
    for (_, _, event) in events {
        match *event {
            Event::Created(created) => {
                due(created.due_ns);
                let acked = created.acked || task.created.is_some_and(|known| known.acked);
                task.created = Some(Created { acked, ..created });
            }
            Event::Moved { due_ns } => due(due_ns),
            Event::Redriven => task.redriven = true,
            Event::Removed(removed) => task.removed.push(removed),
            _ => {}
        }
    }
    task
}
