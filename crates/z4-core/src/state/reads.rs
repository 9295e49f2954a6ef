//! Reads for those who hold a view but no machine.

use super::{NamespaceRow, Row, RowKey, StateError, View};
use crate::task::{Namespace, TaskBody, TaskId, TaskStatus};

/// The row of a namespace, or `None` when it has never had a task.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find_namespace(
    view: &(impl View + ?Sized),
    name: &Namespace,
) -> Result<Option<NamespaceRow>, StateError> {
    match view.get(&RowKey::Namespace(name.clone()))? {
        Some(Row::Namespace(row)) => Ok(Some(row)),
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
    let body = match view.get(&RowKey::Body(row.id, id))? {
        Some(Row::Body(body)) => body,
        Some(_) => {
            return Err(StateError(format!(
                "the body of task {id} is of another kind"
            )))
        }
        None => return Ok(None),
    };
    match view.get(&RowKey::Status(row.id, id))? {
        Some(Row::Status(status)) => Ok(Some((body, Some(status)))),
        Some(_) => Err(StateError(format!(
            "the status of task {id} is of another kind"
        ))),
        None => Ok(Some((body, None))),
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
    let Some(row) = find_namespace(view, name)? else {
        return Ok(None);
    };
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
