//! Bodies of granted tasks, read on a reader thread from this peer's own state.

use std::borrow::Borrow;

use z4_core::command::Grant;
use z4_core::state::{find_task, StateError};
use z4_core::task::TaskStatus;
use z4_core::{Namespace, TaskBody, View};

use crate::errors::Error;
use crate::limits;
use crate::node::Node;

/// Grants with what is written of their tasks, and those that were left for the
/// next time because of their size.
pub(super) struct Read<G, T> {
    /// No task: it is gone, or with somebody else.
    pub(super) found: Vec<(G, Option<T>)>,
    pub(super) left: Vec<G>,
}

/// Reads the tasks of `grants`, and makes of each what is to be written.
pub(super) async fn read<V, G, T>(
    node: Node<V>,
    namespace: Namespace,
    grants: Vec<G>,
    make: impl Fn(&Namespace, &G, TaskBody, Option<TaskStatus>) -> Option<T> + Send + 'static,
) -> Result<Read<G, T>, Error>
where
    V: View + Clone + Send + Sync + 'static,
    G: Borrow<Grant> + Send + 'static,
    T: Send + 'static,
{
    let view = node.view().clone();
    let read = move || {
        let (mut found, mut left, mut bytes) = (Vec::new(), Vec::new(), 0);
        for grant in grants {
            if bytes >= limits::STREAM_READ_BYTES_MAX as u64 {
                left.push(grant);
                continue;
            }
            let task = find_task(&view, &namespace, grant.borrow().id)?;
            let task = task.and_then(|(body, status)| {
                bytes += body.bytes();
                make(&namespace, &grant, body, status)
            });
            found.push((grant, task));
        }
        Ok(Read { found, left })
    };
    let read: Result<_, StateError> = node.readers().run(read).await?;
    read.map_err(unreadable)
}

/// What is said when the store fails.
pub(super) fn unreadable(error: StateError) -> Error {
    Error::Internal(format!("the task state cannot be read: {error}"))
}
