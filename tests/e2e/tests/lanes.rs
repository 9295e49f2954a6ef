//! Raft messages between real peers: over lanes, and over gRPC where there is none.

use std::net::TcpListener;
use std::time::Duration;

use z4_e2e::audit::{drain, Audit};
use z4_e2e::command::run;
use z4_e2e::load::Load;
use z4_e2e::{create, http, wait, Cluster, Peer, PeerSpec};

const LIMIT: Duration = Duration::from_secs(30);
const VARIABLE: &str = "Z4_PEER_LANE_PORT";
const UP: &str = "z4_rpc_lane_up";

/// Whether this process starts its peers without lanes, so that nothing is to be seen
/// of them.
fn are_off() -> bool {
    std::env::var(VARIABLE).is_ok_and(|port| port == "0")
}

/// The series of a metric, by what stands in its braces.
fn series(peer: &Peer, name: &str) -> Vec<(String, u64)> {
    let (code, body) = http::get(&peer.metrics_address(), "/metrics").unwrap();
    assert_eq!(code, 200);
    let of_name = |line: &str| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (labels, value) = rest.split_once("} ")?;
        Some((labels.to_owned(), value.parse().ok()?))
    };
    body.lines().filter_map(of_name).collect()
}

/// How many messages a peer sent over lanes, and over gRPC.
fn sent(peer: &Peer) -> (u64, u64) {
    let all = series(peer, "z4_rpc_raft_messages_sent_by_way_total");
    let of = |way: &str| all.iter().find(|(label, _)| label.contains(way)).unwrap().1;
    (of("lane"), of("grpc"))
}

/// Waits until each peer has so many lanes up.
#[track_caller]
fn wait_up(cluster: &Cluster, counts: [usize; 3]) {
    wait::until("lanes are up", LIMIT, || {
        let up = |peer: &Peer| {
            let all = series(peer, UP);
            all.iter().filter(|(_, up)| *up == 1).count()
        };
        let now: Vec<usize> = cluster.peers.iter().map(up).collect();
        wait::check(now == counts, || format!("{now:?}, {counts:?} wanted"))
    });
}

#[track_caller]
fn create_some(cluster: &Cluster, at: usize, count: usize) {
    let client = cluster.peers[at].client();
    for n in 0..count {
        client.create(&create("lanes", n.to_string())).unwrap();
    }
}

#[test]
fn messages_go_over_lanes_which_come_back_when_they_broke() {
    if are_off() {
        return;
    }
    let mut cluster = Cluster::three();
    wait_up(&cluster, [2, 2, 2]);
    let leader = cluster.wait_leader();
    // A busy machine may leave a lane in doubt for a moment.
    wait::until("messages go over lanes", LIMIT, || {
        let before: Vec<_> = cluster.peers.iter().map(sent).collect();
        create_some(&cluster, leader, 100);
        let now = cluster.peers.iter().map(sent);
        let went = now.zip(&before).map(|(now, b)| (now.0 - b.0, now.1 - b.1));
        let went: Vec<(u64, u64)> = went.collect();
        let by_lane = |(lane, grpc): &(u64, u64)| *lane >= 80 && *grpc < lane / 4;
        wait::check(went.iter().all(by_lane), || format!("lane, gRPC: {went:?}"))
    });

    // A peer that is silent breaks its lanes, and one that is gone too.
    let load = Load::start(&cluster.clients(), "lanes-load", 4, Duration::ZERO);
    load.wait_for_more(50, LIMIT);
    let follower = cluster.others(leader)[0];
    cluster.peers[follower].pause();
    wait::until("its lane is given up", LIMIT, || {
        let all = series(&cluster.peers[leader], UP);
        wait::check(all.iter().any(|(_, up)| *up == 0), || format!("{all:?}"))
    });
    cluster.peers[follower].resume();
    wait_up(&cluster, [2, 2, 2]);
    load.wait_for_more(50, LIMIT);
    cluster.peers[leader].kill();
    cluster.start_missing();
    wait_up(&cluster, [2, 2, 2]);
    load.wait_for_more(50, LIMIT);
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let came = drain(&cluster.clients(), "lanes-load", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
}

#[test]
fn a_peer_without_lanes_is_a_member_like_others_and_gets_some_later() {
    if are_off() {
        return;
    }
    let mut cluster = Cluster::formed(vec![
        PeerSpec::bootstrap("peer1"),
        PeerSpec::waiting("peer2").with(VARIABLE, "0"),
        PeerSpec::waiting("peer3"),
    ]);
    wait_up(&cluster, [1, 0, 1]);
    for at in 0..3 {
        create_some(&cluster, at, 50);
    }
    let (lane, grpc) = sent(&cluster.peers[1]);
    assert!(lane == 0 && grpc >= 100, "{lane} by lane, {grpc} by gRPC");
    assert!(cluster.peers[1].terminate(LIMIT).success());
    cluster.peers[1].spec.variables.clear();
    cluster.start_missing();
    wait_up(&cluster, [2, 2, 2]);
    create_some(&cluster, 1, 50);
}

/// What a cluster without lanes does is what one does whose lanes do not come up.
#[test]
fn everything_goes_over_grpc_alone() {
    let mut cluster = Cluster::of(3, &[(VARIABLE, "0")]);
    let load = Load::start(&cluster.clients(), "no-lanes", 4, Duration::ZERO);
    load.wait_for_more(100, LIMIT);
    let leader = cluster.wait_leader();
    cluster.peers[leader].kill();
    load.wait_for_more(100, LIMIT);
    cluster.start_missing();
    load.wait_for_more(100, LIMIT);
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let came = drain(&cluster.clients(), "no-lanes", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
    for peer in &cluster.peers {
        let (lane, grpc) = sent(peer);
        assert!(lane == 0 && grpc > 0, "{lane} by lane, {grpc} by gRPC");
        assert_eq!(series(peer, UP), []);
    }
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_ends_the_start_by_name() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = Peer::new(PeerSpec::bootstrap("peer1").with(VARIABLE, &port)).run_to_end();
    let said = format!("{}{}", done.stdout, done.stderr);
    assert!(done.code > 0, "{done:?}");
    for word in [VARIABLE, &port, "or to 0"] {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
    let peer = Peer::new(PeerSpec::bootstrap("peer1"));
    let mut same = peer.command();
    same.env(VARIABLE, peer.peer_address().replace("127.0.0.1:", ""));
    let done = run(same, LIMIT);
    assert!(done.code > 0 && done.stderr.contains(VARIABLE), "{done:?}");
}

#[test]
fn the_default_port_may_be_taken() {
    // By this process, unless another one has it.
    let _taken = TcpListener::bind("0.0.0.0:6357");
    let mut peer = Peer::new(PeerSpec::bootstrap("peer1").without(VARIABLE));
    peer.start();
    peer.wait_ready();
    let log = peer.log();
    let line = log.lines().find(|line| line.contains(VARIABLE));
    assert!(line.is_some_and(|line| line.contains("6357")), "{log}");
    peer.client().create(&create("lanes", "x")).unwrap();
}
