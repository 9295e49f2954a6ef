//! Peers come back at other addresses: one, all at once, two at each other's.
//! Their cluster learns it, keeps it, and goes on.

use std::time::{Duration, Instant};

use z4_e2e::tool::Tool;
use z4_e2e::{create, wait, Cluster, Peer, PeerSpec};
use z4_proto::generated::admin::{ClusterInfo, MemberLiveness};

const LIMIT: Duration = Duration::from_secs(40);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The address that `info` has of a member.
fn address<'a>(info: &'a ClusterInfo, id: &str) -> &'a str {
    let mut members = info.get_members().iter();
    members
        .find(|m| m.get_id() == id)
        .map_or("", |m| m.get_address())
}

/// Waits until every peer has the true addresses of all peers.
#[track_caller]
fn wait_known(cluster: &Cluster) {
    for peer in &cluster.peers {
        let client = peer.client();
        wait::until("the members have the true addresses", LIMIT, || {
            let info = client.info().map_err(|e| e.to_string())?;
            let known = |p: &Peer| address(&info, &p.spec.id) == p.peer_address();
            wait::check(cluster.peers.iter().all(known), || format!("{info:?}"))
        });
    }
}

/// Every peer takes a task, and every peer has it.
#[track_caller]
fn serves(cluster: &Cluster, namespace: &str) {
    for peer in &cluster.peers {
        let client = peer.client();
        let made = wait::until("a task is created", LIMIT, || {
            let made = client.create(&create(namespace, "x"));
            made.map_err(|e| e.to_string())
        });
        for reader in &cluster.peers {
            has(reader, namespace, made.get_task().get_id());
        }
    }
}

#[track_caller]
fn has(peer: &Peer, namespace: &str, id: &str) {
    let client = peer.client();
    wait::until("a task is read", LIMIT, || {
        client.get(namespace, id).map_err(|e| e.to_string())
    });
}

/// Stops all peers and starts them where they were: what was learned of their
/// addresses is on their disks.
#[track_caller]
fn restart(cluster: &mut Cluster) {
    for peer in &mut cluster.peers {
        let _ = peer.terminate(STOP_LIMIT);
    }
    cluster.start_missing();
    wait_known(cluster);
}

#[test]
fn a_founder_that_moved_takes_a_newcomer_in() {
    let mut cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let kept = client.create(&create("kept", "x")).expect("a task");
    let founder = &mut cluster.peers[0];
    let _ = founder.terminate(STOP_LIMIT);
    founder.move_address();
    founder.start();
    founder.wait_answers();
    founder.wait_ready();
    cluster
        .peers
        .push(Peer::started(PeerSpec::waiting("peer2")));
    cluster.join(1);
    cluster.wait_settled();
    wait_known(&cluster);
    for peer in &cluster.peers {
        has(peer, "kept", kept.get_task().get_id());
    }
    serves(&cluster, "before");
    restart(&mut cluster);
    cluster.wait_settled();
    serves(&cluster, "after");
}

#[test]
fn a_follower_that_moved_is_known_where_it_is() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let moved = cluster.others(leader)[0];
    let peer = &mut cluster.peers[moved];
    peer.kill();
    peer.move_address();
    peer.start();
    peer.wait_answers();
    wait_known(&cluster);
    let (client, id) = (
        cluster.peers[leader].client(),
        cluster.peers[moved].spec.id.clone(),
    );
    wait::until("the leader hears of it", LIMIT, || {
        let info = client.info().map_err(|e| e.to_string())?;
        let mut members = info.get_members().iter();
        let member = members.find(|m| m.get_id() == id);
        let is_well = member.is_some_and(|m| {
            m.get_liveness() == MemberLiveness::MEMBER_LIVENESS_ALIVE
                && m.get_match_index() >= info.get_commit_index()
        });
        wait::check(is_well, || format!("{info:?}"))
    });
    serves(&cluster, "moved");
    restart(&mut cluster);
    serves(&cluster, "again");
}

#[test]
fn three_peers_that_all_moved_are_brought_back_by_hand() {
    let mut cluster = Cluster::three();
    let client = cluster.peers[0].client();
    let kept = client.create(&create("kept", "x")).expect("a task");
    for peer in &cluster.peers {
        has(peer, "kept", kept.get_task().get_id());
    }
    for peer in &mut cluster.peers {
        let _ = peer.terminate(STOP_LIMIT);
    }
    for peer in &mut cluster.peers {
        peer.move_address();
    }
    for peer in &mut cluster.peers {
        peer.start();
    }
    cluster.peers.iter_mut().for_each(Peer::wait_answers);
    let at: Vec<String> = cluster.peers.iter().map(Peer::peer_address).collect();
    let tool = Tool::at(&cluster.peers[0]);
    // A slip of the pen does no harm, and says who is there.
    let slip = ["set-address", "peer2", &at[2]];
    tool.refused(&slip, 1, &["the peer at", "is peer3", "not peer2"]);
    let unknown = ["set-address", "peer9", &at[2]];
    tool.refused(&unknown, 1, &["peer9"]);
    let said = tool.text(&["set-address", "peer2", &at[1]]);
    assert!(said.contains("no leader is known yet"), "{said}");
    // The third is where nobody looks for it.
    let said = wait::until("the two have a leader", LIMIT, || {
        let info = cluster.peers[0].client().info();
        let leader = info.map_err(|e| e.to_string())?.get_leader_id().to_owned();
        wait::check(!leader.is_empty(), || "none leads".to_owned())?;
        let done = tool.run(&["set-address", "peer3", &at[2]]);
        wait::check(done.code == 0, || format!("{done:?}"))?;
        Ok(done.stdout)
    });
    assert_eq!(said, "address set\n");
    cluster.wait_settled();
    wait_known(&cluster);
    for peer in &cluster.peers {
        has(peer, "kept", kept.get_task().get_id());
    }
    serves(&cluster, "moved");
    restart(&mut cluster);
    serves(&cluster, "again");
}

#[test]
fn members_that_moved_find_each_other_by_their_lists() {
    for count in 1..=3 {
        let mut cluster = Cluster::three();
        let client = cluster.peers[0].client();
        let kept = client.create(&create("kept", "x")).expect("a task");
        for peer in &cluster.peers {
            has(peer, "kept", kept.get_task().get_id());
        }
        for peer in &mut cluster.peers[..count] {
            let _ = peer.terminate(STOP_LIMIT);
            peer.move_address();
        }
        let list: Vec<_> = cluster.peers.iter().map(Peer::peer_address).collect();
        for peer in &mut cluster.peers[..count] {
            let spec = peer.spec.clone().with("Z4_BOOTSTRAP_CLUSTER", "false");
            peer.spec = spec.with("Z4_JOIN", &list.join(","));
            peer.start();
        }
        let began = Instant::now();
        cluster.peers.iter_mut().for_each(Peer::wait_answers);
        serves(&cluster, "moved");
        println!("{count} of three moved: {:?}", began.elapsed());
        cluster.wait_settled();
        wait_known(&cluster);
        for peer in &cluster.peers {
            has(peer, "kept", kept.get_task().get_id());
        }
        restart(&mut cluster);
        serves(&cluster, "again");
    }
}

#[test]
fn two_peers_swap_their_addresses() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let others = cluster.others(leader);
    let (first, second) = (others[0], others[1]);
    for n in [first, second] {
        let _ = cluster.peers[n].terminate(STOP_LIMIT);
    }
    let (head, tail) = cluster.peers.split_at_mut(second);
    head[first].swap_addresses(&mut tail[0]);
    cluster.start_missing();
    wait_known(&cluster);
    serves(&cluster, "swapped");
    restart(&mut cluster);
    serves(&cluster, "again");
}

#[test]
fn an_address_that_another_member_keeps_is_no_endless_news() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let others = cluster.others(leader);
    let (gone, moved) = (others[0], others[1]);
    for n in [gone, moved] {
        let _ = cluster.peers[n].terminate(STOP_LIMIT);
    }
    let (head, tail) = cluster.peers.split_at_mut(moved);
    head[gone].swap_addresses(&mut tail[0]);
    // The other one does not come back: the members keep its address as its own.
    cluster.peers[moved].start();
    cluster.peers[moved].wait_answers();
    let count = |n: usize, words: &str| cluster.peers[n].log().matches(words).count();
    let refused = |n: usize| count(n, "the address of a member cannot be changed");
    wait::until("the leader says why it is not set", LIMIT, || {
        let is_said = refused(leader) + refused(moved) > 0;
        wait::check(is_said, || cluster.peers[leader].log())
    });
    let news = |n: usize| count(n, "a member is at another address");
    let before = [leader, moved].map(news);
    // The member says its address every two seconds.
    std::thread::sleep(Duration::from_secs(7));
    for (n, before) in [leader, moved].into_iter().zip(before) {
        // One may have heard of it only now.
        assert!(news(n) <= before + 1, "{}", cluster.peers[n].log());
    }
    assert!(refused(leader) + refused(moved) <= 2);
}
