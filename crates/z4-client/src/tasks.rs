//! Calls about tasks: creating, reading, changing what waits.

use std::time::{Duration, SystemTime};

use z4_proto::collection::{
    CancelTaskRequest, CreateTaskResponse, CreateTasksRequest, GetTaskRequest,
    RescheduleTaskRequest, RunTaskRequest,
};

use crate::client::Client;
use crate::convert;
use crate::error::{Error, ErrorKind};
use crate::retry::Repeat;
use crate::task::{NewTask, Task};

/// A new due time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// At this time; at once, if it is past.
    At(SystemTime),
    /// So long from now, by the cluster's clock.
    After(Duration),
}

impl Client {
    /// Creates a task; answers when a quorum has it on stable storage. Repeated
    /// until the time is up, also when an outcome is not known: the request id
    /// makes one task of all tries.
    ///
    /// # Errors
    /// `InvalidArgument`, `AlreadyExists` for a request id with other content,
    /// `Exhausted` at a limit of the namespace. When [`Error::may_be_done`] says so
    /// it may have been created: look, or try again with the same request id.
    pub async fn create(&self, task: NewTask) -> Result<Task, Error> {
        let request = task.identified(|| self.next_id());
        let answer = self
            .peers
            .ask(Repeat::Identified, self.timeout(), |peer, option| {
                peer.collection.create_task_async_opt(&request, option)
            })
            .await?;
        self.created(answer.value)
    }

    /// Creates a task; answers when the leader has taken it in, which is sooner.
    /// It may be lost with the leader.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn create_unsynced(&self, task: NewTask) -> Result<Task, Error> {
        let request = task.identified(|| self.next_id());
        let answer = self
            .peers
            .ask(Repeat::Identified, self.timeout(), |peer, option| {
                // The generator's name for CreateTaskAsync.
                peer.collection
                    .create_task_async_async_opt(&request, option)
            })
            .await?;
        self.created(answer.value)
    }

    fn created(&self, mut answer: CreateTaskResponse) -> Result<Task, Error> {
        if !answer.get_forwarded_to().is_empty() {
            self.peers.look_for_leader();
        }
        convert::given(answer.task.take().into(), "task").map(Task::from)
    }

    /// Creates all tasks of a batch or none: 1 to 10,000 of one namespace,
    /// together at most 8 MiB. Their own namespaces and request ids must be
    /// those of the batch or empty. Without `request_id` one is made up, for
    /// retries within this call.
    ///
    /// Gives them in the order of the batch, without metadata and payload.
    ///
    /// # Errors
    /// As [`Client::create`].
    pub async fn create_batch(
        &self,
        namespace: &str,
        tasks: Vec<NewTask>,
        request_id: Option<&str>,
    ) -> Result<Vec<Task>, Error> {
        let mut request = CreateTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_request_id(request_id.map_or_else(|| self.next_id(), str::to_owned));
        request.set_tasks(tasks.into_iter().map(NewTask::into_wire).collect());
        let mut answer = self
            .peers
            .ask(Repeat::Identified, self.timeout(), |peer, option| {
                peer.collection.create_tasks_async_opt(&request, option)
            })
            .await?
            .value;
        if !answer.get_forwarded_to().is_empty() {
            self.peers.look_for_leader();
        }
        Ok(answer.take_tasks().into_iter().map(Task::from).collect())
    }

    /// The task of an id, in any state until it is removed. It holds everything
    /// that was acknowledged before.
    ///
    /// # Errors
    /// `NotFound` when it is done, cancelled, purged, or was never there.
    pub async fn get(&self, namespace: &str, task_id: &str) -> Result<Task, Error> {
        let mut request = GetTaskRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(task_id.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.collection.get_task_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Removes a task that waits; the task as it was.
    ///
    /// # Errors
    /// `FailedPrecondition` when it is leased or a dead letter, `NotFound` when it
    /// is not there, `Unknown` when it was not there at a later try and an
    /// earlier one, whose answer was lost, may have removed it.
    pub async fn cancel(&self, namespace: &str, task_id: &str) -> Result<Task, Error> {
        let mut request = CancelTaskRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(task_id.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.cancel_task_async_opt(&request, option)
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.value.into()),
            Err(error) if error.kind() == ErrorKind::NotFound && error.may_be_done() => {
                Err(Error::new(ErrorKind::Unknown, error.message()).in_doubt())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a task that waits another due time; the task as it is now.
    ///
    /// # Errors
    /// `FailedPrecondition` when it is leased or a dead letter, `NotFound`.
    pub async fn reschedule(
        &self,
        namespace: &str,
        task_id: &str,
        due: Due,
    ) -> Result<Task, Error> {
        let mut request = RescheduleTaskRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(task_id.to_owned());
        match due {
            Due::At(time) => request.set_deliver_at(convert::wire_time(time)),
            Due::After(span) => request.set_tts(convert::wire_span(span)),
        }
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.reschedule_task_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Makes a task that waits due now; the task as it is now.
    ///
    /// # Errors
    /// `FailedPrecondition` when it is leased or a dead letter, `NotFound`.
    pub async fn run_now(&self, namespace: &str, task_id: &str) -> Result<Task, Error> {
        let mut request = RunTaskRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(task_id.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.run_task_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }
}
