//! Kill -9 of all peers at once under load loses nothing.

use std::time::{Duration, Instant};

use z4_e2e::audit::{drain, missing_by_id, Audit};
use z4_e2e::load::Load;
use z4_e2e::Cluster;

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn kill_9_of_all_peers_under_load() {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let load = Load::start(&clients, "all", 6, Duration::ZERO);
    for _ in 0..2 {
        load.wait_for_more(50, LIMIT);
        cluster.kill_all();
        let dead = Instant::now();
        cluster.start_missing();
        load.wait_for_first_sent_after(dead, LIMIT);
    }
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let missing = missing_by_id(&clients, "all", &told, 10);
    assert!(missing.is_empty(), "{missing:?}");
    let came = drain(&clients, "all", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
}
