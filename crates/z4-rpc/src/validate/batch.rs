//! From a batch of creates to what one command stores.

use z4_core::command::CreateTasks;
use z4_core::{limits, Namespace, Refusal};
use z4_proto::generated::collection::CreateTasksRequest;

use super::new_task;

/// What a batch stores.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field, with the place of the
/// task it belongs to, and the limit.
pub fn create_batch(mut request: CreateTasksRequest) -> Result<CreateTasks, Refusal> {
    let namespace = Namespace::new(request.get_namespace())?;
    let tasks = request.take_tasks();
    // Before each is looked at: a long list is refused at no cost.
    if !(1..=limits::CREATE_COUNT_MAX).contains(&tasks.len()) {
        let rule = format!(
            "has {} elements; it must have 1 to {}",
            tasks.len(),
            limits::CREATE_COUNT_MAX
        );
        return Err(Refusal::invalid("tasks", rule));
    }
    let mut new = Vec::with_capacity(tasks.len());
    for (place, task) in tasks.into_iter().enumerate() {
        let of_task = |refusal: Refusal| Refusal {
            message: format!("tasks[{place}].{}", refusal.message),
            ..refusal
        };
        let other = !task.get_namespace().is_empty() && task.get_namespace() != namespace.as_str();
        if other {
            let rule = format!("must be empty or that of the batch, {namespace}");
            return Err(of_task(Refusal::invalid("namespace", rule)));
        }
        if !task.get_request_id().is_empty() {
            let rule = "must be empty; the batch has one for all its tasks";
            return Err(of_task(Refusal::invalid("request_id", rule)));
        }
        let task = new_task(task).map_err(of_task)?;
        task.check().map_err(of_task)?;
        new.push(task);
    }
    let create = CreateTasks {
        namespace,
        request_id: request.take_request_id(),
        tasks: new,
    };
    create.check()?;
    Ok(create)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use z4_proto::generated::collection::CreateTaskRequest;

    fn batch(count: usize, change: impl FnOnce(&mut CreateTasksRequest)) -> CreateTasksRequest {
        let mut request = CreateTasksRequest::default();
        request.set_namespace("n".into());
        request.set_tasks(vec![CreateTaskRequest::default(); count].into());
        change(&mut request);
        request
    }

    #[test]
    fn every_field_is_checked_and_the_task_is_named() {
        let table = [
            ("namespace", batch(1, |r| r.namespace.clear())),
            ("tasks has 0", batch(0, |_| ())),
            ("tasks has 10001", batch(10_001, |_| ())),
            ("request_id", batch(1, |r| r.request_id = "x".repeat(257))),
            (
                "tasks[1].namespace",
                batch(3, |r| r.tasks[1].namespace = "other".into()),
            ),
            (
                "tasks[2].request_id",
                batch(3, |r| r.tasks[2].request_id = "r".into()),
            ),
            (
                "tasks[0].payload",
                batch(3, |r| {
                    r.tasks[0].payload = vec![0; limits::PAYLOAD_LEN_MAX + 1];
                }),
            ),
            (
                "tasks[2].priority",
                batch(3, |r| r.tasks[2].mut_priority().value = 10),
            ),
            (
                "tasks[2].tts_seconds",
                batch(3, |r| r.tasks[2].tts_seconds = -1),
            ),
        ];
        for (text, request) in table {
            let refusal = create_batch(request).expect_err(text);
            assert!(refusal.message.starts_with(text), "{text}: {refusal}");
        }
    }

    #[test]
    fn the_namespace_may_be_repeated_and_the_order_stays() {
        let request = batch(10_000, |r| {
            r.request_id = "r".into();
            for (place, task) in r.tasks.iter_mut().enumerate() {
                task.payload = place.to_string().into_bytes();
                if place % 2 == 0 {
                    task.namespace = "n".into();
                }
            }
        });
        let create = create_batch(request).unwrap();
        assert_eq!(create.request_id, "r");
        assert_eq!(create.tasks[9_999].payload, b"9999");
    }
}
