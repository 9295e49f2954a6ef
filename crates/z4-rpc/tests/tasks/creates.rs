//! Batches, and the fields of a create.

use super::*;

#[test]
fn a_batch_is_all_or_nothing_and_once() {
    let (peer, client) = started();
    let mut request = batch(500, FAR_S);
    request.set_request_id("r".into());
    request.mut_tasks()[7].mut_priority().value = 0;
    request.mut_tasks()[7].set_max_attempts(3);
    request.mut_tasks()[7].set_ttl(Duration {
        seconds: 5,
        ..Duration::default()
    });
    let first = client.collection().create_tasks(&request).unwrap();
    assert_eq!(first.get_forwarded_to(), "");
    assert_eq!(first.get_tasks().len(), 500);
    let again = client.collection().create_tasks(&request).unwrap();
    assert_eq!(first, again, "the same request is the same batch");
    let sixth = client.get("n", first.get_tasks()[7].get_id()).unwrap();
    assert_eq!(sixth.get_payload(), b"7", "in the order of the request");
    assert_eq!((sixth.get_priority(), sixth.get_max_attempts()), (0, 3));
    assert_eq!(sixth.get_ttl().get_seconds(), 5);
    assert_eq!(sixth.get_state(), TaskState::TASK_STATE_SCHEDULED);
    assert_eq!(sixth.get_due_at(), &seconds(FAR_S));
    let eighth = client.get("n", first.get_tasks()[8].get_id()).unwrap();
    assert_eq!(eighth.get_priority(), 5);

    // One bad task, and none is there.
    let mut bad = batch(10, 0);
    bad.mut_tasks()[9].set_tts_seconds(-1);
    refused(
        client.collection().create_tasks(&bad),
        S::INVALID_ARGUMENT,
        "tasks[9].tts_seconds",
    );
    // No room for all, and none is there.
    patch(&peer, |p| p.pending_max = Some(505));
    refused(
        client.collection().create_tasks(&batch(6, 0)),
        S::RESOURCE_EXHAUSTED,
        "505",
    );
    create(&client, 5, 0);
    let all: usize = pages(&client, list(|_| ())).iter().map(Vec::len).sum();
    assert_eq!(all, 505);
    peer.stop();
}

#[test]
fn single_creates_take_the_new_fields() {
    let (peer, client) = started();
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    request.mut_priority().value = 9;
    request.set_max_attempts(2);
    let created = client.create(&request).unwrap();
    assert_eq!(created.get_task().get_priority(), 9);
    let read = client.get("n", created.get_task().get_id()).unwrap();
    assert_eq!((read.get_priority(), read.get_max_attempts()), (9, 2));
    assert_eq!(read.get_created_at(), read.get_deliver_at());
    request.mut_priority().value = 10;
    refused(
        client.collection().create_task(&request),
        S::INVALID_ARGUMENT,
        "priority",
    );
    peer.stop();
}
