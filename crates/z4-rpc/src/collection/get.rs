//! GetTask: linearizable at every peer.

use z4_core::state::find_task;
use z4_core::View;
use z4_proto::generated::collection::{GetTaskRequest, Task};

use futures::channel::oneshot;

use crate::convert;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::validate;

/// Waits until this peer has applied what was acknowledged anywhere before the
/// call, then reads here.
pub(super) async fn get<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &GetTaskRequest,
) -> Result<Task, Error> {
    let (namespace, id) = validate::get(request)?;
    let (tx, rx) = oneshot::channel();
    node.handle()
        .read_index(limits::UNARY_TIMEOUT, move |read| {
            // The asker may have left.
            let _ = tx.send(read);
        });
    let stopping = |_| Error::Unavailable("this peer is shutting down".into());
    rx.await.map_err(stopping)??;
    let view = node.view().clone();
    let name = namespace.clone();
    let found = node
        .readers()
        .run(move || find_task(&view, &name, id))
        .await?
        .map_err(|e| Error::Internal(format!("the task state cannot be read: {e}")))?;
    match found {
        Some((body, _)) => Ok(convert::task(&namespace, id, body)),
        None => Err(Error::not_found(format!(
            "task_id {id} is not in namespace {namespace}: it was never there, or is done"
        ))),
    }
}
