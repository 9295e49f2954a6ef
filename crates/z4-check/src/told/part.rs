//! A part of a round holds some of its tasks, with all that was said of them. Almost
//! every promise is about one task, or about those that one create made, so the judge
//! looks at one part after the other: what it keeps beside the record is in proportion
//! to a part, and a history of ten million operations is judged in the memory of one.
//!
//! Tasks that have anything in common are in one part: the tasks of one create, and
//! those that show the same id or carry the same label, which is a breach and is found
//! for that reason. What is about all tasks at once (log indexes, counts) is not judged
//! by parts.

use std::collections::HashMap;

use z4_core::TaskId;

use super::judge::labels;
use super::{Call, Dead, End, Handed, Op, Spec, Told};

/// All that was said of some tasks.
pub(super) struct Part<'a> {
    /// The record that this is a part of.
    pub(super) told: &'a Told,
    /// Operations at these tasks, in the order they ended.
    pub(super) ops: Vec<&'a Op>,
    /// Deliveries of these tasks, in the order they came.
    pub(super) handed: Vec<&'a Handed>,
    /// The tasks that were in a list, and what they carry.
    pub(super) listed: Vec<(TaskId, u64)>,
    /// The tasks that are dead letters.
    pub(super) dead: Dead,
}

impl<'a> Part<'a> {
    /// An empty part.
    fn of(told: &'a Told) -> Self {
        Self {
            told,
            ops: Vec::new(),
            handed: Vec::new(),
            listed: Vec::new(),
            dead: Dead::new(),
        }
    }

    /// The plan for the task with this label.
    pub(super) fn spec(&self, label: u64) -> Option<&'a Spec> {
        self.told.specs.get(&label)
    }
}

/// Divides a round into `count` parts of about the same size.
pub(super) fn divide<'a>(told: &'a Told, dead: &Dead, count: usize) -> Vec<Part<'a>> {
    let families = Families::of(told);
    let count = count.max(1);
    let mut parts: Vec<Part<'a>> = (0..count).map(|_| Part::of(told)).collect();
    for op in &told.ops {
        let family = match labels(&op.call).first() {
            Some(label) => families.of_label(*label),
            None => task_of(&op.call).map_or(0, |id| families.of_task(id)),
        };
        parts[place(family, count)].ops.push(op);
    }
    for handed in &told.handed {
        let family = families.of_label(handed.label);
        parts[place(family, count)].handed.push(handed);
    }
    for (id, label) in &told.listed {
        let family = families.of_label(*label);
        parts[place(family, count)].listed.push((*id, *label));
    }
    for (id, death) in dead {
        let family = families.of_task(*id);
        parts[place(family, count)].dead.insert(*id, *death);
    }
    parts
}

/// The task that a call names; `None` for a create.
fn task_of(call: &Call) -> Option<TaskId> {
    match call {
        Call::Create { .. } => None,
        Call::Get(id)
        | Call::Cancel(id)
        | Call::Redrive(id)
        | Call::Purge(id)
        | Call::Lease(_, id, _) => Some(*id),
    }
}

/// The part of a family. The first labels of creates are not spread evenly, so they
/// are mixed first (Fibonacci hashing: D. Knuth, TAOCP 3, 6.4).
fn place(family: u64, count: usize) -> usize {
    let mixed = family.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed % count as u64) as usize
}

/// The families of tasks that are to be judged together. A family goes by the least label
/// in it.
struct Families {
    /// A label that a task carries.
    labels: HashMap<TaskId, u64>,
    /// Labels that were joined to a lesser one.
    joined: HashMap<u64, u64>,
}

impl Families {
    fn of(told: &Told) -> Self {
        let mut families = Self {
            labels: HashMap::new(),
            joined: HashMap::new(),
        };
        for op in &told.ops {
            let labels = labels(&op.call);
            let Some(first) = labels.first() else {
                continue;
            };
            for label in labels {
                families.join(*first, *label);
            }
            if let End::Made(ids) = &op.end {
                for (n, id) in ids.iter().enumerate() {
                    families.carries(*id, labels.get(n).copied().unwrap_or(*first));
                }
            }
        }
        for handed in &told.handed {
            families.carries(handed.id, handed.label);
        }
        for (id, label) in &told.listed {
            families.carries(*id, *label);
        }
        families
    }

    fn carries(&mut self, id: TaskId, label: u64) {
        let known = *self.labels.entry(id).or_insert(label);
        self.join(known, label);
    }

    fn join(&mut self, one: u64, other: u64) {
        let (one, other) = (self.of_label(one), self.of_label(other));
        if one != other {
            self.joined.insert(one.max(other), one.min(other));
        }
    }

    fn of_label(&self, label: u64) -> u64 {
        let mut least = label;
        while let Some(lesser) = self.joined.get(&least) {
            least = *lesser;
        }
        least
    }

    /// The family of a task; one that nobody made or saw is alone.
    fn of_task(&self, id: TaskId) -> u64 {
        let alone = || {
            let lower = id.as_bytes()[8..].iter();
            lower.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        self.labels
            .get(&id)
            .map_or_else(alone, |label| self.of_label(*label))
    }
}
