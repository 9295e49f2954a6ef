//! Namespaces: their names, their settings, their pages.

use z4_e2e::client::Refused;
use z4_e2e::{create, Cluster};
use z4_proto::generated::admin::{
    DeleteNamespaceRequest, GetNamespaceRequest, GetNamespaceStatsRequest, ListNamespacesRequest,
    NamespaceSettings, PauseNamespaceRequest, ResumeNamespaceRequest, UpdateNamespaceRequest,
};

use super::{all_refused, bad_namespaces, bad_spans, said, span, Row};

/// The table of a method that names a namespace.
macro_rules! names_a_namespace {
    ($client:expr, $request:ty, $method:ident) => {{
        let ask = |name: &str| {
            let mut request = <$request>::new();
            request.set_name(name.to_owned());
            said($client.admin.$method(&request))
        };
        let names = bad_namespaces();
        let rows = names.iter().map(|(what, name)| ("name", *what, ask(name)));
        all_refused(stringify!($method), rows.collect());
    }};
}

#[test]
fn names() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        names_a_namespace!(client, GetNamespaceRequest, get_namespace);
        names_a_namespace!(client, UpdateNamespaceRequest, update_namespace);
        names_a_namespace!(client, DeleteNamespaceRequest, delete_namespace);
        names_a_namespace!(client, PauseNamespaceRequest, pause_namespace);
        names_a_namespace!(client, ResumeNamespaceRequest, resume_namespace);
        names_a_namespace!(client, GetNamespaceStatsRequest, get_namespace_stats);
    }
}

#[test]
fn settings() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let masked = |mask: &[&str], change: &dyn Fn(&mut NamespaceSettings)| {
            let mut request = UpdateNamespaceRequest::new();
            request.set_name("set".to_owned());
            change(request.mut_settings());
            let mask: Vec<String> = mask.iter().map(|name| (*name).to_owned()).collect();
            request.set_update_mask(mask.into());
            said(client.admin.update_namespace(&request))
        };
        let with = |change: &dyn Fn(&mut NamespaceSettings)| masked(&[], change);
        let mut table: Vec<Row> = Vec::new();
        for (what, bad) in bad_spans() {
            table.push(("lease", what, with(&|s| s.set_lease(bad.clone()))));
            let answer = with(&|s| s.set_dedupe_window(bad.clone()));
            table.push(("dedupe_window", what, answer));
            let answer = with(&|s| s.set_backoff_min(bad.clone()));
            table.push(("backoff_min", what, answer));
            let answer = with(&|s| s.set_backoff_max(bad.clone()));
            table.push(("backoff_max", what, answer));
            table.push(("dead_keep", what, with(&|s| s.set_dead_keep(bad.clone()))));
        }
        for (field, what, answer) in [
            (
                "lease",
                "too short",
                with(&|s| s.set_lease(span(0, 8_999_999))),
            ),
            (
                "lease",
                "more than a day",
                with(&|s| s.set_lease(span(24 * 3_600, 1))),
            ),
            (
                "lease",
                "zero, by name",
                masked(&["lease"], &|s| s.set_lease(span(0, 0))),
            ),
            (
                "dedupe_window",
                "too long",
                with(&|s| s.set_dedupe_window(span(30 * 24 * 3_600, 1))),
            ),
            (
                "backoff_min",
                "above the longest",
                with(&|s| s.set_backoff_min(span(601, 0))),
            ),
            (
                "max_attempts",
                "too many",
                with(&|s| s.set_max_attempts(1_000_001)),
            ),
            (
                "rate_per_s",
                "too high",
                with(&|s| s.set_rate_per_s(1_000_001)),
            ),
            (
                "rate_per_s",
                "largest",
                with(&|s| s.set_rate_per_s(u32::MAX)),
            ),
            (
                "rate.count",
                "too high",
                with(&|s| s.mut_rate().set_count(1_000_001)),
            ),
            (
                "rate.period",
                "too short",
                with(&|s| {
                    s.mut_rate().set_count(1);
                    s.mut_rate().set_period(span(0, 999_000_000));
                }),
            ),
            (
                "rate.period",
                "too long",
                with(&|s| {
                    s.mut_rate().set_count(1);
                    s.mut_rate().set_period(span(86_401, 0));
                }),
            ),
            (
                "rate_per_s",
                "not what rate says",
                with(&|s| {
                    s.set_rate_per_s(3);
                    s.mut_rate().set_count(1);
                }),
            ),
            (
                "rate_burst",
                "too high",
                with(&|s| s.set_rate_burst(1_000_001)),
            ),
            ("update_mask", "unknown", masked(&["paused"], &|_| ())),
            ("update_mask", "empty name", masked(&[""], &|_| ())),
            (
                "update_mask",
                "a path",
                masked(&["settings.lease"], &|_| ()),
            ),
        ] {
            table.push((field, what, answer));
        }
        all_refused("UpdateNamespace", table);
        let mut request = GetNamespaceRequest::new();
        request.set_name("set".to_owned());
        let made = client.admin.get_namespace(&request);
        let refused = Refused::from(made.expect_err("it did not appear"));
        assert_eq!(refused.code, grpcio::RpcStatusCode::NOT_FOUND, "{refused}");
    }
    // Largest numbers where there is no limit.
    let client = cluster.peers[0].client();
    let mut request = UpdateNamespaceRequest::new();
    request.set_name("set".to_owned());
    let settings = request.mut_settings();
    settings.set_pending_max(u64::MAX);
    settings.set_bytes_max(u64::MAX);
    settings.set_leased_max(u64::MAX);
    settings.set_dead_keep_count(u64::MAX);
    settings.set_rate_per_s(1_000_000);
    settings.set_rate_burst(1_000_000);
    client.admin.update_namespace(&request).unwrap();
    client.create(&create("set", "x")).unwrap();
}

#[test]
fn pages() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        for name in ["a", "b", "c"] {
            client.create(&create(name, "x")).unwrap();
        }
        let ask = |size: u32, token: &str| {
            let mut request = ListNamespacesRequest::new();
            request.set_page_size(size);
            request.set_page_token(token.to_owned());
            client.admin.list_namespaces(&request)
        };
        let mut page = ask(1, "").unwrap();
        let token = page.take_next_page_token();
        let next = ask(1, &token).unwrap();
        assert_eq!(next.get_namespaces()[0].get_name(), "b");
        let mut tasks = z4_proto::generated::collection::ListTasksRequest::new();
        tasks.set_namespace("a".to_owned());
        tasks.set_page_size(1);
        client.create(&create("a", "y")).unwrap();
        let of_tasks = client.collection.list_tasks(&tasks).unwrap();
        let of_tasks = of_tasks.get_next_page_token();
        assert!(!of_tasks.is_empty());
        let long = "ab".repeat(100_000);
        let table: Vec<Row> = vec![
            ("page_size", "too large", said(ask(1_001, ""))),
            ("page_size", "largest", said(ask(u32::MAX, ""))),
            ("page_token", "garbage", said(ask(0, "garbage"))),
            ("page_token", "very long", said(ask(0, &long))),
            ("page_token", "cut", said(ask(0, &token[..token.len() - 2]))),
            ("page_token", "of tasks", said(ask(0, of_tasks))),
        ];
        all_refused("ListNamespaces", table);
    }
}
