//! The metrics that the README promises are there and move.

use std::collections::HashMap;
use std::time::Duration;

use z4_e2e::{create, http, Cluster, Peer, Reader};

/// Sum of all series of each metric.
fn scrape(peer: &Peer) -> HashMap<String, f64> {
    let (code, body) = http::get(&peer.metrics_address(), "/metrics").expect("it answers");
    assert_eq!(code, 200);
    let mut sums = HashMap::new();
    for line in body
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
    {
        let (series, value) = line.rsplit_once(' ').expect("name and value");
        let name = series.split('{').next().unwrap().to_owned();
        let value: f64 = value.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        *sums.entry(name).or_default() += value;
    }
    sums
}

/// The metrics whose name has all these words.
fn having(sums: &HashMap<String, f64>, words: &[&str]) -> Vec<String> {
    let fits = |name: &&String| words.iter().all(|w| name.contains(w));
    sums.keys().filter(fits).cloned().collect()
}

#[test]
fn every_subject_has_a_metric() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let reader = Reader::open(&client, "metrics");
    client.create(&create("metrics", "x")).unwrap();
    reader.wait_for(1, Duration::from_secs(10));
    let sums = scrape(&cluster.peers[0]);
    assert!(
        sums.keys().any(|n| n.starts_with("z4_")),
        "{:?}",
        sums.keys()
    );
    for words in [
        &["leader"][..],
        &["term"],
        &["commit"],
        &["applied"],
        &["proposal"],
        &["append"],
        &["sync"],
        &["apply", "seconds"],
        &["message", "sent"],
        &["message", "dropped"],
        &["snapshot"],
        &["request"],
        &["tasks", "created"],
        &["tasks", "delivered"],
        &["pending"],
        &["lateness", "bucket"],
        &["rocksdb"],
        &["lateness", "mean"],
        &["oldest", "due"],
        &["paused"],
        &["cluster", "level"],
        &["cluster", "voters"],
        &["leader", "known"],
        &["member", "silent"],
        &["member", "lag"],
        &["open", "fds"],
        &["resident", "memory"],
    ] {
        let found = having(&sums, words);
        assert!(
            !found.is_empty(),
            "no metric about {words:?} in {:?}",
            sums.keys()
        );
    }
}

#[test]
fn created_delivered_and_pending_are_counted() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let value = |words: &[&str]| {
        let sums = scrape(&cluster.peers[0]);
        having(&sums, words).iter().map(|n| sums[n]).sum::<f64>()
    };
    for n in 0..30 {
        client.create(&create("count", n.to_string())).unwrap();
    }
    assert_eq!(value(&["tasks", "created"]), 30.0);
    assert_eq!(value(&["tasks", "delivered"]), 0.0);
    assert_eq!(value(&["pending"]), 30.0);
    let reader = Reader::open(&client, "count");
    reader.wait_for(30, Duration::from_secs(10));
    z4_e2e::wait::until("all are counted", Duration::from_secs(10), || {
        let now = (value(&["tasks", "delivered"]), value(&["pending"]));
        z4_e2e::wait::check(now == (30.0, 0.0), || {
            format!("delivered, pending: {now:?}")
        })
    });
}
