//! Create, get, cancel, lease, ack and the rest on one task are linearizable.
//!
//! Source: promises 4, 5 and 3 of z4 (a create that is repeated makes one task, a
//! read sees what was acknowledged, an ack is final); the model is the life of a
//! task as `z4-core` has it: absent, waiting, leased, dead, gone. What may happen
//! by itself (leases, expiry, death, removal) is in [`Nature`]. The state is the
//! set of places where the task may be, so that this needs no search.
//!
//! An operation without an answer is in the history from its beginning on, and
//! may stay without effect. A task whose create is not in the history may have
//! been created at any time.

use std::collections::HashMap;
use std::fmt;

use z4_core::TaskId;

use crate::history::{Call, End, History, Nature, Reply, Standing};
use crate::linear::{self, Model, Timed, Verdict};
use crate::violation::{Rule, Violation};

/// The places where a task may be.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Places(u8);

const ABSENT: u8 = 1;
const WAITING: u8 = 2;
const LEASED: u8 = 4;
const DEAD: u8 = 8;
const GONE: u8 = 16;
const ALL: [(u8, &str); 5] = [
    (ABSENT, "absent"),
    (WAITING, "waiting"),
    (LEASED, "leased"),
    (DEAD, "dead"),
    (GONE, "gone"),
];

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ALL.iter().filter(|(place, _)| self.0 & place != 0);
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        f.write_str(&names.join(" or "))
    }
}

/// The life of one task.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskModel {
    /// What may happen to it by itself.
    pub nature: Nature,
}

impl TaskModel {
    /// With all places that are reached without an operation.
    fn close(&self, mut places: u8) -> u8 {
        let Nature {
            leased,
            dies,
            forgotten,
            ended,
        } = self.nature;
        let ways = [
            (leased, WAITING, LEASED),
            (true, LEASED, WAITING),
            (ended, LEASED, GONE),
            (dies, WAITING | LEASED, DEAD),
            (forgotten, DEAD, GONE),
        ];
        loop {
            let mut more = places;
            for (may, from, to) in ways {
                if may && more & from != 0 {
                    more |= to;
                }
            }
            if more == places {
                return places;
            }
            places = more;
        }
    }
}

impl Model for TaskModel {
    type State = Places;
    type Call = Call;
    type Reply = Reply;

    fn first(&self) -> Places {
        Places(ABSENT)
    }

    fn step(&self, state: &Places, call: &Call, reply: Option<&Reply>) -> Option<Places> {
        let places = ALL.iter().map(|(place, _)| *place);
        let places = places.filter(|place| state.0 & place != 0);
        let next = places.fold(0, |next, place| next | after(place, call, reply));
        (next != 0).then(|| Places(self.close(next)))
    }
}

/// Where a task is after a call that found it at `place`; 0: that answer cannot
/// be.
fn after(place: u8, call: &Call, reply: Option<&Reply>) -> u8 {
    // From where it takes effect, and to where.
    let (from, to) = match call {
        Call::Create { .. } => (ABSENT, WAITING),
        Call::Get(_) => (0, 0),
        Call::Cancel(_) => (WAITING, GONE),
        Call::Reschedule(_) => (WAITING, WAITING),
        Call::Redrive(_) => (DEAD, WAITING),
        Call::Purge(_) => (DEAD, GONE),
        Call::Lease(_) => (WAITING, LEASED),
        Call::Ack(..) => (LEASED, GONE),
        Call::Nack(..) | Call::Release(..) => (LEASED, WAITING),
        Call::Extend(..) => (LEASED, LEASED),
    };
    let ends_lease = matches!(call, Call::Nack(..) | Call::Release(..));
    let repeated = matches!(call, Call::Create { request } if *request != 0);
    match reply {
        Some(Reply::Done) if place == from => to,
        // What the first of them made is answered again.
        Some(Reply::Done) if repeated && place != ABSENT => place,
        Some(Reply::Died) if ends_lease && place == LEASED => DEAD,
        Some(Reply::Done | Reply::Died) => 0,
        Some(Reply::Stands(standing)) => place & places_of(*standing),
        // A nack may have been the last.
        None if place == from && ends_lease => WAITING | DEAD,
        None if place == from => to,
        None => place,
    }
}

fn places_of(standing: Standing) -> u8 {
    match standing {
        Standing::Waiting => WAITING,
        Standing::Leased => LEASED,
        Standing::Held => WAITING | LEASED,
        Standing::Dead => DEAD,
        Standing::Present => WAITING | LEASED | DEAD,
        Standing::Missing => ABSENT | GONE,
    }
}

/// What the check of a history found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Tasks that were checked.
    pub tasks: u64,
    /// Operations on them that were checked; a create counts for each task.
    pub operations: u64,
    /// Steps of the model.
    pub steps: u64,
    /// Tasks for which the steps did not suffice.
    pub gave_up: Vec<TaskId>,
    /// Tasks whose answers cannot be explained.
    pub violations: Vec<(TaskId, Violation)>,
}

/// Checks a history, task by task, with at most `steps_max` steps for each.
#[must_use]
pub fn check(history: &History, steps_max: u64) -> Report {
    let mut report = Report::default();
    let all = by_task(history);
    for group in all.chunk_by(|a, b| a.0 == b.0) {
        let Some((task, _)) = group.first() else {
            continue;
        };
        let operations = timed(history, group);
        let model = TaskModel {
            nature: history.nature(*task),
        };
        let found = linear::check(&model, &operations, steps_max);
        report.tasks += 1;
        report.operations += operations.len() as u64;
        report.steps += found.steps;
        match found.verdict {
            Verdict::Linearizable => {}
            Verdict::GaveUp => report.gave_up.push(*task),
            Verdict::Violation(why) => {
                let text = format!("task {task}: {why}");
                let violation = Violation::new(Rule::NotLinearizable, text);
                report.violations.push((*task, violation));
            }
        }
    }
    report
}

/// (task, operation) of all that says something, sorted.
fn by_task(history: &History) -> Vec<(TaskId, u32)> {
    // What each request made, for those attempts of it that got no answer.
    let mut made: HashMap<u64, &[TaskId]> = HashMap::new();
    for operation in history.operations() {
        if let Call::Create { request } = operation.call {
            let tasks = history.tasks(operation);
            if request != 0 && !tasks.is_empty() {
                made.insert(request, tasks);
            }
        }
    }
    let mut all = Vec::with_capacity(history.operations().len());
    for (at, operation) in history.operations().iter().enumerate() {
        let at = at as u32;
        let tells = match operation.end {
            End::Acked { .. } => true,
            End::Refused { .. } => false,
            End::Unknown => !matches!(operation.call, Call::Get(_)),
        };
        if !tells {
            continue;
        }
        match operation.call {
            Call::Create { request } => {
                let mut tasks = history.tasks(operation);
                if tasks.is_empty() {
                    tasks = made.get(&request).copied().unwrap_or_default();
                }
                all.extend(tasks.iter().map(|task| (*task, at)));
            }
            call => all.extend(call.task().map(|task| (task, at))),
        }
    }
    all.sort_unstable();
    all
}

fn timed(history: &History, group: &[(TaskId, u32)]) -> Vec<Timed<Call, Reply>> {
    let operations = group.iter().map(|(_, at)| {
        let operation = &history.operations()[*at as usize];
        Timed {
            client: operation.client,
            call: operation.call,
            invoked_ns: operation.invoked_ns,
            end: match operation.end {
                End::Acked { at_ns, reply } => Some((at_ns, reply)),
                _ => None,
            },
        }
    });
    let mut operations: Vec<_> = operations.collect();
    let is_create = |op: &Timed<Call, Reply>| matches!(op.call, Call::Create { .. });
    if !operations.iter().any(is_create) {
        operations.push(Timed {
            client: u32::MAX,
            call: Call::Create { request: 0 },
            invoked_ns: 0,
            end: None,
        });
    }
    operations
}
