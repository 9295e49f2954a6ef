//! A cluster of the last release is upgraded, peer by peer, while it serves; and a peer is
//! taken back before the level of the cluster is raised.

use std::time::Duration;

use z4_e2e::audit::{drain, Audit};
use z4_e2e::command::{z4t, Finished};
use z4_e2e::load::Load;
use z4_e2e::{binaries, wait, Cluster, PeerSpec};

/// A peer stops, or starts and is found again by the load.
const LIMIT: Duration = Duration::from_secs(20);
/// The level rises 10 s after all members know a greater one.
const RAISE_LIMIT: Duration = Duration::from_secs(40);

/// Three peers of the last release.
fn of_last_release() -> Cluster {
    let spec = |spec: PeerSpec| PeerSpec {
        programs: Some(binaries::last_release()),
        ..spec
    };
    let founder = PeerSpec::bootstrap("peer1");
    let others = ["peer2", "peer3"].map(PeerSpec::waiting);
    Cluster::formed(std::iter::once(founder).chain(others).map(spec).collect())
}

/// Stops a peer in good order and starts it with other programs; creates go on.
fn exchange(cluster: &mut Cluster, n: usize, is_last_release: bool, load: &Load) {
    let peer = &mut cluster.peers[n];
    let status = peer.terminate(LIMIT);
    assert_eq!(status.code(), Some(0), "{}: {status}", peer.spec.id);
    load.wait_for_more(5, LIMIT);
    peer.spec.programs = is_last_release.then(binaries::last_release);
    peer.start();
    peer.wait_ready();
    load.wait_for_more(5, LIMIT);
}

/// The level that a peer tells. A client that met it while it was down connects again after
/// a while.
fn level(cluster: &Cluster, n: usize) -> u32 {
    let client = cluster.peers[n].client();
    wait::until("the peer tells its level", LIMIT, || {
        let info = client.info().map_err(|e| e.to_string())?;
        Ok(info.get_level())
    })
}

fn upgrade(cluster: &Cluster, n: usize, command: &str) -> Finished {
    let target = cluster.peers[n].service_address();
    let done = z4t(&["-t", &target, "upgrade", command]);
    assert_eq!(done.code, 0, "{command}: {done:?}");
    done
}

/// Waits until all members have the newest level, and takes all tasks.
fn finish(mut cluster: Cluster, load: Load, namespace: &str) {
    wait::until("the level is raised", RAISE_LIMIT, || {
        let levels: Vec<u32> = (0..3).map(|n| level(&cluster, n)).collect();
        wait::check(levels == [2, 2, 2], || format!("{levels:?}"))
    });
    load.wait_for_more(10, LIMIT);
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let clients = cluster.clients();
    let came = drain(&clients, namespace, told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
    let target = cluster.peers[0].service_address();
    let verified = z4t(&["-t", &target, "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    // A cluster that was upgraded comes up again by itself.
    cluster.kill_all();
    cluster.start_missing();
    cluster.wait_settled();
    assert_eq!(level(&cluster, 0), 2);
}

#[test]
fn followers_first_then_the_leader() {
    let mut cluster = of_last_release();
    let load = Load::start(&cluster.clients(), "upgrade-a", 3, Duration::ZERO);
    load.wait_for_more(10, LIMIT);
    let leader = cluster.wait_leader();
    for n in cluster.others(leader) {
        exchange(&mut cluster, n, false, &load);
        assert_eq!(level(&cluster, n), 1);
    }
    exchange(&mut cluster, leader, false, &load);
    finish(cluster, load, "upgrade-a");
}

#[test]
fn the_leader_first_and_each_next_one_by_kill() {
    let mut cluster = of_last_release();
    let load = Load::start(&cluster.clients(), "upgrade-b", 3, Duration::ZERO);
    load.wait_for_more(10, LIMIT);
    let first = cluster.wait_leader();
    exchange(&mut cluster, first, false, &load);
    for n in cluster.others(first) {
        let peer = &mut cluster.peers[n];
        peer.kill();
        peer.spec.programs = None;
        peer.start();
        peer.wait_ready();
        load.wait_for_more(5, LIMIT);
    }
    finish(cluster, load, "upgrade-b");
}

#[test]
fn a_peer_is_taken_back_before_the_level_is_raised_and_not_after() {
    let mut cluster = of_last_release();
    let load = Load::start(&cluster.clients(), "upgrade-c", 3, Duration::ZERO);
    load.wait_for_more(10, LIMIT);
    exchange(&mut cluster, 2, false, &load);
    // The others are of the last release, and raise nothing.
    let held = upgrade(&cluster, 2, "hold");
    assert!(held.stdout.contains("held at level 1"), "{held:?}");
    // Nor do they know what they are asked for the page of the doctor, which says so.
    let target = cluster.peers[2].service_address();
    let page = z4t(&["-t", &target, "doctor"]);
    assert_eq!(page.code, 0, "{page:?}");
    let older = "it runs a release that does not know this call";
    let told = format!("RISK   peer1, peer2: {older}");
    assert!(page.stdout.contains(&told), "{page:?}");
    exchange(&mut cluster, 0, false, &load);
    exchange(&mut cluster, 1, false, &load);
    let shown = upgrade(&cluster, 1, "status");
    assert!(shown.stdout.contains("2, held by peer3"), "{shown:?}");
    // The time after which the level would be raised.
    std::thread::sleep(Duration::from_secs(14));
    assert_eq!(level(&cluster, 0), 1);
    let leader = cluster.wait_leader();
    for n in [cluster.others(leader)[0], leader] {
        exchange(&mut cluster, n, true, &load);
    }
    for n in 0..3 {
        if cluster.peers[n].spec.programs.is_some() {
            exchange(&mut cluster, n, false, &load);
        }
    }
    let finished = upgrade(&cluster, 0, "finish");
    assert!(
        finished.stdout.contains("finished at level 2"),
        "{finished:?}"
    );
    // A peer that is taken back now ends, and the others serve.
    let leader = cluster.wait_leader();
    let n = cluster.others(leader)[0];
    let peer = &mut cluster.peers[n];
    peer.terminate(LIMIT);
    peer.spec.programs = Some(binaries::last_release());
    peer.start();
    wait::until("the old program ends", LIMIT, || {
        wait::check(!peer.is_running(), || "it runs".into())
    });
    load.wait_for_more(5, LIMIT);
    cluster.peers[n].spec.programs = None;
    cluster.start_missing();
    finish(cluster, load, "upgrade-c");
}
