//! Calls about many tasks, and about why one is not running: list, dead letters,
//! explain.

use std::time::SystemTime;

use z4_proto::collection::{
    self as wire, ExplainTaskRequest, ListTasksRequest, PurgeTasksRequest, RedriveTasksRequest,
};

use crate::client::Client;
use crate::convert;
use crate::error::Error;
use crate::limits;
use crate::retry::Repeat;
use crate::task::{DeathReason, Task, TaskState};

/// Which tasks to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListQuery {
    /// The namespace whose tasks are listed.
    pub namespace: String,
    /// The state of the tasks; `None`: any.
    pub state: Option<TaskState>,
    /// The earliest time at which the tasks are due (the dead: died).
    pub from: Option<SystemTime>,
    /// The time before which the tasks are due (the dead: died).
    pub to: Option<SystemTime>,
    /// The most tasks of a page, up to 1,000; 0: 100.
    pub page_size: u32,
    /// The token from the page before; empty: the first page.
    pub page_token: String,
    /// Whether the tasks come with metadata and payload.
    pub with_body: bool,
}

/// A part of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// What the page holds: it may be less than was asked for, and nothing, although
    /// there is a next page.
    pub items: Vec<T>,
    /// Where the next page begins; `None`: this was the last one.
    pub next: Option<String>,
}

/// Which dead letters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadFilter {
    /// The ids of the dead letters; none: all that the other fields take.
    pub task_ids: Vec<String>,
    /// The earliest time of death.
    pub from: Option<SystemTime>,
    /// The time before which they died.
    pub to: Option<SystemTime>,
    /// The reason of their death; `None`: any.
    pub reason: Option<DeathReason>,
    /// The most dead letters that are taken, oldest first; 0: all.
    pub limit: u64,
}

impl DeadFilter {
    /// A limited call that is repeated would take as many again.
    fn repeat(&self) -> Repeat {
        match self.limit > 0 && self.task_ids.is_empty() {
            true => Repeat::Never,
            false => Repeat::Safe,
        }
    }
}

/// How far a change of dead letters came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadChange {
    /// Dead letters that were redriven or purged.
    pub count: u64,
    /// Whether some may be left: the time of one call, the limit, or the namespace's limit
    /// on pending tasks was reached. Call again.
    pub more: bool,
}

/// What kind of thing keeps a task from running.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ReasonKind {
    /// The peer is newer than this client.
    Other,
    /// Its time has not come.
    NotDue,
    /// It failed, and waits before the next try.
    Backoff,
    /// Its namespace is paused.
    Paused,
    /// Its namespace is at its rate of deliveries.
    RateLimit,
    /// A consumer holds it.
    Leased,
    /// Its namespace has as many live leases as it may.
    LeasedMax,
    /// No consumer asks for tasks of its namespace.
    NoConsumer,
    /// All consumers have their hands full.
    NoCredit,
    /// Others are before it.
    Behind,
    /// It is a dead letter.
    Dead,
    /// Its namespace is being removed.
    Deleting,
}

impl ReasonKind {
    fn of_wire(kind: wire::ReasonKind) -> Self {
        use wire::ReasonKind as W;
        match kind {
            W::REASON_KIND_UNSPECIFIED => Self::Other,
            W::REASON_KIND_NOT_DUE => Self::NotDue,
            W::REASON_KIND_BACKOFF => Self::Backoff,
            W::REASON_KIND_PAUSED => Self::Paused,
            W::REASON_KIND_RATE_LIMIT => Self::RateLimit,
            W::REASON_KIND_LEASED => Self::Leased,
            W::REASON_KIND_LEASED_MAX => Self::LeasedMax,
            W::REASON_KIND_NO_CONSUMER => Self::NoConsumer,
            W::REASON_KIND_NO_CREDIT => Self::NoCredit,
            W::REASON_KIND_BEHIND => Self::Behind,
            W::REASON_KIND_DEAD => Self::Dead,
            W::REASON_KIND_DELETING => Self::Deleting,
        }
    }
}

/// One thing that keeps a task from running.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// What kind of thing.
    pub kind: ReasonKind,
    /// For a person, with numbers.
    pub message: String,
    /// When it ends, as far as is known.
    pub until: Option<SystemTime>,
    /// Since when, as far as is known.
    pub since: Option<SystemTime>,
    /// Consumers, leases or tasks before it, as the kind says.
    pub count: u64,
}

/// Why a task is not running.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The task, without metadata and payload.
    pub task: Task,
    /// What keeps it; none: it is due, and its turn comes.
    pub reasons: Vec<Reason>,
}

impl Client {
    /// A page of the tasks of a namespace: in the order of creation; dead
    /// letters, when they are asked for, in the order of death.
    ///
    /// # Errors
    /// `InvalidArgument` also for a token of another query, `NotFound` for a
    /// namespace that is not there.
    pub async fn list(&self, query: &ListQuery) -> Result<Page<Task>, Error> {
        let mut request = ListTasksRequest::default();
        request.set_namespace(query.namespace.clone());
        request.set_state(TaskState::wire(query.state));
        request.from = query.from.map(convert::wire_time).into();
        request.to = query.to.map(convert::wire_time).into();
        request.set_page_size(query.page_size);
        request.set_page_token(query.page_token.clone());
        request.set_with_body(query.with_body);
        if query.with_body {
            request.set_answer_bytes_max(limits::MESSAGE_LEN_MAX as u32);
        }
        let mut answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.collection.list_tasks_async_opt(&request, option)
            })
            .await?
            .value;
        let next = answer.take_next_page_token();
        Ok(Page {
            items: answer.take_tasks().into_iter().map(Task::from).collect(),
            next: (!next.is_empty()).then_some(next),
        })
    }

    /// Has dead letters tried again; says how many, and whether more are left. With
    /// `keep_attempts` their failures stay counted: one that used up its attempts
    /// has one more.
    ///
    /// Not repeated with a limit and no ids: the first try may have counted.
    ///
    /// # Errors
    /// `NotFound` for a namespace that is not there.
    pub async fn redrive(
        &self,
        namespace: &str,
        filter: &DeadFilter,
        keep_attempts: bool,
    ) -> Result<DeadChange, Error> {
        let mut request = RedriveTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_ids(filter.task_ids.clone().into());
        request.from = filter.from.map(convert::wire_time).into();
        request.to = filter.to.map(convert::wire_time).into();
        request.set_reason(DeathReason::wire(filter.reason));
        request.set_limit(filter.limit);
        request.set_keep_attempts(keep_attempts);
        let answer = self
            .peers
            .ask(filter.repeat(), self.timeout(), |peer, option| {
                peer.collection.redrive_tasks_async_opt(&request, option)
            })
            .await?;
        Ok(DeadChange {
            count: answer.value.get_redriven(),
            more: answer.value.get_more(),
        })
    }

    /// Removes dead letters; says how many, and whether more are left.
    ///
    /// Not repeated with a limit and no ids: the first try may have counted.
    ///
    /// # Errors
    /// `NotFound` for a namespace that is not there.
    pub async fn purge(&self, namespace: &str, filter: &DeadFilter) -> Result<DeadChange, Error> {
        let mut request = PurgeTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_ids(filter.task_ids.clone().into());
        request.from = filter.from.map(convert::wire_time).into();
        request.to = filter.to.map(convert::wire_time).into();
        request.set_reason(DeathReason::wire(filter.reason));
        request.set_limit(filter.limit);
        let answer = self
            .peers
            .ask(filter.repeat(), self.timeout(), |peer, option| {
                peer.collection.purge_tasks_async_opt(&request, option)
            })
            .await?;
        Ok(DeadChange {
            count: answer.value.get_purged(),
            more: answer.value.get_more(),
        })
    }

    /// Why a task is not running.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    pub async fn explain(&self, namespace: &str, task_id: &str) -> Result<Explanation, Error> {
        let mut request = ExplainTaskRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(task_id.to_owned());
        let mut answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.collection.explain_task_async_opt(&request, option)
            })
            .await?
            .value;
        let reason = |mut reason: wire::Reason| Reason {
            kind: ReasonKind::of_wire(reason.get_kind()),
            until: convert::time(&reason.until),
            since: convert::time(&reason.since),
            count: reason.get_count(),
            message: reason.take_message(),
        };
        Ok(Explanation {
            reasons: answer.take_reasons().into_iter().map(reason).collect(),
            task: convert::given(answer.task, "task")?.into(),
        })
    }
}
