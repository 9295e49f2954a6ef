//! Changes of tasks that wait, lists, dead letters, explanations.

use protobuf::Message;
use z4_e2e::{create, Client, Cluster, Edit};
use z4_proto::generated::collection::{
    CancelTaskRequest, DeathReason, ExplainTaskRequest, ListTasksRequest, PurgeTasksRequest,
    RedriveTasksRequest, RescheduleTaskRequest, RunTaskRequest, TaskState,
};

use super::{all_refused, bad_namespaces, bad_spans, said, span, time, Row, BAD_IDS, GOOD_ID};

/// The table of a method that names a task.
macro_rules! names_a_task {
    ($client:expr, $request:ty, $method:ident) => {{
        let ask = |namespace: &str, id: &str| {
            let mut request = <$request>::new();
            request.set_namespace(namespace.to_owned());
            request.set_task_id(id.to_owned());
            said($client.collection.$method(&request))
        };
        let names = bad_namespaces();
        let names = names
            .iter()
            .map(|(what, name)| ("namespace", *what, ask(name, GOOD_ID)));
        let mut table: Vec<Row> = names.collect();
        table.extend(BAD_IDS.map(|(what, id)| ("task_id", what, ask("fields", id))));
        all_refused(stringify!($method), table);
    }};
}

#[test]
fn changes_of_one_task() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let made = client
            .create(&create("fields", "x").in_seconds(3_600))
            .unwrap();
        let id = made.get_task().get_id();
        let before = client.get("fields", id).unwrap();
        names_a_task!(client, CancelTaskRequest, cancel_task);
        names_a_task!(client, RunTaskRequest, run_task);
        names_a_task!(client, ExplainTaskRequest, explain_task);
        names_a_task!(client, RescheduleTaskRequest, reschedule_task);
        let with = |change: &dyn Fn(&mut RescheduleTaskRequest)| {
            let mut request = RescheduleTaskRequest::new();
            request.set_namespace("fields".to_owned());
            request.set_task_id(id.to_owned());
            change(&mut request);
            said(client.collection.reschedule_task(&request))
        };
        let mut table: Vec<Row> = vec![("deliver_at", "none, nor tts", with(&|_| ()))];
        for (what, bad) in bad_spans() {
            table.push(("tts", what, with(&|r| r.set_tts(bad.clone()))));
        }
        for (what, seconds, nanos) in [
            ("negative nanos", 1, -1),
            ("nanos of a second", 1, 1_000_000_000),
            ("after 2500", 16_725_225_601, 0),
            ("largest", i64::MAX, 0),
        ] {
            let answer = with(&|r| r.set_deliver_at(time(seconds, nanos)));
            table.push(("deliver_at", what, answer));
        }
        all_refused("RescheduleTask", table);
        assert_eq!(client.get("fields", id).unwrap(), before, "nothing changed");
        with(&|r| r.set_tts(span(100 * 366 * 24 * 3_600, 0))).unwrap();
    }
}

#[test]
fn lists() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        for n in 0..3 {
            client
                .create(&create("fields", format!("{n}")).in_seconds(3_600))
                .unwrap();
            client
                .create(&create("others", format!("{n}")).in_seconds(3_600))
                .unwrap();
        }
        let list = |change: &dyn Fn(&mut ListTasksRequest)| {
            let mut request = ListTasksRequest::new();
            request.set_namespace("fields".to_owned());
            change(&mut request);
            client.collection.list_tasks(&request)
        };
        let with = |change: &dyn Fn(&mut ListTasksRequest)| said(list(change));
        let mut table: Vec<Row> = Vec::new();
        for (what, name) in bad_namespaces() {
            let answer = with(&|r| r.set_namespace(name.clone()));
            table.push(("namespace", what, answer));
        }
        table.push(("page_size", "too large", with(&|r| r.set_page_size(1_001))));
        table.push(("page_size", "largest", with(&|r| r.set_page_size(u32::MAX))));
        table.push(("from", "negative nanos", with(&|r| r.set_from(time(1, -1)))));
        let bad = with(&|r| r.set_to(time(1, 1_000_000_000)));
        table.push(("to", "nanos of a second", bad));
        for (what, from, to) in [("is to", 5, 5), ("after to", i64::MAX, 5)] {
            let answer = with(&|r| {
                r.set_from(time(from, 0));
                r.set_to(time(to, 0));
            });
            table.push(("from", what, answer));
        }
        let unknown = with(&|r| r.mut_unknown_fields().add_varint(99, 1));
        table.push(("number 99", "of no version", unknown));
        table.extend(bad_tokens(&client));
        all_refused("ListTasks", table);
        // A token that is good goes on where it stopped.
        let token = first_token(&client, "fields");
        let page = list(&|r| r.set_page_token(token.clone())).unwrap();
        assert_eq!(page.get_tasks().len() % 3, 2, "{page:?}");
    }
}

fn first_token(client: &Client, namespace: &str) -> String {
    let mut request = ListTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_page_size(1);
    let mut page = client.collection.list_tasks(&request).unwrap();
    page.take_next_page_token()
}

fn bad_tokens(client: &Client) -> Vec<Row> {
    let good = first_token(client, "fields");
    let of_others = first_token(client, "others");
    let mut spoilt = good.clone().into_bytes();
    spoilt[20] ^= 1;
    let spoilt = String::from_utf8(spoilt).unwrap();
    let ask = |token: &str, state: TaskState| {
        let mut request = ListTasksRequest::new();
        request.set_namespace("fields".to_owned());
        request.set_page_token(token.to_owned());
        request.set_state(state);
        said(client.collection.list_tasks(&request))
    };
    let all = TaskState::TASK_STATE_UNSPECIFIED;
    let long = "00".repeat(100_000);
    vec![
        ("page_token", "garbage", ask("garbage", all)),
        ("page_token", "not ASCII", ask("ää", all)),
        ("page_token", "a digit", ask("0", all)),
        ("page_token", "very long", ask(&long, all)),
        ("page_token", "cut", ask(&good[..good.len() - 2], all)),
        ("page_token", "longer", ask(&format!("{good}00"), all)),
        ("page_token", "spoilt", ask(&spoilt, all)),
        ("page_token", "of another namespace", ask(&of_others, all)),
        (
            "page_token",
            "of another state",
            ask(&good, TaskState::TASK_STATE_DEAD),
        ),
    ]
}

/// The table of RedriveTasks and PurgeTasks, which select alike.
macro_rules! selects_dead_letters {
    ($client:expr, $request:ty, $method:ident) => {{
        let with = |change: &dyn Fn(&mut $request)| {
            let mut request = <$request>::new();
            request.set_namespace("fields".to_owned());
            change(&mut request);
            said($client.collection.$method(&request))
        };
        let ids = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
            ids
        };
        let mut table: Vec<Row> = Vec::new();
        for (what, name) in bad_namespaces() {
            let answer = with(&|r| r.set_namespace(name.clone()));
            table.push(("namespace", what, answer));
        }
        for (what, id) in BAD_IDS {
            let answer = with(&|r| r.set_task_ids(ids(&[GOOD_ID, id]).into()));
            table.push(("task_ids[1]", what, answer));
        }
        let many = with(&|r| r.set_task_ids(vec![GOOD_ID.to_owned(); 10_001].into()));
        table.push(("task_ids", "too many", many));
        let both = with(&|r| {
            r.set_task_ids(ids(&[GOOD_ID]).into());
            r.set_limit(1);
        });
        table.push(("task_ids", "with a limit", both));
        let both = with(&|r| {
            r.set_task_ids(ids(&[GOOD_ID]).into());
            r.set_reason(DeathReason::DEATH_REASON_TTL);
        });
        table.push(("task_ids", "with a reason", both));
        table.push(("from", "negative nanos", with(&|r| r.set_from(time(1, -1)))));
        table.push(("to", "negative nanos", with(&|r| r.set_to(time(1, -1)))));
        let crossed = with(&|r| {
            r.set_from(time(5, 0));
            r.set_to(time(4, 0));
        });
        table.push(("from", "after to", crossed));
        let unknown = with(&|r| r.mut_unknown_fields().add_varint(99, 1));
        table.push(("number 99", "of no version", unknown));
        all_refused(stringify!($method), table);
    }};
}

#[test]
fn dead_letters() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        client
            .create(&create("fields", "x").in_seconds(3_600))
            .unwrap();
        selects_dead_letters!(client, RedriveTasksRequest, redrive_tasks);
        selects_dead_letters!(client, PurgeTasksRequest, purge_tasks);
    }
}
