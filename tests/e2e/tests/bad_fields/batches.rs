//! Batches of creates, leases without a stream, and batches of leases.

use z4_e2e::client::Refused;
use z4_e2e::{create, Client, Cluster, Edit};
use z4_proto::generated::collection::{
    AckTasksRequest, CreateTaskRequest, CreateTasksRequest, Extend, ExtendLeasesRequest,
    LeaseOutcome, LeaseRef, LeaseResult, LeaseTasksRequest, Nack, NackTasksRequest,
    ReleaseTasksRequest,
};

use super::{all_refused, bad_namespaces, bad_spans, said, span, Row, BAD_IDS, GOOD_ID};

fn batch(tasks: Vec<CreateTaskRequest>) -> CreateTasksRequest {
    let mut request = CreateTasksRequest::new();
    request.set_namespace("fields".to_owned());
    request.set_tasks(tasks.into());
    request
}

#[test]
fn batches_of_creates() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let ask = |request: &CreateTasksRequest| said(client.collection.create_tasks(request));
        let good = || create("", "x");
        let mut table: Vec<Row> = Vec::new();
        for (what, name) in bad_namespaces() {
            let mut request = batch(vec![good()]);
            request.set_namespace(name);
            table.push(("namespace", what, ask(&request)));
        }
        let mut request = batch(vec![good()]);
        request.set_request_id("r".repeat(257));
        table.push(("request_id", "too long", ask(&request)));
        table.push(("tasks", "none", ask(&batch(Vec::new()))));
        let many = vec![good(); 10_001];
        table.push(("tasks", "too many", ask(&batch(many))));
        all_refused("CreateTasks", table);
        // A field of a task is named with its place, behind others that are good.
        for (field, what, mut task) in super::bad_creates() {
            if field == "namespace" && task.get_namespace().is_empty() {
                continue;
            }
            if field != "namespace" {
                task.clear_namespace();
            }
            let refused = ask(&batch(vec![good(), task])).expect_err(what);
            super::names(&refused, &format!("tasks[1].{field}"), what);
        }
        let refused = ask(&batch(vec![good(), good().id("own")])).expect_err("its own id");
        super::names(&refused, "tasks[1].request_id", "its own id");
    }
    nothing_was_made(&cluster.peers[0].client());
}

fn nothing_was_made(client: &Client) {
    let stats = z4_e2e::life::stats(client, "fields");
    let refused = Refused::from(stats.expect_err("there is no such namespace"));
    assert_eq!(refused.code, grpcio::RpcStatusCode::NOT_FOUND, "{refused}");
}

#[test]
fn leases_without_a_stream() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let with = |change: &dyn Fn(&mut LeaseTasksRequest)| {
            let mut request = LeaseTasksRequest::new();
            request.set_namespace("fields".to_owned());
            change(&mut request);
            said(client.collection.lease_tasks(&request))
        };
        let mut table: Vec<Row> = Vec::new();
        for (what, name) in bad_namespaces() {
            let answer = with(&|r| r.set_namespace(name.clone()));
            table.push(("namespace", what, answer));
        }
        for (what, id) in bad_consumer_ids() {
            table.push((
                "consumer_id",
                what,
                with(&|r| r.set_consumer_id(id.clone())),
            ));
        }
        for (what, bad) in bad_spans() {
            table.push(("lease", what, with(&|r| r.set_lease(bad.clone()))));
            table.push(("wait", what, with(&|r| r.set_wait(bad.clone()))));
        }
        for (what, bad) in [
            ("zero", span(0, 0)),
            ("too short", span(0, 8_999_999)),
            ("more than a day", span(24 * 3_600, 1)),
        ] {
            table.push(("lease", what, with(&|r| r.set_lease(bad.clone()))));
        }
        table.push(("wait", "too long", with(&|r| r.set_wait(span(60, 1)))));
        table.push(("max_tasks", "too many", with(&|r| r.set_max_tasks(1_025))));
        table.push(("max_tasks", "largest", with(&|r| r.set_max_tasks(u32::MAX))));
        all_refused("LeaseTasks", table);
        // The limits themselves are allowed.
        with(&|r| {
            r.set_consumer_id("x".repeat(128));
            r.set_max_tasks(1_024);
            r.set_max_bytes(u64::MAX);
            r.set_lease(span(24 * 3_600, 0));
            r.set_wait(span(0, 0));
        })
        .unwrap();
    }
}

/// Names that no consumer may have.
pub(super) fn bad_consumer_ids() -> [(&'static str, String); 5] {
    [
        ("with a blank", "a b".to_owned()),
        ("with a tilde", "a~b".to_owned()),
        ("with a line end", "a\n".to_owned()),
        ("not ASCII", "ä".to_owned()),
        ("too long", "c".repeat(129)),
    ]
}

fn lease(id: &str, token: u64) -> LeaseRef {
    let mut lease = LeaseRef::new();
    lease.set_task_id(id.to_owned());
    lease.set_lease_token(token);
    lease
}

fn nack(id: &str, token: u64) -> Nack {
    let mut nack = Nack::new();
    nack.set_task_id(id.to_owned());
    nack.set_lease_token(token);
    nack
}

fn extend(id: &str, token: u64) -> Extend {
    let mut extend = Extend::new();
    extend.set_task_id(id.to_owned());
    extend.set_lease_token(token);
    extend
}

/// The four methods that end or extend leases.
struct Ends<'a> {
    client: &'a Client,
    namespace: &'a str,
}

type Results = grpcio::Result<Vec<LeaseResult>>;

impl Ends<'_> {
    fn ack(&self, leases: Vec<LeaseRef>) -> Results {
        let mut request = AckTasksRequest::new();
        request.set_namespace(self.namespace.to_owned());
        request.set_leases(leases.into());
        let answer = self.client.collection.ack_tasks(&request);
        answer.map(|mut answer| answer.take_results().into_vec())
    }

    fn release(&self, leases: Vec<LeaseRef>) -> Results {
        let mut request = ReleaseTasksRequest::new();
        request.set_namespace(self.namespace.to_owned());
        request.set_leases(leases.into());
        let answer = self.client.collection.release_tasks(&request);
        answer.map(|mut answer| answer.take_results().into_vec())
    }

    fn nack(&self, nacks: Vec<Nack>) -> Results {
        let mut request = NackTasksRequest::new();
        request.set_namespace(self.namespace.to_owned());
        request.set_nacks(nacks.into());
        let answer = self.client.collection.nack_tasks(&request);
        answer.map(|mut answer| answer.take_results().into_vec())
    }

    fn extend(&self, extends: Vec<Extend>) -> Results {
        let mut request = ExtendLeasesRequest::new();
        request.set_namespace(self.namespace.to_owned());
        request.set_extends(extends.into());
        let answer = self.client.collection.extend_leases(&request);
        answer.map(|mut answer| answer.take_results().into_vec())
    }
}

#[test]
fn batches_of_leases() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let ends = Ends {
            client: &client,
            namespace: "fields",
        };
        let mut table: Vec<Row> = Vec::new();
        for (what, name) in &bad_namespaces() {
            let ends = Ends {
                client: &client,
                namespace: name,
            };
            table.push(("namespace", what, said(ends.ack(vec![lease(GOOD_ID, 1)]))));
            table.push((
                "namespace",
                what,
                said(ends.release(vec![lease(GOOD_ID, 1)])),
            ));
            table.push(("namespace", what, said(ends.nack(vec![nack(GOOD_ID, 1)]))));
            table.push((
                "namespace",
                what,
                said(ends.extend(vec![extend(GOOD_ID, 1)])),
            ));
        }
        for (what, count) in [("none", 0), ("too many", 4_097)] {
            let leases = vec![lease(GOOD_ID, 1); count];
            table.push(("leases", what, said(ends.ack(leases.clone()))));
            table.push(("leases", what, said(ends.release(leases))));
            let nacks = vec![nack(GOOD_ID, 1); count];
            table.push(("nacks", what, said(ends.nack(nacks))));
            let extends = vec![extend(GOOD_ID, 1); count];
            table.push(("extends", what, said(ends.extend(extends))));
        }
        all_refused("a batch of leases", table);
    }
}

/// A bad lease is answered in its place, and the good one beside it is done.
#[test]
fn bad_leases_among_good_ones() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let ends = Ends {
            client: &client,
            namespace: "fields",
        };
        for (what, id) in BAD_IDS {
            let good = lease(GOOD_ID, 1);
            beside(what, "task_id", ends.ack(vec![lease(id, 1), good.clone()]));
            beside(what, "task_id", ends.release(vec![lease(id, 1), good]));
            beside(
                what,
                "task_id",
                ends.nack(vec![nack(id, 1), nack(GOOD_ID, 1)]),
            );
            let extends = vec![extend(id, 1), extend(GOOD_ID, 1)];
            beside(what, "task_id", ends.extend(extends));
        }
        let leases = vec![lease(GOOD_ID, 0), lease(GOOD_ID, 1)];
        beside("none", "lease_token", ends.ack(leases.clone()));
        beside("none", "lease_token", ends.release(leases));
        for (what, bad) in bad_spans() {
            let mut wrong = nack(GOOD_ID, 1);
            wrong.set_delay(bad.clone());
            beside(what, "delay", ends.nack(vec![wrong, nack(GOOD_ID, 1)]));
            let mut wrong = extend(GOOD_ID, 1);
            wrong.set_lease(bad);
            beside(what, "lease", ends.extend(vec![wrong, extend(GOOD_ID, 1)]));
        }
        let mut wrong = extend(GOOD_ID, 1);
        wrong.set_lease(span(0, 0));
        beside(
            "zero",
            "lease",
            ends.extend(vec![wrong, extend(GOOD_ID, 1)]),
        );
    }
}

#[track_caller]
fn beside(what: &str, field: &str, results: Results) {
    let results = results.unwrap_or_else(|e| panic!("{what}: {e}"));
    let outcomes: Vec<LeaseOutcome> = results.iter().map(|r| r.get_outcome()).collect();
    // There is no such task.
    let expected = [
        LeaseOutcome::LEASE_OUTCOME_INVALID,
        LeaseOutcome::LEASE_OUTCOME_GONE,
    ];
    assert_eq!(outcomes, expected, "{what}: {results:?}");
    assert!(
        results[0].get_message().contains(field),
        "{what}: {results:?}"
    );
}
