//! CreateTasks: all tasks of a batch or none.

use std::time::Duration;

use z4_core::command::Command;
use z4_core::{Outcome, View};
use z4_proto::encode_command;
use z4_proto::generated::collection::{CreateTasksRequest, CreateTasksResponse};

use super::create::answer;
use crate::convert::timestamp;
use crate::errors::Error;
use crate::node::Node;
use crate::propose::{Proposed, Request, Until};
use crate::repeat::unexpected;
use crate::validate;

/// Creates a batch. The answer leaves metadata and payloads out.
pub(super) async fn create_batch<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: CreateTasksRequest,
    timeout: Duration,
) -> Result<CreateTasksResponse, Error> {
    let command = validate::create_batch(request)?;
    let Command::CreateTasks(create) = &command else {
        return Err(Error::Internal("a batch made another command".into()));
    };
    let request = Request {
        command: encode_command(&command),
        units: command.units(),
        idempotent: !create.request_id.is_empty(),
        until: Until::Applied,
    };
    let done = node.propose(request, timeout).await?;
    let created = match done.proposed {
        Proposed::Applied(Outcome::Created(tasks)) => tasks,
        Proposed::Applied(Outcome::Refused(refusal)) => return Err(refusal.into()),
        other => return Err(unexpected(other)),
    };
    if created.len() != create.tasks.len() {
        return Err(unexpected(format!("{} tasks", created.len())));
    }
    node.network()
        .metrics()
        .created
        .inc_by(created.len() as u64);
    let Command::CreateTasks(create) = command else {
        return Err(Error::Internal("a batch made another command".into()));
    };
    let mut response = CreateTasksResponse::default();
    let namespace = create.namespace.as_str();
    for (new, created) in create.tasks.into_iter().zip(created) {
        let deliver_at = timestamp(created.deliver_at);
        let mut task = answer(namespace.to_owned(), new, created.id, deliver_at);
        task.clear_metadata();
        task.clear_payload();
        response.mut_tasks().push(task);
    }
    response.set_forwarded_to(done.forwarded_to);
    Ok(response)
}
