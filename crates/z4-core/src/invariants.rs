//! What must hold at every index, as code, and a fingerprint of the state.
//!
//! Both read every row: for tests, the simulator and an operator's check, not
//! for the path of a request.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::Xxh3;

use crate::state::{rank, NamespaceRow, Row, RowKey, StateError, View};
use crate::task::{NamespaceId, Phase, Priority, TaskBody, TaskId, TaskStatus};

mod fingerprint;

/// Checks what must hold between entries: conservation and bytes per namespace;
/// every task in exactly one place, and its rows agreeing about it; the count
/// and the cursor of every queue; the two rows of every request id.
///
/// # Errors
/// One sentence for each rule that is broken, also when the store fails.
pub fn check(view: &(impl View + ?Sized)) -> Result<(), Vec<String>> {
    let mut rows = Rows::default();
    let mut broken = Vec::new();
    let read = view.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        rows.take(key, row, &mut broken);
        true
    });
    if let Err(e) = read {
        return Err(vec![format!("the store failed: {e}")]);
    }
    rows.check_tasks(&mut broken);
    rows.check_namespaces(&mut broken);
    rows.check_requests(&mut broken);
    if broken.is_empty() {
        Ok(())
    } else {
        Err(broken)
    }
}

/// A fingerprint of all rows, the same for the same rows in any store, process
/// and version.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn state_hash(view: &(impl View + ?Sized)) -> Result<u128, StateError> {
    let mut hash = fingerprint::Fingerprint(Xxh3::new());
    view.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        hash.row(&key, &row);
        true
    })?;
    Ok(hash.0.digest128())
}

type Task = (NamespaceId, TaskId);

/// A place in the due index.
struct DueRow {
    rank: u8,
    due_at_ns: u64,
    touched: bool,
    bytes: u64,
}

/// All rows, by kind.
#[derive(Default)]
struct Rows {
    namespaces: BTreeMap<NamespaceId, NamespaceRow>,
    namespace_next: u32,
    stamp_ns: u64,
    forget_from_ns: u64,
    bodies: BTreeMap<Task, TaskBody>,
    statuses: BTreeMap<Task, TaskStatus>,
    due: BTreeMap<Task, DueRow>,
    leases: BTreeMap<Task, u64>,
    requests: BTreeMap<(NamespaceId, String), u64>,
    expiries: BTreeSet<(NamespaceId, String, u64)>,
}

impl Rows {
    fn take(&mut self, key: RowKey, row: Row, broken: &mut Vec<String>) {
        match (key, row) {
            (RowKey::Meta, Row::Meta(meta)) => {
                self.namespace_next = meta.namespace_next;
                self.stamp_ns = meta.stamp_ns;
                self.forget_from_ns = meta.forget_from_ns;
            }
            (RowKey::Namespace(name), Row::Namespace(row)) => {
                let id = row.id;
                if self.namespaces.insert(id, row).is_some() {
                    broken.push(format!("namespace {name} shares the number {}", id.0));
                }
            }
            (RowKey::Body(space, id), Row::Body(body)) => {
                self.bodies.insert((space, id), body);
            }
            (RowKey::Status(space, id), Row::Status(status)) => {
                self.statuses.insert((space, id), status);
            }
            (
                RowKey::Due {
                    namespace,
                    rank,
                    due_at_ns,
                    id,
                },
                Row::Due { touched, bytes },
            ) => {
                let row = DueRow {
                    rank,
                    due_at_ns,
                    touched,
                    bytes,
                };
                if self.due.insert((namespace, id), row).is_some() {
                    broken.push(format!("task {id} is in the due index twice"));
                }
            }
            (
                RowKey::Lease {
                    deadline_ns,
                    namespace,
                    id,
                },
                Row::Lease,
            ) => {
                if self.leases.insert((namespace, id), deadline_ns).is_some() {
                    broken.push(format!("task {id} has two leases"));
                }
            }
            (
                RowKey::Request {
                    namespace,
                    request_id,
                },
                Row::Request(row),
            ) => {
                let key = (namespace, request_id);
                self.requests.insert(key, row.expires_at_ns);
            }
            (
                RowKey::RequestExpiry {
                    expires_at_ns,
                    namespace,
                    request_id,
                },
                Row::RequestExpiry,
            ) => {
                let key = (namespace, request_id, expires_at_ns);
                self.expiries.insert(key);
            }
            (key, _) => broken.push(format!("{key:?} has a row of another kind")),
        }
    }

    /// Every body has one place, and every place and status has a body.
    fn check_tasks(&self, broken: &mut Vec<String>) {
        for (task, body) in &self.bodies {
            let status = self.statuses.get(task);
            let agrees = match (self.due.get(task), self.leases.get(task)) {
                (Some(due), None) => waits_well(body, status, due),
                (None, Some(deadline_ns)) => is_leased_until(body, status, *deadline_ns),
                _ => false,
            };
            if !agrees {
                broken.push(format!(
                    "the rows of task {} do not agree on its place",
                    task.1
                ));
            }
        }
        let placed = self.due.keys().chain(self.leases.keys());
        for task in placed.chain(self.statuses.keys()) {
            if !self.bodies.contains_key(task) {
                broken.push(format!("task {} has a place or status but no body", task.1));
            }
        }
    }

    fn check_namespaces(&self, broken: &mut Vec<String>) {
        let known = |id: &NamespaceId| self.namespaces.contains_key(id);
        for (space, id) in self.bodies.keys().filter(|(space, _)| !known(space)) {
            broken.push(format!(
                "task {id} is of namespace {}, which is not",
                space.0
            ));
        }
        for (id, row) in &self.namespaces {
            let mut say = |rule: String| broken.push(format!("namespace {}: {rule}", id.0));
            if id.0 >= self.namespace_next {
                say(format!("its number is not below {}", self.namespace_next));
            }
            let of_this = |task: &&Task| task.0 == *id;
            let pending = self.due.keys().filter(of_this).count() as u64;
            let leased = self.leases.keys().filter(of_this).count() as u64;
            let counts = &row.counts;
            if counts.created != counts.pending + counts.leased + counts.done {
                say(format!(
                    "created is not pending + leased + done: {counts:?}"
                ));
            }
            if (counts.pending, counts.leased) != (pending, leased) {
                say(format!(
                    "has {pending} pending and {leased} leased: {counts:?}"
                ));
            }
            let bodies = self.bodies.iter().filter(|(task, _)| task.0 == *id);
            let bytes: u64 = bodies.map(|(_, body)| body.bytes()).sum();
            if counts.bytes != bytes {
                say(format!("has {bytes} bytes: {counts:?}"));
            }
            for (place, head) in row.queues.iter().enumerate() {
                let queue = self
                    .due
                    .iter()
                    .filter(|(task, due)| task.0 == *id && usize::from(due.rank) == place);
                let places: Vec<_> = queue.map(|(task, due)| (due.due_at_ns, task.1)).collect();
                if head.count != places.len() as u64 {
                    say(format!("queue {place} has {} rows: {head:?}", places.len()));
                }
                if places.iter().any(|place| *place < head.cursor) {
                    say(format!("queue {place} has rows below its cursor: {head:?}"));
                }
                if places.iter().any(|(at_ns, _)| *at_ns < head.consumed_ns) {
                    say(format!(
                        "queue {place} has rows below what was consumed: {head:?}"
                    ));
                }
            }
            let ranks = self.due.iter().filter(|(task, _)| task.0 == *id);
            if ranks
                .into_iter()
                .any(|(_, due)| usize::from(due.rank) >= Priority::COUNT)
            {
                say("has due rows of no priority".into());
            }
        }
    }

    /// Every request row has its place in the order of forgetting, and no other.
    fn check_requests(&self, broken: &mut Vec<String>) {
        for ((space, id), expires_at_ns) in &self.requests {
            let key = (*space, id.clone(), *expires_at_ns);
            if !self.expiries.contains(&key) {
                broken.push(format!("request {id} will never be forgotten"));
            }
        }
        for (_, id, expires_at_ns) in &self.expiries {
            if *expires_at_ns < self.forget_from_ns {
                broken.push(format!("request {id} is below the time to forget from"));
            }
        }
        if self.expiries.len() != self.requests.len() {
            broken.push("there are expiries of requests that are not".into());
        }
    }
}

fn waits_well(body: &TaskBody, status: Option<&TaskStatus>, due: &DueRow) -> bool {
    let at_its_place = match status {
        None => due.due_at_ns == body.due_at_ns,
        Some(status) => {
            status.phase
                == Phase::Waiting {
                    due_at_ns: due.due_at_ns,
                }
                && due.due_at_ns >= body.due_at_ns
                && copies(body, status)
        }
    };
    at_its_place
        && due.touched == status.is_some()
        && due.bytes == body.bytes()
        && due.rank == rank(body.priority)
}

fn is_leased_until(body: &TaskBody, status: Option<&TaskStatus>, until_ns: u64) -> bool {
    status.is_some_and(|status| {
        matches!(status.phase, Phase::Leased { deadline_ns, .. } if deadline_ns == until_ns)
            && copies(body, status)
    })
}

/// Whether what the status repeats of the body is the same.
fn copies(body: &TaskBody, status: &TaskStatus) -> bool {
    (status.first_due_at_ns, status.priority, status.bytes)
        == (body.due_at_ns, body.priority, body.bytes())
}
