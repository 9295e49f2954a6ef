//! Steps of a peer alone, of a founder, of a newcomer and of who lets it in: one
//! point after the other, each met once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use z4_e2e::cluster::voters;
use z4_e2e::{create, wait, Client, Peer, PeerSpec};

use super::acts::{all_there, ended, set, take_one, CALL, ERROR, LIMIT};
use super::{End, BORNE_BY_NEWCOMER, FOUNDING, JOINING, LEADING, SERVING};

/// Works until the peer does not answer any more; when that call began.
#[track_caller]
fn work(client: &Client, point: &str, made: &mut BTreeSet<String>) -> Instant {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let began = Instant::now();
        match client.create_within(&create("points", vec![1; 1_024]), CALL) {
            Ok(answer) => made.insert(answer.get_task().get_id().to_owned()),
            Err(_) => return began,
        };
        let began = Instant::now();
        if made.len().is_multiple_of(4) && take_one(client, made).is_none() {
            return began;
        }
    }
    panic!("{point} is not reached");
}

#[test]
fn a_serving_peer_ends_at_every_point_and_has_lost_nothing() {
    // Few entries are kept: flushes and cuts come by themselves.
    let spec = PeerSpec::bootstrap("peer1").with("Z4_LOG_KEEP_ENTRIES", "20");
    let mut peer = Peer::started(spec);
    let client = peer.client();
    let mut made = BTreeSet::new();
    let mut worst = Duration::ZERO;
    for (point, end) in SERVING {
        peer.wait_ready();
        peer.wait_answers();
        let before = peer.log().len();
        set(&peer, point, ERROR);
        let since = work(&client, point, &mut made);
        let took = ended(&mut peer, point, *end, before, since);
        worst = worst.max(took);
        peer.start();
        peer.wait_ready();
        peer.wait_answers();
        all_there(&client, point, &made);
    }
    println!(
        "{} points of a serving peer, {} acknowledged tasks kept, 0 lost; the slowest end {} ms \
         after the call that met it",
        SERVING.len(),
        made.len(),
        worst.as_millis()
    );
}

#[test]
fn a_founder_that_fails_at_any_point_founds_its_cluster_the_next_time() {
    for (point, end) in FOUNDING {
        let faults = format!("{point}=return(disk on fire)");
        let mut peer = Peer::new(PeerSpec::bootstrap("peer1").with("FAILPOINTS", &faults));
        let done = peer.run_to_end();
        assert_ne!(done.code, 0, "{point}: {done:?}");
        let said = format!("{}{}", done.stdout, done.stderr);
        assert_eq!(
            said.contains("disk on fire"),
            *end == End::Said,
            "{point}: {said}"
        );
        peer.spec.variables.clear();
        peer.start();
        peer.wait_ready();
        peer.wait_answers();
        let made = peer.client().create(&create("points", point.as_bytes()));
        made.unwrap_or_else(|refused| panic!("{point}: {refused}"));
    }
    println!("{} points of a founder", FOUNDING.len());
}

/// Adds the second peer to the first, again and again if need be, and waits
/// until both vote. Peers that have ended are started again, whole.
#[track_caller]
fn join(peers: &mut [Peer; 2], point: &str) {
    let address = peers[1].peer_address();
    wait::until("both vote", LIMIT, || {
        for peer in peers.iter_mut() {
            if !peer.is_running() {
                peer.reap();
                peer.spec.variables.clear();
                peer.start();
                peer.wait_answers();
            }
        }
        let client = peers[0].client();
        let info = client.info().map_err(|e| e.to_string())?;
        if voters(&info) == 2 {
            return Ok(());
        }
        // It may be a member already, or still be on its way.
        let added = client.add_member("peer2", &address);
        Err(format!("{point}: {added:?} {info:?}"))
    });
}

fn check_joined(peers: &mut [Peer; 2], point: &str, made: &BTreeSet<String>) {
    for peer in peers.iter_mut() {
        peer.wait_ready();
        peer.wait_answers();
        all_there(&peer.client(), point, made);
    }
}

fn pair() -> ([Peer; 2], BTreeSet<String>) {
    let mut peers = [PeerSpec::bootstrap("peer1"), PeerSpec::waiting("peer2")].map(Peer::new);
    peers.iter_mut().for_each(Peer::start);
    peers.iter_mut().for_each(Peer::wait_answers);
    peers[0].wait_ready();
    let made = (0..20).map(|n| {
        let answer = peers[0].client().create(&create("points", vec![n]));
        answer.unwrap().get_task().get_id().to_owned()
    });
    let made = made.collect();
    (peers, made)
}

#[test]
fn a_newcomer_that_fails_at_any_point_comes_in_the_next_time() {
    for (point, end) in JOINING {
        let (mut peers, made) = pair();
        set(&peers[1], point, ERROR);
        let before = peers[1].log().len();
        let address = peers[1].peer_address();
        let since = Instant::now();
        // It may end before the leader has its answer.
        let _ = peers[0].client().add_member("peer2", &address);
        ended(&mut peers[1], point, *end, before, since);
        join(&mut peers, point);
        check_joined(&mut peers, point, &made);
    }
    for point in BORNE_BY_NEWCOMER {
        let (mut peers, made) = pair();
        set(&peers[1], point, &format!("1*{ERROR}"));
        join(&mut peers, point);
        assert!(peers[1].log().contains(point), "{point} is not reached");
        check_joined(&mut peers, point, &made);
    }
    let points = JOINING.len() + BORNE_BY_NEWCOMER.len();
    println!("{points} points of a newcomer");
}

#[test]
fn a_leader_that_fails_at_any_point_lets_the_newcomer_in_the_next_time() {
    for (point, end) in LEADING {
        let (mut peers, made) = pair();
        set(&peers[0], point, ERROR);
        let before = peers[0].log().len();
        let address = peers[1].peer_address();
        let since = Instant::now();
        let _ = peers[0].client().add_member("peer2", &address);
        ended(&mut peers[0], point, *end, before, since);
        join(&mut peers, point);
        check_joined(&mut peers, point, &made);
    }
    println!("{} points of a leader", LEADING.len());
}
