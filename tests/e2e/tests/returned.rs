//! A task that its consumers give back again and again makes no busy loop; what
//! nobody had in hand waits for nothing.

use std::time::{Duration, SystemTime};

use protobuf::well_known_types::Duration as Span;
use z4_e2e::client::option;
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::request::instant;
use z4_e2e::{create, wait, Client, Cluster};
use z4_proto::generated::admin::UpdateNamespaceRequest;
use z4_proto::generated::collection::{
    AckTasksRequest, ConsumeResponse_oneof_message as Heard, ExplainTaskRequest, LeaseRef,
    LeaseTasksRequest, PriorityValue, ReasonKind, ReleaseTasksRequest, Task,
};

const LIMIT: Duration = Duration::from_secs(60);
const BACKOFF: Duration = Duration::from_millis(400);

fn millis(span: Duration) -> Span {
    let mut out = Span::new();
    out.set_seconds(span.as_secs() as i64);
    out.set_nanos(span.subsec_nanos() as i32);
    out
}

fn set_backoff(client: &Client, namespace: &str) {
    let mut request = UpdateNamespaceRequest::new();
    request.set_name(namespace.to_owned());
    request.mut_settings().set_backoff_min(millis(BACKOFF));
    client
        .admin
        .update_namespace_opt(&request, option(LIMIT))
        .unwrap();
}

fn made(client: &Client, namespace: &str) -> String {
    let mut answer = client.create(&create(namespace, "poison")).unwrap();
    answer.mut_task().take_id()
}

/// Opens a stream and leaves it properly as soon as it has a task.
fn meet_and_leave(client: &Client, namespace: &str) {
    let mut stream = Conversation::open(client, namespace, "", 1, LIMIT).unwrap();
    wait::until("a delivery", LIMIT, || {
        match stream.listen(Duration::from_secs(1)) {
            Listened::Heard(Heard::delivery(_)) => Ok(()),
            heard => Err(format!("{heard:?}")),
        }
    });
    stream.hang_up();
    stream.ended().expect("its leases are given back");
}

/// Leases the task and gives it back.
fn lease_and_release(client: &Client, namespace: &str) {
    let mut ask = LeaseTasksRequest::new();
    ask.set_namespace(namespace.to_owned());
    ask.set_wait(millis(Duration::from_secs(30)));
    let answer = client.collection.lease_tasks_opt(&ask, option(LIMIT));
    let answer = answer.unwrap();
    let delivery = &answer.get_deliveries()[0];
    let mut lease = LeaseRef::new();
    lease.set_task_id(delivery.get_task().get_id().to_owned());
    lease.set_lease_token(delivery.get_lease_token());
    let mut back = ReleaseTasksRequest::new();
    back.set_namespace(namespace.to_owned());
    back.mut_leases().push(lease);
    let call = client.collection.release_tasks_opt(&back, option(LIMIT));
    call.unwrap();
}

fn due_at(task: &Task) -> SystemTime {
    instant(task.get_due_at())
}

#[test]
fn a_consumer_that_leaves_whenever_it_meets_a_task_meets_it_more_and_more_rarely() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = cluster.peers[0].client();
    type Way = (&'static str, fn(&Client, &str));
    let ways: [Way; 2] = [("closed", meet_and_leave), ("released", lease_and_release)];
    for (namespace, way) in ways {
        set_backoff(&client, namespace);
        let id = made(&client, namespace);
        for nth in 1..=6u32 {
            let before = SystemTime::now();
            way(&client, namespace);
            let task = client.get(namespace, &id).unwrap();
            assert_eq!(task.get_deliveries(), nth, "{namespace}");
            assert_eq!((task.get_failures(), task.get_attempt()), (0, 1));
            let Some(beyond) = nth.checked_sub(4) else {
                assert!(
                    due_at(&task) <= SystemTime::now(),
                    "{namespace}, {nth}: at once"
                );
                continue;
            };
            let least = BACKOFF * 2u32.pow(beyond);
            let due_at = due_at(&task);
            assert!(due_at >= before + least, "{namespace}, {nth}: {due_at:?}");
        }
        // Somebody who asks is told why it does not run.
        let mut ask = ExplainTaskRequest::new();
        ask.set_namespace(namespace.to_owned());
        ask.set_task_id(id);
        let told = client
            .collection
            .explain_task_opt(&ask, option(LIMIT))
            .unwrap();
        let reason = told
            .get_reasons()
            .iter()
            .find(|reason| reason.get_kind() == ReasonKind::REASON_KIND_BACKOFF);
        let message = reason.map_or("", |reason| reason.get_message());
        assert!(message.contains("gave it back 6 times"), "{told:?}");
    }
}

#[test]
fn a_task_that_nobody_had_in_hand_is_due_at_once_however_often_it_came_back() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = cluster.peers[0].client();
    let id = made(&client, "n");
    let mut rounds = 0;
    wait::until("it was leased eight times", LIMIT, || {
        rounds += 1;
        // Another that goes first, and fills the answer.
        let mut first = create("n", "x");
        let mut priority = PriorityValue::new();
        priority.set_value(9);
        first.set_priority(priority);
        client.create(&first).unwrap();
        let mut ask = LeaseTasksRequest::new();
        ask.set_namespace("n".into());
        ask.set_max_tasks(2);
        ask.set_max_bytes(1);
        let answer = client.collection.lease_tasks_opt(&ask, option(LIMIT));
        let answer = answer.unwrap();
        assert_eq!(answer.get_deliveries().len(), 1);
        let delivery = &answer.get_deliveries()[0];
        assert_eq!(delivery.get_task().get_payload(), b"x");
        let mut lease = LeaseRef::new();
        lease.set_task_id(delivery.get_task().get_id().to_owned());
        lease.set_lease_token(delivery.get_lease_token());
        let mut ack = AckTasksRequest::new();
        ack.set_namespace("n".into());
        ack.mut_leases().push(lease);
        client
            .collection
            .ack_tasks_opt(&ack, option(LIMIT))
            .unwrap();
        let deliveries = client.get("n", &id).unwrap().get_deliveries();
        wait::check(deliveries >= 8, || format!("{deliveries} after {rounds}"))
    });
    let mut ask = LeaseTasksRequest::new();
    ask.set_namespace("n".into());
    ask.set_wait(millis(Duration::from_secs(30)));
    let answer = client.collection.lease_tasks_opt(&ask, option(LIMIT));
    let answer = answer.unwrap();
    let task = answer.get_deliveries()[0].get_task();
    assert_eq!((task.get_id(), task.get_failures()), (id.as_str(), 0));
    assert!(due_at(task) <= instant(task.get_deliver_at()) + LIMIT);
}
