//! Tasks as they are and as they are asked for.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use z4_proto::collection::{self as wire, CreateTaskRequest};

use crate::convert;

/// Where a task stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TaskState {
    /// Waits: for its time, or for a consumer.
    Scheduled,
    /// Held by a consumer.
    Leased,
    /// A dead letter.
    Dead,
}

impl TaskState {
    pub(crate) fn of_wire(state: wire::TaskState) -> Option<Self> {
        match state {
            wire::TaskState::TASK_STATE_UNSPECIFIED => None,
            wire::TaskState::TASK_STATE_SCHEDULED => Some(Self::Scheduled),
            wire::TaskState::TASK_STATE_LEASED => Some(Self::Leased),
            wire::TaskState::TASK_STATE_DEAD => Some(Self::Dead),
        }
    }

    pub(crate) fn wire(state: Option<Self>) -> wire::TaskState {
        match state {
            None => wire::TaskState::TASK_STATE_UNSPECIFIED,
            Some(Self::Scheduled) => wire::TaskState::TASK_STATE_SCHEDULED,
            Some(Self::Leased) => wire::TaskState::TASK_STATE_LEASED,
            Some(Self::Dead) => wire::TaskState::TASK_STATE_DEAD,
        }
    }
}

/// Why a task is a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DeathReason {
    /// It failed as often as it may.
    Attempts,
    /// It waited longer than its time to live.
    Ttl,
    /// A consumer said that no try will ever succeed.
    Permanent,
}

impl DeathReason {
    pub(crate) fn of_wire(reason: wire::DeathReason) -> Option<Self> {
        match reason {
            wire::DeathReason::DEATH_REASON_UNSPECIFIED => None,
            wire::DeathReason::DEATH_REASON_ATTEMPTS => Some(Self::Attempts),
            wire::DeathReason::DEATH_REASON_TTL => Some(Self::Ttl),
            wire::DeathReason::DEATH_REASON_PERMANENT => Some(Self::Permanent),
        }
    }

    pub(crate) fn wire(reason: Option<Self>) -> wire::DeathReason {
        match reason {
            None => wire::DeathReason::DEATH_REASON_UNSPECIFIED,
            Some(Self::Attempts) => wire::DeathReason::DEATH_REASON_ATTEMPTS,
            Some(Self::Ttl) => wire::DeathReason::DEATH_REASON_TTL,
            Some(Self::Permanent) => wire::DeathReason::DEATH_REASON_PERMANENT,
        }
    }
}

/// A task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Task {
    /// Given by the cluster; 26 characters.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// Pairs that the producer gave; empty where they are left out.
    pub metadata: BTreeMap<String, String>,
    /// What the producer gave; empty where it is left out.
    pub payload: Vec<u8>,
    /// The time that was asked for.
    pub deliver_at: Option<SystemTime>,
    /// By the cluster's clock.
    pub created_at: Option<SystemTime>,
    /// `None`: the peer does not say.
    pub state: Option<TaskState>,
    /// 0 to 9, higher first among due tasks.
    pub priority: u32,
    /// Which try a consumer is at, or will be, from 1.
    pub attempt: u32,
    /// Failures that make it a dead letter; 0: the namespace's setting.
    pub max_attempts: u32,
    /// What the last failure said; empty when there was none.
    pub last_error: String,
    /// When its lease ends, while it is leased.
    pub lease_deadline: Option<SystemTime>,
    /// How long it may wait beyond its due time; `None`: for ever.
    pub ttl: Option<Duration>,
    /// How often it was handed to a consumer.
    pub deliveries: u32,
    /// Nacks and expired leases.
    pub failures: u32,
    /// Who holds it, while it is leased.
    pub consumer_id: String,
    /// When it is next due, a backoff included, while it waits.
    pub due_at: Option<SystemTime>,
    /// Why it is a dead letter, when it is one.
    pub death_reason: Option<DeathReason>,
    /// When it died.
    pub died_at: Option<SystemTime>,
    /// Bytes of payload and metadata, also where these are left out.
    pub size_bytes: u64,
}

impl From<wire::Task> for Task {
    fn from(mut task: wire::Task) -> Self {
        Self {
            deliver_at: convert::time(&task.deliver_at),
            created_at: convert::time(&task.created_at),
            state: TaskState::of_wire(task.get_state()),
            priority: task.get_priority(),
            attempt: task.get_attempt(),
            max_attempts: task.get_max_attempts(),
            lease_deadline: convert::time(&task.lease_deadline),
            ttl: convert::span(&task.ttl),
            deliveries: task.get_deliveries(),
            failures: task.get_failures(),
            due_at: convert::time(&task.due_at),
            death_reason: DeathReason::of_wire(task.get_death_reason()),
            died_at: convert::time(&task.died_at),
            size_bytes: task.get_size_bytes(),
            id: task.take_id(),
            namespace: task.take_namespace(),
            metadata: task.take_metadata().into_iter().collect(),
            payload: task.take_payload(),
            last_error: task.take_last_error(),
            consumer_id: task.take_consumer_id(),
        }
    }
}

/// A task that is to be. Due at once unless [`NewTask::at`] or [`NewTask::after`]
/// say otherwise.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use z4_client::NewTask;
///
/// let reminder = NewTask::new("reminders", "call Ada")
///     .after(Duration::from_secs(3600))
///     .metadata("language", "en")
///     .priority(7)
///     .max_attempts(5)
///     .request_id("order-4711-reminder");
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct NewTask {
    request: CreateTaskRequest,
}

impl NewTask {
    /// A task of `namespace` (1 to 128 of `A-Z a-z 0-9 . _ -`) with a payload of
    /// at most 1 MiB.
    #[must_use]
    pub fn new(namespace: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        let mut request = CreateTaskRequest::default();
        request.set_namespace(namespace.into());
        request.set_payload(payload.into());
        Self { request }
    }

    /// Due at this time; at once, if it is past.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        self.request.set_deliver_at(convert::wire_time(time));
        self.request.set_tts_seconds(0);
        self
    }

    /// Due after this span. Whole seconds count from the cluster's clock, any
    /// other span from the clock of this machine.
    #[must_use]
    pub fn after(mut self, span: Duration) -> Self {
        self.request.clear_deliver_at();
        self.request.set_tts_seconds(0);
        match i64::try_from(span.as_secs()) {
            Ok(seconds) if span.subsec_nanos() == 0 => self.request.set_tts_seconds(seconds),
            _ => match SystemTime::now().checked_add(span) {
                Some(time) => self.request.set_deliver_at(convert::wire_time(time)),
                // Beyond every limit: the peer says so.
                None => self.request.set_tts_seconds(i64::MAX),
            },
        }
        self
    }

    /// Adds a pair; all together at most 64 KiB.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.mut_metadata().insert(key.into(), value.into());
        self
    }

    /// 0 to 9, higher first among due tasks; 5 unless given.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.request.mut_priority().set_value(priority);
        self
    }

    /// Failures that send it to the dead letters; 0: the namespace's setting.
    #[must_use]
    pub fn max_attempts(mut self, count: u32) -> Self {
        self.request.set_max_attempts(count);
        self
    }

    /// How long after its due time it may wait before it is a dead letter.
    #[must_use]
    pub fn ttl(mut self, span: Duration) -> Self {
        self.request.set_ttl(convert::wire_span(span));
        self
    }

    /// Makes creating it idempotent, also between processes, within the
    /// namespace's dedupe window (10 minutes unless set): the same id and
    /// content give the first task, other content is `AlreadyExists`. The client
    /// makes one up where none is given, for its own retries.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request.set_request_id(id.into());
        self
    }

    /// Bytes of payload and metadata.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let pairs = self.request.get_metadata().iter();
        let metadata: usize = pairs.map(|(k, v)| k.len() + v.len()).sum();
        self.request.get_payload().len() + metadata
    }

    pub(crate) fn into_wire(self) -> CreateTaskRequest {
        self.request
    }

    /// The request, with an id of its own where none was given.
    pub(crate) fn identified(mut self, make_up: impl FnOnce() -> String) -> CreateTaskRequest {
        if self.request.get_request_id().is_empty() {
            self.request.set_request_id(make_up());
        }
        self.request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_count_from_the_clock_of_the_cluster() {
        let task = NewTask::new("ns", "x").after(Duration::from_secs(90));
        let request = task.into_wire();
        assert_eq!(request.get_tts_seconds(), 90);
        assert!(!request.has_deliver_at());
        let task = NewTask::new("ns", "x").after(Duration::from_millis(1_500));
        let request = task.into_wire();
        assert_eq!(request.get_tts_seconds(), 0);
        assert!(request.has_deliver_at());
    }

    #[test]
    fn the_later_of_two_times_counts() {
        let task = NewTask::new("ns", "x").after(Duration::from_secs(9));
        let request = task.at(SystemTime::UNIX_EPOCH).into_wire();
        assert_eq!(request.get_tts_seconds(), 0);
        assert!(request.has_deliver_at());
    }

    #[test]
    fn an_id_that_is_given_is_kept() {
        let task = NewTask::new("ns", "x").request_id("mine");
        let request = task.identified(|| "made up".into());
        assert_eq!(request.get_request_id(), "mine");
        let request = NewTask::new("ns", "x").identified(|| "made up".into());
        assert_eq!(request.get_request_id(), "made up");
    }

    #[test]
    fn a_priority_of_0_is_one() {
        let request = NewTask::new("ns", "x").priority(0).into_wire();
        assert!(request.has_priority());
        assert!(!NewTask::new("ns", "x").into_wire().has_priority());
    }
}
