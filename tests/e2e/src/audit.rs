//! What was acknowledged, against what came on streams that acknowledge by
//! themselves, by the rules of `z4-check`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use z4_check::delivery::{Created, Deliveries, Report};
use z4_check::history::request_number;
use z4_check::request::Requests;
use z4_check::{Rule, Violation};
use z4_core::TaskId;

use crate::client::{Client, Refused};
use crate::load::Told;
use crate::reader::{Delivered, Reader};
use crate::request::instant;
use crate::wait;

/// Differences between what producers were told and what consumers got.
#[derive(Debug, Default)]
pub struct Audit {
    /// How many creates were acknowledged.
    pub acked: usize,
    /// How many tasks came.
    pub delivered: usize,
    /// Creates that made more than one task, or another than was acknowledged.
    made_twice: Vec<Violation>,
    deliveries: Report,
}

impl Audit {
    /// Compares what a [`crate::load::Load`] was told with what came. A task says by
    /// its payload which create made it.
    #[must_use]
    pub fn of(told: &Told, delivered: &[Delivered]) -> Self {
        let mut made_twice = Vec::new();
        let (mut requests, mut seen) = (Requests::default(), Deliveries::default());
        let due = |one: &Delivered| since_1970_ns(instant(one.task.get_deliver_at()));
        let dues: BTreeMap<TaskId, u64> = delivered
            .iter()
            .map(|one| (id(one.task.get_id()), due(one)))
            .collect();
        let due_of = |id: &TaskId| dues.get(id).copied().unwrap_or(0);
        let mut asked: BTreeSet<&str> = told.unknown.iter().map(String::as_str).collect();
        for acked in &told.acked {
            let (id, text) = (id(&acked.created.task_id), &acked.request_id);
            asked.insert(text);
            made_twice.extend(requests.answered(number(text), &[id]).err());
            seen.created(id, created(due_of(&id), true));
        }
        for (one, count) in delivered.iter().zip(1..) {
            let (id, text) = (id(one.task.get_id()), one.text());
            if asked.contains(text.as_str()) {
                made_twice.extend(requests.seen(number(&text), 0, id).err());
                seen.created(id, created(due_of(&id), false));
            }
            seen.streamed(id, count, since_1970_ns(one.at));
        }
        Self {
            acked: told.acked.len(),
            delivered: delivered.len(),
            made_twice,
            // All were due, and no create may make a task that does not name it.
            deliveries: seen.check(u64::MAX, 0),
        }
    }

    /// How often a rule was broken.
    #[must_use]
    pub fn count(&self, rule: Rule) -> u64 {
        let made_twice = self.made_twice.iter().filter(|why| why.rule == rule);
        made_twice.count() as u64 + self.deliveries.count(rule)
    }

    /// How much is broken.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.made_twice.len() as u64 + self.deliveries.violation_count
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.broken() == 0
    }

    /// # Panics
    /// When a promise was broken; the message counts them and has the first of
    /// them.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{}", self.summary());
    }

    /// One line: how many of all, and the first that are broken.
    #[must_use]
    pub fn summary(&self) -> String {
        const SHOWN: usize = 4;
        let mut text = format!(
            "acked {}, delivered {}, broken {}",
            self.acked,
            self.delivered,
            self.broken()
        );
        let broken = self.made_twice.iter().chain(&self.deliveries.violations);
        for why in broken.take(SHOWN) {
            text.push_str(&format!("; {why}"));
        }
        text
    }
}

/// A request by a number.
fn number(request_id: &str) -> u64 {
    request_number("", request_id)
}

fn created(due_ns: u64, acked: bool) -> Created {
    Created {
        due_ns,
        acked,
        may_vanish: false,
    }
}

fn id(text: &str) -> TaskId {
    text.parse().expect("an id that a peer gave")
}

fn since_1970_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// Opens a stream at every client and reads until at least the acknowledged
/// number came and nothing more came for a while, or `limit` has passed.
#[must_use]
pub fn drain(
    clients: &[Client],
    namespace: &str,
    expected: usize,
    limit: Duration,
) -> Vec<Delivered> {
    const QUIET: Duration = Duration::from_millis(700);
    let readers: Vec<Reader> = clients.iter().map(|c| Reader::open(c, namespace)).collect();
    let (mut last, mut since) = (0, Instant::now());
    // Time up is not an error here: the audit says what is missing.
    let _ = wait::within(limit, || {
        let have = readers.iter().map(Reader::count).sum();
        if have != last {
            (last, since) = (have, Instant::now());
        }
        let done = have >= expected && since.elapsed() > QUIET;
        wait::check(done, || format!("{have} of {expected} came"))
    });
    readers.into_iter().flat_map(Reader::stop).collect()
}

/// Asks for every `step`-th acknowledged task by id, through the clients in
/// turn; those that are not found, with the reason.
#[must_use]
pub fn missing_by_id(
    clients: &[Client],
    namespace: &str,
    told: &Told,
    step: usize,
) -> Vec<(String, Refused)> {
    let picked = told.acked.iter().step_by(step.max(1)).enumerate();
    picked
        .filter_map(|(n, acked)| {
            let id = &acked.created.task_id;
            let answer = clients[n % clients.len()].get(namespace, id);
            answer.err().map(|refused| (id.clone(), refused))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Created;
    use crate::load::Acked;
    use z4_proto::generated::collection::Task;

    fn task_id(name: u64) -> String {
        TaskId::new(name, name, 0).to_string()
    }

    fn told(acked: &[(&str, u64)], unknown: &[&str]) -> Told {
        let acked = acked.iter().map(|(request_id, name)| Acked {
            request_id: (*request_id).to_owned(),
            created: Created {
                task_id: task_id(*name),
                by: 0,
                sent_at: Instant::now(),
                acked_at: Instant::now(),
                tries: 1,
            },
        });
        Told {
            acked: acked.collect(),
            unknown: unknown.iter().map(|u| (*u).to_owned()).collect(),
            refused: Vec::new(),
        }
    }

    /// At 100 s since 1970.
    fn came(name: u64, payload: &str, due_s: i64) -> Delivered {
        let mut task = Task::new();
        task.set_id(task_id(name));
        task.set_payload(payload.as_bytes().to_vec());
        task.mut_deliver_at().set_seconds(due_s);
        let at: SystemTime = UNIX_EPOCH + Duration::from_secs(100);
        Delivered { task, at }
    }

    #[test]
    fn all_is_well() {
        let audit = Audit::of(
            &told(&[("r1", 1), ("r2", 2)], &["r3"]),
            &[came(1, "r1", 99), came(2, "r2", 100), came(3, "r3", 1)],
        );
        assert!(audit.is_clean(), "{audit:?}");
    }

    #[test]
    fn each_kind_of_breach_is_seen() {
        let told = told(&[("r1", 1), ("r2", 2)], &[]);
        let (one, two) = (|| came(1, "r1", 0), || came(2, "r2", 0));
        for (rule, delivered) in [
            (Rule::NeverDelivered, vec![one()]),
            (Rule::MadeTwice, vec![one(), two(), came(9, "r2", 0)]),
            (Rule::MadeTwice, vec![one(), came(9, "r2", 0)]),
            (Rule::AfterEnd, vec![one(), one(), two()]),
            (Rule::NeverCreated, vec![one(), two(), came(7, "nobody", 0)]),
            (Rule::Early, vec![came(1, "r1", 101), two()]),
        ] {
            let audit = Audit::of(&told, &delivered);
            assert_eq!(audit.count(rule), 1, "{rule:?}: {audit:?}");
        }
    }
}
