//! Between core types and messages of the services.

use protobuf::well_known_types::Timestamp;
use z4_core::task::WallTime;
use z4_core::{Namespace, TaskBody, TaskId};
use z4_proto::generated::collection::Task;

/// A time as clients know it.
#[must_use]
pub fn timestamp(time: WallTime) -> Timestamp {
    Timestamp {
        seconds: time.seconds,
        nanos: time.nanos,
        ..Timestamp::default()
    }
}

/// A task as clients know it.
#[must_use]
pub fn task(namespace: &Namespace, id: TaskId, body: TaskBody) -> Task {
    let mut task = Task::default();
    task.set_id(id.to_string());
    task.set_namespace(namespace.as_str().to_owned());
    task.set_metadata(body.metadata.into_iter().collect());
    task.set_payload(body.payload);
    task.set_deliver_at(timestamp(body.deliver_at));
    task
}
