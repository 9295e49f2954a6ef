//! The points of a serving peer once more, at the leader and at a follower of
//! three peers under load: the peer ends, the two others go on, it comes back,
//! and nothing that was acknowledged is lost or made twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use z4_e2e::audit::{drain, missing_by_id, Audit};
use z4_e2e::load::Load;
use z4_e2e::{create, Client, Cluster};

use super::acts::{ended, set, take_one, CALL, ERROR, LIMIT};
use super::{End, LEADING_THREE, SERVING};

/// Points of a serving peer that a follower does not meet: who leads grants
/// leases.
const NOT_FOLLOWING: &[&str] = &["lease.grant"];

/// Where the point is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Leader,
    Follower,
}

/// Creates, leases and acknowledges tasks through all peers in turn.
struct Takers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Takers {
    /// One at each peer: one that waits for a dead peer must not be all.
    fn start(clients: &[Client]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = clients.iter().cloned().map(|client| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = client.create_within(&create("points", "x"), CALL);
                    let _ = take_one(&client, &mut BTreeSet::new());
                    thread::sleep(Duration::from_millis(20));
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

fn fire_all(at: At, points: &[(&str, End)]) {
    let mut cluster = Cluster::of(3, &[("Z4_LOG_KEEP_ENTRIES", "20")]);
    let clients = cluster.clients();
    let takers = Takers::start(&clients);
    let load = Load::start(&clients, "roles", 2, Duration::from_millis(10));
    load.wait_for_more(20, LIMIT);
    let started = Instant::now();
    for (point, end) in points {
        let leader = cluster.wait_leader();
        let place = match at {
            At::Leader => leader,
            At::Follower => cluster.others(leader)[0],
        };
        let peer = &mut cluster.peers[place];
        let before = peer.log().len();
        set(peer, point, ERROR);
        ended(peer, point, *end, before, Instant::now());
        // The two others, without it.
        load.wait_for_first_sent_after(Instant::now(), LIMIT);
        cluster.start_missing();
        cluster.peers[place].wait_ready();
    }
    let took = started.elapsed();
    takers.finish();
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let missing = missing_by_id(&clients, "roles", &told, 1);
    assert!(missing.is_empty(), "{missing:?}");
    let came = drain(&clients, "roles", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
    println!(
        "{} points at {at:?} in {} s, {} creates acknowledged, 0 lost",
        points.len(),
        took.as_secs(),
        told.acked.len()
    );
}

#[test]
fn a_leader_that_ends_at_any_point_is_replaced_and_nothing_is_lost() {
    fire_all(At::Leader, &[SERVING, LEADING_THREE].concat());
}

#[test]
fn a_follower_that_ends_at_any_point_comes_back_and_nothing_is_lost() {
    let met = |(point, _): &&(&str, End)| !NOT_FOLLOWING.contains(point);
    let points: Vec<_> = SERVING.iter().filter(met).copied().collect();
    fire_all(At::Follower, &points);
}
