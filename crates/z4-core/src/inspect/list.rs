//! The tasks of a namespace, page by page. A page reads a bounded number of rows
//! and bytes, so it may hold fewer tasks than there are, or none, and still have
//! a next one.

use std::collections::BTreeMap;

use crate::machine::untouched;
use crate::state::{find_body, find_status, NamespaceRow, Row, RowKey, StateError, View};
use crate::task::{Phase, TaskBody, TaskId, TaskStatus};

/// Where a task can be, without the details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskKind {
    /// Waits for its time or for a consumer.
    Waiting,
    /// Held by a consumer.
    Leased,
    /// A dead letter.
    Dead,
}

impl TaskKind {
    /// That of a phase.
    #[must_use]
    pub fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Waiting { .. } => Self::Waiting,
            Phase::Leased { .. } => Self::Leased,
            Phase::Dead { .. } => Self::Dead,
        }
    }
}

/// Which tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TaskFilter {
    /// Where they are; `None`: anywhere.
    pub kind: Option<TaskKind>,
    /// Due (the dead: died) at or after this machine time, in nanoseconds.
    pub from_ns: u64,
    /// Due (the dead: died) before this machine time, in nanoseconds; `None`:
    /// whenever.
    pub to_ns: Option<u64>,
}

impl TaskFilter {
    fn takes(&self, status: &TaskStatus) -> bool {
        let at_ns = match status.phase {
            Phase::Waiting { due_at_ns } => due_at_ns,
            Phase::Leased { .. } => status.first_due_at_ns,
            Phase::Dead { at_ns, .. } => at_ns,
        };
        self.kind
            .is_none_or(|kind| kind == TaskKind::of(&status.phase))
            && at_ns >= self.from_ns
            && self.to_ns.is_none_or(|to_ns| at_ns < to_ns)
    }
}

/// A place in a listing: the time of death of a dead letter, when only the dead
/// are listed, else 0; and an id.
pub type Place = (u64, TaskId);

/// How much one page may hold and read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Most tasks; greater than 0.
    pub tasks: usize,
    /// Most rows that are read of each kind; greater than 0.
    pub rows: usize,
    /// Bytes of payload and metadata that are read; the task that reaches it is
    /// the last one.
    pub bytes: u64,
    /// Whether payload and metadata stay with the tasks. They are read all the
    /// same.
    pub with_body: bool,
}

/// A task of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Where it stands in the listing: a page that begins here begins with it.
    pub place: Place,
    /// The task.
    pub id: TaskId,
    /// What was stored; without payload and metadata unless asked for.
    pub body: TaskBody,
    /// Where it stands.
    pub status: TaskStatus,
}

/// A part of a listing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// In the order of creation; of death, when only the dead are listed.
    pub tasks: Vec<Listed>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<Place>,
}

/// The tasks of a namespace that a filter takes, from a place on.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn list(
    view: &impl View,
    row: &NamespaceRow,
    filter: &TaskFilter,
    from: Place,
    bounds: Bounds,
) -> Result<Page, StateError> {
    match filter.kind {
        Some(TaskKind::Dead) => list_dead(view, row, filter, from, bounds),
        Some(TaskKind::Leased) => list_leased(view, row, filter, from.1, bounds),
        Some(TaskKind::Waiting) | None => list_created(view, row, filter, from.1, bounds),
    }
}

/// All bodies, each with its status.
fn list_created(
    view: &impl View,
    row: &NamespaceRow,
    filter: &TaskFilter,
    from: TaskId,
    bounds: Bounds,
) -> Result<Page, StateError> {
    // Statuses first: who has a body and had no status before is untouched.
    let mut statuses = BTreeMap::new();
    let mut covered_to = None;
    let (first, end) = RowKey::statuses(row.id, from);
    view.scan(&first, &end, &mut |key, row| {
        if let (RowKey::Status(_, id), Row::Status(status)) = (key, row) {
            if statuses.len() == bounds.rows {
                covered_to = Some(id);
                return false;
            }
            statuses.insert(id, status);
        }
        true
    })?;
    let mut page = Page::default();
    let (mut rows, mut bytes) = (0, 0);
    let (first, end) = RowKey::bodies(row.id, from);
    view.scan(&first, &end, &mut |key, row| {
        let (RowKey::Body(_, id), Row::Body(body)) = (key, row) else {
            return true;
        };
        let full = page.tasks.len() == bounds.tasks || rows == bounds.rows;
        if full || bytes >= bounds.bytes || covered_to.is_some_and(|to| id >= to) {
            page.next = Some((0, id));
            return false;
        }
        rows += 1;
        let status = statuses.remove(&id).unwrap_or_else(|| untouched(&body));
        bytes += status.bytes;
        if filter.takes(&status) {
            page.tasks.push(listed((0, id), id, body, status, bounds));
        }
        true
    })?;
    Ok(page)
}

/// Only tasks with a status can be leased.
fn list_leased(
    view: &impl View,
    row: &NamespaceRow,
    filter: &TaskFilter,
    from: TaskId,
    bounds: Bounds,
) -> Result<Page, StateError> {
    let (mut found, mut rows, mut next) = (Vec::new(), 0, None);
    let (first, end) = RowKey::statuses(row.id, from);
    view.scan(&first, &end, &mut |key, row| {
        let (RowKey::Status(_, id), Row::Status(status)) = (key, row) else {
            return true;
        };
        if found.len() == bounds.tasks || rows == bounds.rows {
            next = Some((0, id));
            return false;
        }
        rows += 1;
        if filter.takes(&status) {
            found.push(((0, id), id, status));
        }
        true
    })?;
    with_bodies(view, row, found, next, bounds)
}

/// The index of the dead.
fn list_dead(
    view: &impl View,
    row: &NamespaceRow,
    filter: &TaskFilter,
    from: Place,
    bounds: Bounds,
) -> Result<Page, StateError> {
    let start = from
        .max(row.dead_from)
        .max((filter.from_ns, TaskId::default()));
    let (mut places, mut next) = (Vec::new(), None);
    let (first, end) = RowKey::dead_letters(row.id, start);
    view.scan(&first, &end, &mut |key, _| {
        let RowKey::Dead { at_ns, id, .. } = key else {
            return true;
        };
        if filter.to_ns.is_some_and(|to_ns| at_ns >= to_ns) {
            return false;
        }
        if places.len() == bounds.tasks.min(bounds.rows) {
            next = Some((at_ns, id));
            return false;
        }
        places.push((at_ns, id));
        true
    })?;
    let mut found = Vec::with_capacity(places.len());
    for (at_ns, id) in places {
        // It may have been redriven since, and be anything now.
        match find_status(view, row.id, id)? {
            Some(status) if filter.takes(&status) => found.push(((at_ns, id), id, status)),
            _ => {}
        }
    }
    with_bodies(view, row, found, next, bounds)
}

/// Reads bodies until they are too many bytes.
fn with_bodies(
    view: &impl View,
    row: &NamespaceRow,
    found: Vec<(Place, TaskId, TaskStatus)>,
    next: Option<Place>,
    bounds: Bounds,
) -> Result<Page, StateError> {
    let mut page = Page {
        tasks: Vec::with_capacity(found.len()),
        next,
    };
    let mut bytes = 0;
    for (place, id, status) in found {
        if bytes >= bounds.bytes {
            page.next = Some(place);
            return Ok(page);
        }
        // None: it has ended since.
        if let Some(body) = find_body(view, row.id, id)? {
            bytes += status.bytes;
            page.tasks.push(listed(place, id, body, status, bounds));
        }
    }
    Ok(page)
}

fn listed(
    place: Place,
    id: TaskId,
    mut body: TaskBody,
    status: TaskStatus,
    bounds: Bounds,
) -> Listed {
    if !bounds.with_body {
        body.metadata = Vec::new();
        body.payload = Vec::new();
    }
    Listed {
        place,
        id,
        body,
        status,
    }
}

#[cfg(test)]
mod tests;
