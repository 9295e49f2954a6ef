//! Without a quorum nothing is acknowledged; with one again all goes on.

use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use z4_e2e::audit::{drain, Audit};
use z4_e2e::load::Load;
use z4_e2e::{create, http, wait, Cluster, Edit};

const LIMIT: Duration = Duration::from_secs(15);

#[test]
fn without_a_quorum_nothing_is_acknowledged() {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let load = Load::start(&clients, "quorum", 4, Duration::ZERO);
    load.wait_for_more(30, LIMIT);
    let leader = cluster.wait_leader();
    for n in cluster.others(leader) {
        cluster.peers[n].kill();
    }
    let dead = Instant::now();
    // The one that is left notices, says so everywhere, and acknowledges
    // nothing meanwhile.
    let left = cluster.peers[leader].client();
    wait::until("creates are refused", LIMIT, || {
        let request = create("quorum", "x").id("probe");
        match left.create(&request) {
            Ok(answer) => panic!("acknowledged without a quorum: {answer:?}"),
            Err(e) => wait::check(e.code == RpcStatusCode::UNAVAILABLE, || e.to_string()),
        }
    });
    let metrics = cluster.peers[leader].metrics_address();
    wait::until("/readyz says that it is not", LIMIT, || {
        let (code, _) = http::get(&metrics, "/readyz")?;
        wait::check(code == 503, || format!("/readyz says {code}"))
    });
    assert_eq!(
        http::get(&metrics, "/healthz").unwrap().0,
        200,
        "it is alive"
    );
    // Whoever looks is told whom to start, or to say the new address of.
    let gone: Vec<String> = cluster
        .others(leader)
        .into_iter()
        .map(|n| format!("at {}", cluster.peers[n].peer_address()))
        .collect();
    wait::until("the notice names who is missing", LIMIT, || {
        let notice = left.info().map_err(|e| e.to_string())?.take_notice();
        let named = gone.iter().all(|gone| notice.contains(gone));
        wait::check(named && notice.contains("set-address"), || notice)
    });
    let unhealthy = left.health().expect_err("it knows no leader");
    assert_eq!(unhealthy.code, RpcStatusCode::UNAVAILABLE, "{unhealthy}");
    let read = left
        .get("quorum", "00000000000000000000000000")
        .expect_err("no read either");
    assert_eq!(read.code, RpcStatusCode::UNAVAILABLE, "{read}");
    let back = Instant::now();
    cluster.start_missing();
    load.wait_for_first_sent_after(back, LIMIT);
    let told = load.finish();
    let between = told
        .acked
        .iter()
        .filter(|a| a.created.sent_at > dead && a.created.acked_at < back);
    assert_eq!(between.count(), 0, "acknowledged without a quorum");
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let came = drain(&clients, "quorum", told.acked.len(), LIMIT);
    let came: Vec<_> = came.into_iter().filter(|d| d.text() != "x").collect();
    Audit::of(&told, &came).assert_clean();
}
