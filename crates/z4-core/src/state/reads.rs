//! Reads for those who hold a view but no machine.

use super::{NamespaceRow, Row, RowKey, StateError, View};
use crate::access::{Principal, PrincipalName};
use crate::task::{Namespace, NamespaceId, TaskBody, TaskId, TaskStatus};

/// The row of a namespace, or `None` when it has never had a task.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find_namespace(
    view: &(impl View + ?Sized),
    name: &Namespace,
) -> Result<Option<NamespaceRow>, StateError> {
    match view.get(&RowKey::Namespace(name.clone()))? {
        Some(Row::Namespace(row)) => Ok(Some(*row)),
        Some(_) => Err(StateError(format!(
            "the row of namespace {name} is of another kind"
        ))),
        None => Ok(None),
    }
}

/// A task that is not gone, with its status if it was ever leased or moved.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find_task(
    view: &(impl View + ?Sized),
    name: &Namespace,
    id: TaskId,
) -> Result<Option<(TaskBody, Option<TaskStatus>)>, StateError> {
    let Some(row) = find_namespace(view, name)? else {
        return Ok(None);
    };
    // The view may move on between the two. A body is there until the task is
    // gone: who has one now and had no status before was untouched then.
    let status = find_status(view, row.id, id)?;
    let body = find_body(view, row.id, id)?;
    Ok(body.map(|body| (body, status)))
}

/// What was stored of a task that is not gone.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find_body(
    view: &(impl View + ?Sized),
    namespace: NamespaceId,
    id: TaskId,
) -> Result<Option<TaskBody>, StateError> {
    match view.get(&RowKey::Body(namespace, id))? {
        Some(Row::Body(body)) => Ok(Some(body)),
        Some(_) => Err(StateError(format!(
            "the body of task {id} is of another kind"
        ))),
        None => Ok(None),
    }
}

/// Where a task stands that was leased or moved and is not gone.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find_status(
    view: &(impl View + ?Sized),
    namespace: NamespaceId,
    id: TaskId,
) -> Result<Option<TaskStatus>, StateError> {
    match view.get(&RowKey::Status(namespace, id))? {
        Some(Row::Status(status)) => Ok(Some(status)),
        Some(_) => Err(StateError(format!(
            "the status of task {id} is of another kind"
        ))),
        None => Ok(None),
    }
}

/// A principal, or `None` when there is none of this name.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find_principal(
    view: &(impl View + ?Sized),
    name: &PrincipalName,
) -> Result<Option<Principal>, StateError> {
    match view.get(&RowKey::Principal(name.clone()))? {
        Some(Row::Principal(principal)) => Ok(Some(*principal)),
        Some(_) => Err(StateError(format!(
            "the row of principal {name} is of another kind"
        ))),
        None => Ok(None),
    }
}

/// All principals, in the order of their names.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn principals(
    view: &(impl View + ?Sized),
) -> Result<Vec<(PrincipalName, Principal)>, StateError> {
    let mut all = Vec::new();
    let (from, to) = RowKey::principals();
    view.scan(&from, &to, &mut |key, row| {
        if let (RowKey::Principal(name), Row::Principal(principal)) = (key, row) {
            all.push((name, *principal));
        }
        true
    })?;
    Ok(all)
}

/// Machine time in nanoseconds: the greatest stamp applied; 0 before the first.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn machine_ns(view: &(impl View + ?Sized)) -> Result<u64, StateError> {
    match view.get(&RowKey::Meta)? {
        Some(Row::Meta(meta)) => Ok(meta.stamp_ns),
        Some(_) => Err(StateError("the meta row is of another kind".into())),
        None => Ok(0),
    }
}

/// The earliest due time of a waiting task, in machine nanoseconds, that is
/// above `after_ns` (any, when that is `None`).
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn due_next_after(
    view: &(impl View + ?Sized),
    name: &Namespace,
    after_ns: Option<u64>,
) -> Result<Option<u64>, StateError> {
    match find_namespace(view, name)? {
        Some(row) => due_next_of(view, &row, after_ns),
        None => Ok(None),
    }
}

/// As [`due_next_after`], for who has the namespace's row already.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn due_next_of(
    view: &(impl View + ?Sized),
    row: &NamespaceRow,
    after_ns: Option<u64>,
) -> Result<Option<u64>, StateError> {
    let floor = match after_ns {
        None => (0, TaskId::default()),
        Some(u64::MAX) => return Ok(None),
        Some(after_ns) => (after_ns + 1, TaskId::default()),
    };
    let mut earliest: Option<u64> = None;
    for (rank, head) in (0u8..).zip(&row.queues) {
        let (due_at_ns, id) = head.cursor.max(floor);
        if head.count == 0 || earliest.is_some_and(|found| found <= due_at_ns) {
            continue;
        }
        let from = RowKey::Due {
            namespace: row.id,
            rank,
            due_at_ns,
            id,
        };
        let to = RowKey::queue_end(row.id, rank);
        view.scan(&from, &to, &mut |key, _| {
            if let RowKey::Due { due_at_ns, .. } = key {
                earliest = Some(earliest.map_or(due_at_ns, |found| found.min(due_at_ns)));
            }
            false
        })?;
    }
    Ok(earliest)
}
