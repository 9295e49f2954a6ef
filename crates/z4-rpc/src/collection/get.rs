//! GetTask: linearizable at every peer.

use z4_core::state::find_task;
use z4_core::{Namespace, TaskId, View};
use z4_proto::generated::collection::{GetTaskRequest, Task};

use crate::convert;
use crate::errors::Error;
use crate::node::Node;
use crate::reading;
use crate::validate;

/// Waits until this peer has applied what was acknowledged anywhere before the
/// call, then reads here.
pub(super) async fn get<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &GetTaskRequest,
) -> Result<Task, Error> {
    let (namespace, id) = validate::get(request)?;
    let found = find(node, &namespace, id).await?;
    found.ok_or_else(|| missing(&namespace, id))
}

/// The task as it is now; `None`: there is none.
pub(super) async fn find<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    id: TaskId,
) -> Result<Option<Task>, Error> {
    let name = namespace.clone();
    let found = reading::latest(node, move |view| find_task(view, &name, id)).await?;
    Ok(found.map(|(body, status)| convert::task_with_status(namespace, id, body, status)))
}

/// What is said of a task that is not there.
pub(super) fn missing(namespace: &Namespace, id: TaskId) -> Error {
    Error::not_found(format!(
        "task_id {id} is not in namespace {namespace}: it was never there, or is done, cancelled \
         or purged"
    ))
}
