//! A peer that was away for longer than the log is kept comes back by snapshot
//! while the cluster takes load.

use std::time::Duration;

use z4_e2e::audit::{drain, missing_by_id, Audit};
use z4_e2e::load::Load;
use z4_e2e::{create, http, wait, Cluster, Edit};

const LIMIT: Duration = Duration::from_secs(20);

/// How often a peer has flushed its state.
fn flushes(metrics: &str) -> Result<u64, String> {
    let (_, text) = http::get(metrics, "/metrics")?;
    let name = "z4_storage_flush_seconds_count ";
    let count = text.lines().find_map(|line| line.strip_prefix(name));
    let count = count.ok_or("no count of flushes")?;
    count.parse().map_err(|e| format!("{count}: {e}"))
}

#[test]
fn a_peer_that_was_away_too_long_catches_up_by_snapshot() {
    let mut cluster = Cluster::of(3, &[("Z4_LOG_KEEP_ENTRIES", "20")]);
    let clients = cluster.clients();
    let leader = cluster.wait_leader();
    let away = cluster.others(leader)[0];
    cluster.peers[away].kill();
    let left_at = clients[leader].info().unwrap().get_applied_index();
    let mut bulk = Vec::new();
    for batch in 0..20 {
        let requests: Vec<_> = (0..8)
            .map(|n| {
                let payload = vec![(batch * 8 + n) as u8; 400 << 10];
                create("bulk", payload).in_seconds(3_600)
            })
            .collect();
        for answer in crate::streams::pipeline(&clients[leader], &requests, false) {
            assert_eq!(answer.get_status(), 0, "{}", answer.get_message());
            bulk.push(answer.get_task().get_id().to_owned());
        }
    }
    let remaining: Vec<_> = (0..3)
        .filter(|n| *n != away)
        .map(|n| clients[n].clone())
        .collect();
    let load = Load::start(&remaining, "snapshot", 3, Duration::from_millis(1));
    // The log is kept for a peer that is 200 entries behind, and cut below what
    // is flushed: on a busy machine neither comes by itself.
    wait::until("it is too far behind", 3 * LIMIT, || {
        let info = clients[leader].info().map_err(|e| e.to_string())?;
        let behind = info.get_applied_index() - left_at;
        wait::check(behind > 300, || format!("{behind} entries"))
    });
    let metrics = cluster.peers[leader].metrics_address();
    let flushed = flushes(&metrics).unwrap();
    wait::until("the state is flushed and the log cut", 3 * LIMIT, || {
        let more = flushes(&metrics)? - flushed;
        wait::check(more >= 3, || format!("{more} flushes"))
    });
    let before = cluster.peers[away].log().len();
    cluster.start_missing();
    let client = &clients[away];
    wait::until("the peer has caught up", LIMIT, || {
        let applied = |n: usize| clients[n].info().map_err(|e| e.to_string());
        let (mine, leaders) = (applied(away)?, applied(leader)?);
        let (mine, leaders) = (mine.get_applied_index(), leaders.get_applied_index());
        wait::check(mine + 200 >= leaders, || {
            format!("applied {mine} of {leaders}")
        })
    });
    load.wait_for_more(60, LIMIT);
    let log = cluster.peers[away].log()[before..].to_lowercase();
    assert!(
        log.contains("snapshot"),
        "it came back without a snapshot: {log}"
    );
    for (n, id) in bulk.iter().enumerate() {
        let task = client.get("bulk", id).expect("it has the task");
        assert!(task.get_payload().iter().all(|b| *b == n as u8), "task {n}");
    }
    let told = load.finish();
    // What it has it has for good: alone with one other, all is still there.
    cluster.peers[leader].kill();
    cluster.wait_leader();
    let left: Vec<_> = (0..3)
        .filter(|n| *n != leader)
        .map(|n| clients[n].clone())
        .collect();
    let missing = missing_by_id(&left, "snapshot", &told, 5);
    assert!(missing.is_empty(), "{missing:?}");
    let came = drain(&left, "snapshot", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
    cluster.peers[away].kill();
    cluster.start_missing();
    assert!(
        client.get("bulk", &bulk[0]).is_ok(),
        "after its own restart"
    );
}
