//! What was acknowledged, against what came.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::client::{Client, Refused};
use crate::load::Told;
use crate::reader::{Delivered, Reader};
use crate::wait;

/// Differences between what producers were told and what consumers got. All
/// lists are empty when the promises were kept.
#[derive(Debug, Default)]
pub struct Audit {
    /// How many creates were acknowledged.
    pub acked: usize,
    /// How many tasks came.
    pub delivered: usize,
    /// Request ids of acknowledged creates whose task did not come.
    pub lost: Vec<String>,
    /// Request ids of which two tasks with different ids came.
    pub made_twice: Vec<String>,
    /// Ids of tasks that came more than once.
    pub delivered_twice: Vec<String>,
    /// Ids of tasks that nobody asked for.
    pub foreign: Vec<String>,
    /// Request ids whose task came under another id than was acknowledged.
    pub other_id: Vec<String>,
    /// Ids of tasks that came before their time.
    pub early: Vec<String>,
}

impl Audit {
    /// Compares what a [`crate::load::Load`] was told with what came.
    #[must_use]
    pub fn of(told: &Told, delivered: &[Delivered]) -> Self {
        let mut audit = Self {
            acked: told.acked.len(),
            delivered: delivered.len(),
            ..Self::default()
        };
        let mut ids: HashMap<String, HashSet<&str>> = HashMap::new();
        let mut seen = HashSet::new();
        for one in delivered {
            let id = one.task.get_id();
            if !seen.insert(id) {
                audit.delivered_twice.push(id.to_owned());
            }
            if one.early().is_some() {
                audit.early.push(id.to_owned());
            }
            ids.entry(one.text()).or_default().insert(id);
        }
        let mut asked: HashSet<&str> = told.unknown.iter().map(String::as_str).collect();
        for acked in &told.acked {
            asked.insert(&acked.request_id);
            match ids.get(&acked.request_id) {
                None => audit.lost.push(acked.request_id.clone()),
                Some(ids) if !ids.contains(acked.created.task_id.as_str()) => {
                    audit.other_id.push(acked.request_id.clone());
                }
                Some(_) => {}
            }
        }
        for (payload, ids) in &ids {
            if ids.len() > 1 {
                audit.made_twice.push(payload.clone());
            }
            if !asked.contains(payload.as_str()) {
                audit.foreign.extend(ids.iter().map(|id| (*id).to_owned()));
            }
        }
        audit
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [
            &self.lost,
            &self.made_twice,
            &self.delivered_twice,
            &self.foreign,
            &self.other_id,
            &self.early,
        ]
        .iter()
        .all(|list| list.is_empty())
    }

    /// # Panics
    /// When a promise was broken; the message counts each kind and names the
    /// first of each.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{}", self.summary());
    }

    /// One line: how many of each kind, and the first.
    #[must_use]
    pub fn summary(&self) -> String {
        let part = |name: &str, list: &[String]| match list.first() {
            None => format!("{name} 0"),
            Some(first) => format!("{name} {} (first {first})", list.len()),
        };
        [
            format!("acked {}", self.acked),
            format!("delivered {}", self.delivered),
            part("lost", &self.lost),
            part("made twice", &self.made_twice),
            part("delivered twice", &self.delivered_twice),
            part("foreign", &self.foreign),
            part("under another id", &self.other_id),
            part("early", &self.early),
        ]
        .join(", ")
    }
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
    use std::time::{SystemTime, UNIX_EPOCH};
    use z4_proto::generated::collection::Task;

    fn told(acked: &[(&str, &str)], unknown: &[&str]) -> Told {
        let acked = acked.iter().map(|(request_id, task_id)| Acked {
            request_id: (*request_id).to_owned(),
            created: Created {
                task_id: (*task_id).to_owned(),
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

    fn came(id: &str, payload: &str, due_s: i64) -> Delivered {
        let mut task = Task::new();
        task.set_id(id.to_owned());
        task.set_payload(payload.as_bytes().to_vec());
        task.mut_deliver_at().set_seconds(due_s);
        let at: SystemTime = UNIX_EPOCH + Duration::from_secs(100);
        Delivered { task, at }
    }

    #[test]
    fn all_is_well() {
        let audit = Audit::of(
            &told(&[("r1", "a"), ("r2", "b")], &["r3"]),
            &[
                came("a", "r1", 99),
                came("b", "r2", 100),
                came("c", "r3", 1),
            ],
        );
        assert!(audit.is_clean(), "{audit:?}");
    }

    #[test]
    fn each_kind_of_breach_is_seen() {
        let told = told(&[("r1", "a"), ("r2", "b"), ("r3", "c")], &[]);
        let delivered = [
            came("a", "r1", 0),
            came("a", "r1", 0),
            came("b", "r2", 0),
            came("b2", "r2", 101),
            came("x", "nobody", 0),
        ];
        let audit = Audit::of(&told, &delivered);
        assert_eq!(audit.lost, ["r3"]);
        assert_eq!(audit.made_twice, ["r2"]);
        assert_eq!(audit.delivered_twice, ["a"]);
        assert_eq!(audit.foreign, ["x"]);
        assert_eq!(audit.early, ["b2"]);
        let other = Audit::of(&told, &[came("q", "r1", 0)]);
        assert_eq!(other.other_id, ["r1"]);
    }
}
