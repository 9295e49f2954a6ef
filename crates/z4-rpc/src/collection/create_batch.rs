//! CreateTasks: all tasks of a batch or none.

use std::time::Duration;

use z4_core::View;
use z4_proto::generated::collection::{CreateTasksRequest, CreateTasksResponse};

use super::create::store;
use crate::errors::Error;
use crate::node::Node;
use crate::propose::Until;
use crate::validate;

/// Creates a batch. The answer leaves metadata and payloads out.
pub(super) async fn create_batch<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: CreateTasksRequest,
    timeout: Duration,
) -> Result<CreateTasksResponse, Error> {
    let create = validate::create_batch(request)?;
    let mut stored = store(node, create, Until::Applied, timeout).await?;
    for task in &mut stored.tasks {
        task.clear_metadata();
        task.clear_payload();
    }
    let mut response = CreateTasksResponse::default();
    response.set_tasks(stored.tasks.into());
    response.set_forwarded_to(stored.forwarded_to);
    Ok(response)
}
