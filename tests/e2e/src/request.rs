//! Create requests, written shortly.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protobuf::well_known_types::Timestamp;
use z4_proto::generated::collection::{CreateTaskRequest, Task, TaskState};

/// A create of a task that is due at once.
#[must_use]
pub fn create(namespace: &str, payload: impl Into<Vec<u8>>) -> CreateTaskRequest {
    let mut request = CreateTaskRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_payload(payload.into());
    request
}

/// Adds one field to a request.
pub trait Edit: Sized {
    /// Sets `request_id`.
    #[must_use]
    fn id(self, request_id: impl Into<String>) -> Self;
    /// Sets `deliver_at` to an instant.
    #[must_use]
    fn at(self, time: SystemTime) -> Self;
    /// Sets `deliver_at` as it is on the wire.
    #[must_use]
    fn at_wire(self, seconds: i64, nanos: i32) -> Self;
    /// Sets `tts_seconds`.
    #[must_use]
    fn in_seconds(self, seconds: i64) -> Self;
    /// Adds a pair to `metadata`.
    #[must_use]
    fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self;
}

impl Edit for CreateTaskRequest {
    fn id(mut self, request_id: impl Into<String>) -> Self {
        self.set_request_id(request_id.into());
        self
    }

    fn at(self, time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).expect("a time since 1970");
        self.at_wire(since.as_secs() as i64, since.subsec_nanos() as i32)
    }

    fn at_wire(mut self, seconds: i64, nanos: i32) -> Self {
        let mut time = Timestamp::new();
        time.set_seconds(seconds);
        time.set_nanos(nanos);
        self.set_deliver_at(time);
        self
    }

    fn in_seconds(mut self, seconds: i64) -> Self {
        self.set_tts_seconds(seconds);
        self
    }

    fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.mut_metadata().insert(key.into(), value.into());
        self
    }
}

/// The instant that a timestamp of the wire names; one before 1970 is 1970.
#[must_use]
pub fn instant(time: &Timestamp) -> SystemTime {
    let seconds = u64::try_from(time.get_seconds()).unwrap_or(0);
    UNIX_EPOCH + Duration::new(seconds, time.get_nanos() as u32)
}

/// A task without where it stands: what the answer to its create has.
#[must_use]
pub fn as_created(mut task: Task) -> Task {
    task.set_state(TaskState::TASK_STATE_UNSPECIFIED);
    task.set_attempt(0);
    task.clear_created_at();
    task.clear_due_at();
    task
}
