//! Empty peers that are started with one list become one cluster by themselves, whatever
//! dies meanwhile, and a peer that lost its volume comes back by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use z4_e2e::cluster::voters;
use z4_e2e::command::z4t;
use z4_e2e::{create, http, wait, Cluster, Peer, PeerSpec};
use z4_proto::generated::admin::ClusterInfo;

/// From the last start on.
const LIMIT: Duration = Duration::from_secs(40);

/// Three peers that do not run yet, with one list.
fn three() -> Cluster {
    let mut peers: Vec<Peer> = (1..=3)
        .map(|n| Peer::new(PeerSpec::waiting(&format!("peer{n}"))))
        .collect();
    let list: Vec<String> = peers.iter().map(Peer::peer_address).collect();
    for peer in &mut peers {
        let spec = peer.spec.clone().with("Z4_JOIN", &list.join(","));
        peer.spec = spec.with("Z4_BOOTSTRAP_EXPECT", "3");
    }
    Cluster { peers }
}

/// The place of the peer with the least address, as text, which founds.
fn least(cluster: &Cluster) -> usize {
    let places = 0..cluster.peers.len();
    let least = places.min_by_key(|n| cluster.peers[*n].peer_address());
    least.expect("there are peers")
}

/// Waits until all are voters of one cluster; what the leader says.
#[track_caller]
fn wait_one_cluster(cluster: &mut Cluster) -> ClusterInfo {
    let spec = cluster.peers[0].spec.clone();
    let addresses: Vec<String> = cluster.peers.iter().map(Peer::service_address).collect();
    wait::until("one cluster of three voters", LIMIT, || {
        // A peer that asks who calls answers once the first admin is made at a leader.
        for address in &addresses {
            spec.admit_at(address)?;
        }
        let infos = cluster.clients();
        let infos = infos.iter().map(|client| client.info());
        let infos: Vec<ClusterInfo> = infos.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        let ids: BTreeSet<&str> = infos.iter().map(ClusterInfo::get_cluster_id).collect();
        let all = infos.iter().all(|info| voters(info) == 3);
        wait::check(ids.len() == 1 && !ids.contains("") && all, || {
            format!("{infos:?}")
        })
    });
    let leader = cluster.wait_leader();
    let info = cluster.peers[leader].client().info();
    info.expect("it answers")
}

/// The number of rounds; more by `Z4_ASSEMBLY_ROUNDS`.
fn rounds() -> u64 {
    let given = std::env::var("Z4_ASSEMBLY_ROUNDS").ok();
    given.map_or(3, |text| {
        text.parse().expect("Z4_ASSEMBLY_ROUNDS is a number")
    })
}

#[test]
fn three_empty_peers_killed_at_any_moment_become_one_cluster() {
    let first: u64 = rand::random();
    for seed in (0..rounds()).map(|n| first.wrapping_add(n)) {
        println!("round {seed}");
        one_round(&mut StdRng::seed_from_u64(seed));
    }
}

fn one_round(rng: &mut StdRng) {
    let mut cluster = three();
    let mut order = [0, 1, 2];
    order.shuffle(rng);
    let pause = |rng: &mut StdRng| {
        std::thread::sleep(Duration::from_millis(rng.gen_range(0..1_200)));
    };
    for n in order {
        // A fault may have started it already.
        if !cluster.peers[n].is_running() {
            cluster.peers[n].start();
        }
        pause(rng);
        if rng.gen_bool(0.4) {
            kill(&mut cluster, rng);
        }
    }
    // The cluster is founded now, and members come in.
    for _ in 0..rng.gen_range(0..6) {
        pause(rng);
        kill(&mut cluster, rng);
    }
    for peer in &mut cluster.peers {
        if !peer.is_running() {
            peer.start();
        }
    }
    let info = wait_one_cluster(&mut cluster);
    let founded: usize = cluster
        .peers
        .iter()
        .map(|peer| peer.log().matches("founded a cluster").count())
        .sum();
    assert!(founded <= 1, "{founded} were founded: {info:?}");
}

/// Kills a peer, and starts it, or one that does not run.
fn kill(cluster: &mut Cluster, rng: &mut StdRng) {
    let n = rng.gen_range(0..cluster.peers.len());
    match cluster.peers[n].is_running() {
        true => {
            cluster.peers[n].kill();
            if rng.gen_bool(0.8) {
                cluster.peers[n].start();
            }
        }
        false => cluster.peers[n].start(),
    }
}

#[test]
fn a_peer_that_lost_its_volume_comes_back_by_itself() {
    let mut cluster = three();
    cluster.peers.iter_mut().for_each(Peer::start);
    let before = wait_one_cluster(&mut cluster);
    let client = cluster.peers[least(&cluster)].client();
    let made = client.create(&create("heal", "x")).expect("it is created");
    let founder = least(&cluster);
    let other = cluster.others(founder)[0];
    for lost in [founder, other] {
        cluster.peers[lost].kill();
        cluster.peers[lost].erase();
        cluster.peers[lost].start();
        let info = wait_one_cluster(&mut cluster);
        assert_eq!(info.get_cluster_id(), before.get_cluster_id());
        let id = &cluster.peers[lost].spec.id;
        let of = |info: &ClusterInfo| {
            let member = info.get_members().iter().find(|m| m.get_id() == id);
            member.map(|m| m.get_raft_id())
        };
        assert!(of(&info) > of(&before), "{info:?}");
        let found = cluster.peers[lost]
            .client()
            .get("heal", made.get_task().get_id());
        found.expect("the peer that came back has the task");
    }
    let founder_log = cluster.peers[founder].log();
    assert_eq!(founder_log.matches("founded a cluster").count(), 1);
    let audited = cluster
        .peers
        .iter()
        .any(|peer| peer.log().contains("remove a member whose data is gone"));
    assert!(audited, "the leader notes why it removed a member");
}

#[test]
fn a_peer_alone_says_whom_it_waits_for_and_founds_nothing() {
    let mut cluster = three();
    let alone = least(&cluster);
    let missing = cluster.peers[cluster.others(alone)[0]].peer_address();
    cluster.peers[alone].start();
    let metrics = cluster.peers[alone].metrics_address();
    wait::until("it says whom it waits for", LIMIT, || {
        let (code, said) = http::get(&metrics, "/readyz")?;
        let names = said.contains("nobody answers at") && said.contains(&missing);
        wait::check(code == 503 && names, || format!("{code} {said}"))
    });
    if !cluster.peers[alone].spec.asks {
        let info = cluster.peers[alone].client().info().expect("it answers");
        assert!(info.get_notice().contains(&missing), "{info:?}");
    }
    // Another list is named.
    let other = cluster.others(alone)[1];
    let own = cluster.peers[other].peer_address();
    let spec = cluster.peers[other].spec.clone();
    cluster.peers[other].spec = spec.with("Z4_JOIN", &own);
    for n in cluster.others(alone) {
        cluster.peers[n].start();
    }
    wait::until("it says which list differs", LIMIT, || {
        let (_, said) = http::get(&metrics, "/readyz")?;
        wait::check(said.contains("give all peers the same list"), || said)
    });
    let mut peers = cluster.peers.iter();
    assert!(peers.all(|peer| !peer.log().contains("founded a cluster")));
}

#[test]
fn a_list_and_a_bootstrap_are_refused_together() {
    let mut peer = Peer::new(PeerSpec::bootstrap("peer1").with("Z4_JOIN", "127.0.0.1:1"));
    let done = peer.run_to_end();
    assert_eq!(done.code, 2, "{done:?}");
    assert!(
        done.stderr.contains("Z4_BOOTSTRAP_CLUSTER and Z4_JOIN"),
        "{done:?}"
    );
}

#[test]
fn a_member_is_replaced_in_one_step_that_may_be_repeated() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let lost = cluster.others(leader)[0];
    let target = cluster.peers[leader].service_address();
    let replace = |old: &str, new: &str, address: &str| {
        let done = z4t(&["replace-peer", old, new, address, "-t", &target]);
        assert_eq!(done.code, 0, "{done:?}");
        done.stdout
    };
    // A volume was lost: one name, one address.
    let (id, address) = (
        cluster.peers[lost].spec.id.clone(),
        cluster.peers[lost].peer_address(),
    );
    cluster.peers[lost].kill();
    cluster.peers[lost].erase();
    cluster.peers[lost].spec.bootstrap = false;
    cluster.peers[lost].start();
    cluster.peers[lost].wait_answers();
    let said = replace(&id, &id, &address);
    assert!(said.contains(&format!("removed {id}")), "{said}");
    cluster.wait_settled();
    let said = replace(&id, &id, &address);
    assert!(said.contains("nothing to do"), "{said}");
    // Another peer takes its place.
    let fresh = Peer::started(PeerSpec::waiting("peer4"));
    let said = replace(&id, "peer4", &fresh.peer_address());
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        format!("added peer4 at {}", fresh.peer_address()),
        format!("removed {id}"),
        format!(
            "peer4 votes at {} in the place of {id}",
            fresh.peer_address()
        ),
    ];
    assert_eq!(lines, expected);
    let said = replace(&id, "peer4", &fresh.peer_address());
    assert!(said.contains("nothing to do"), "{said}");
    // One that is gone is replaced at another address too.
    drop(fresh);
    let next = Peer::started(PeerSpec::waiting("peer5"));
    let address = next.peer_address();
    let arguments = ["replace-peer", "peer4", "peer5", &address, "-t", &target];
    let said = wait::until("the leader notices that peer4 is gone", LIMIT, || {
        let done = z4t(&arguments);
        wait::check(done.code == 0, || format!("{done:?}")).map(|()| done.stdout)
    });
    assert!(said.contains("removed peer4"), "{said}");
    let info = cluster.peers[leader].client().info().expect("it answers");
    assert_eq!(voters(&info), 3, "{info:?}");
}
