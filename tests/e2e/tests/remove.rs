//! Peers leave the cluster, the leader too, and a newcomer may take the name.

use std::time::{Duration, Instant};

use z4_e2e::load::Load;
use z4_e2e::{create, http, wait, Cluster};
use z4_proto::generated::admin::PeerRole;

const LIMIT: Duration = Duration::from_secs(15);

fn removed_peer_says_so(cluster: &Cluster, n: usize) {
    let (client, metrics) = (
        cluster.peers[n].client(),
        cluster.peers[n].metrics_address(),
    );
    wait::until("the removed peer knows it", LIMIT, || {
        let info = client.info().map_err(|e| e.to_string())?;
        let removed = info.get_role() == PeerRole::PEER_ROLE_REMOVED;
        wait::check(removed && !info.get_notice().is_empty(), || {
            format!("{info:?}")
        })
    });
    let sick = client.health().expect_err("it is in no cluster");
    assert!(sick.message.contains("removed"), "{sick}");
    let refused = client
        .create(&create("gone", "x"))
        .expect_err("it takes no task");
    assert!(refused.message.contains("removed"), "{refused}");
    assert_ne!(http::get(&metrics, "/readyz").unwrap().0, 200);
}

#[test]
fn a_follower_leaves_and_says_so() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let gone = cluster.others(leader)[0];
    let id = cluster.peers[gone].spec.id.clone();
    let client = cluster.peers[leader].client();
    client.remove_member(&id).expect("it is removed");
    assert_eq!(client.info().unwrap().get_members().len(), 2);
    removed_peer_says_so(&cluster, gone);
    // A start with its old data: it stays and says so, and no supervisor starts it again and
    // again.
    cluster.peers[gone].kill();
    cluster.peers[gone].start();
    let metrics = cluster.peers[gone].metrics_address();
    wait::until("it says at its start that it was removed", LIMIT, || {
        let (ready, why) = http::get(&metrics, "/readyz")?;
        let (alive, what) = http::get(&metrics, "/healthz")?;
        let said = why.contains("removed") && why.contains("erase") && what.contains("removed");
        wait::check(ready == 503 && alive == 200 && said, || {
            format!("{ready} {why} {alive} {what}")
        })
    });
    assert!(cluster.peers[gone].is_running());
    assert!(cluster.peers[gone].terminate(LIMIT).success());
}

#[test]
fn a_removed_peer_ends_with_exit_code_0_where_that_is_asked_for() {
    let exit = &[("Z4_ON_REMOVED", "exit")];
    let mut cluster = Cluster::of(3, exit);
    let leader = cluster.wait_leader();
    let gone = cluster.others(leader)[0];
    let id = cluster.peers[gone].spec.id.clone();
    let client = cluster.peers[leader].client();
    client.remove_member(&id).expect("it is removed");
    let status = cluster.peers[gone].wait_end(LIMIT);
    assert!(status.success(), "{status}");
    // Started again with its old data, it ends in the same way.
    let done = cluster.peers[gone].run_to_end();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert_eq!(done.code, 0, "{said}");
    assert!(said.contains("removed") && said.contains("erase"), "{said}");
}

#[test]
fn a_peer_that_missed_its_removal_learns_it_and_disturbs_nobody() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let gone = cluster.others(leader)[0];
    let id = cluster.peers[gone].spec.id.clone();
    let client = cluster.peers[leader].client();
    cluster.peers[gone].kill();
    client.remove_member(&id).expect("it is removed");
    let term = client.info().unwrap().get_term();
    let others = cluster.others(gone);
    let stays: Vec<_> = others.iter().map(|n| cluster.peers[*n].client()).collect();
    let load = Load::start(&stays, "stays", 2, Duration::from_millis(2));
    cluster.peers[gone].start();
    cluster.peers[gone].wait_answers();
    let start = Instant::now();
    // Three of the longest election time-outs.
    while start.elapsed() < Duration::from_secs(3) {
        load.wait_for_more(10, LIMIT);
    }
    assert!(load.finish().refused.is_empty());
    assert_eq!(
        client.info().unwrap().get_term(),
        term,
        "the removed peer disturbed"
    );
    removed_peer_says_so(&cluster, gone);
}

#[test]
fn the_leader_leaves_and_another_leads() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let id = cluster.peers[leader].spec.id.clone();
    let others = cluster.others(leader);
    let stays: Vec<_> = others.iter().map(|n| cluster.peers[*n].client()).collect();
    let load = Load::start(&stays, "lead", 3, Duration::ZERO);
    load.wait_for_more(20, LIMIT);
    cluster.peers[leader]
        .client()
        .remove_member(&id)
        .expect("it is removed");
    let since = Instant::now();
    load.wait_for_first_sent_after(since, LIMIT);
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    wait::until("two members, and one of them leads", LIMIT, || {
        let info = stays[0].info().map_err(|e| e.to_string())?;
        let leads = !info.get_leader_id().is_empty() && info.get_leader_id() != id;
        wait::check(leads && info.get_members().len() == 2, || {
            format!("{info:?}")
        })
    });
    removed_peer_says_so(&cluster, leader);
}

#[test]
fn the_name_is_free_again_for_an_empty_peer_under_a_new_number() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let n = cluster.others(leader)[1];
    let id = cluster.peers[n].spec.id.clone();
    let client = cluster.peers[leader].client();
    let number = |info: z4_proto::generated::admin::ClusterInfo| {
        let member = info
            .get_members()
            .iter()
            .find(|m| m.get_id() == id)
            .cloned();
        member.map(|m| m.get_raft_id())
    };
    let old = number(client.info().unwrap()).expect("it is a member");
    client.remove_member(&id).expect("it is removed");
    // With its old data it is refused: erase first.
    let address = cluster.peers[n].peer_address();
    removed_peer_says_so(&cluster, n);
    client
        .add_member(&id, &address)
        .expect_err("its old data is still there");
    cluster.peers[n].kill();
    cluster.peers[n].erase();
    cluster.peers[n].spec.bootstrap = false;
    cluster.peers[n].start();
    cluster.peers[n].wait_answers();
    client.add_member(&id, &address).expect("it is added");
    cluster.wait_settled();
    let new = number(client.info().unwrap()).expect("it is a member again");
    assert!(new > old, "raft id {new} after {old}");
    let made = client.create(&create("again", "x")).unwrap();
    let newcomer = cluster.peers[n].client();
    newcomer
        .get("again", made.get_task().get_id())
        .expect("the newcomer has it");
}
