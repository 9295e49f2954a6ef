//! Clients that use up descriptors: they cost no listener, no store and no other
//! client, and a peer that would not have enough does not start.

use std::net::Ipv4Addr;
use std::time::Duration;

use z4_e2e::crowd::{is_greeted, Crowd};
use z4_e2e::{create, http, wait, Client, Cluster, Peer, PeerSpec};

const LIMIT: Duration = Duration::from_secs(30);
const NAMESPACE: &str = "descriptors";
/// Addresses that a crowd comes from: not that of the client.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

fn peer_with(descriptors: &str) -> Peer {
    let mut spec = PeerSpec::bootstrap("peer1");
    spec.descriptors = Some(descriptors.to_owned());
    let mut peer = Peer::started(spec);
    peer.wait_ready();
    peer
}

fn ports(peer: &Peer) -> [String; 3] {
    [
        peer.service_address(),
        peer.peer_address(),
        peer.metrics_address(),
    ]
}

#[track_caller]
fn creates(client: &Client, what: &str) {
    let made = client.create(&create(NAMESPACE, "x"));
    assert!(made.is_ok(), "{what}: {made:?}");
}

/// As a client that connects now: it is served, perhaps at its second try.
#[track_caller]
fn is_served(address: &str, what: &str) {
    let client = Client::new(address);
    wait::until(what, LIMIT, || {
        let made = client.create(&create(NAMESPACE, "x"));
        made.map(|_| ()).map_err(|e| e.to_string())
    });
}

/// The status port answers a newcomer.
#[track_caller]
fn tells(peer: &Peer, what: &str) {
    wait::until(what, LIMIT, || {
        let (code, said) = http::get(&peer.metrics_address(), "/readyz")?;
        wait::check(code == 200, || format!("/readyz says {code} {said}"))
    });
}

#[track_caller]
fn has_back(peer: &Peer, before: usize) {
    wait::until("the descriptors are back", LIMIT, || {
        let now = peer.descriptors();
        wait::check(now <= before + 8, || format!("{now} now, {before} before"))
    });
}

#[test]
fn idle_connections_cost_no_port_its_listener() {
    let mut peer = peer_with("1024:4096");
    let client = peer.client();
    creates(&client, "before");
    let before = peer.descriptors();
    for address in ports(&peer) {
        let crowd = Crowd::dial(&address, ELSEWHERE, 1_100);
        creates(&client, &format!("a crowd at {address}"));
        tells(&peer, "the status port answers beside a crowd");
        is_served(&peer.service_address(), "a newcomer beside a crowd");
        drop(crowd);
        assert!(peer.is_running(), "after a crowd at {address}");
        has_back(&peer, before);
        is_served(&peer.service_address(), "a newcomer after a crowd");
        tells(&peer, "the status port answers after a crowd");
    }
}

/// More than the process may have descriptors, of one address and of several.
#[test]
fn a_crowd_beyond_the_limit_is_refused_and_others_are_served() {
    let mut peer = peer_with("1024:2048");
    let client = peer.client();
    creates(&client, "before");
    let before = peer.descriptors();
    let service = peer.service_address();
    let crowd = Crowd::dial(&service, ELSEWHERE, 2_200);
    wait::until("most of the crowd is refused", LIMIT, || {
        let held = crowd.held();
        wait::check(held < 700, || format!("{held} of {} held", crowd.count()))
    });
    creates(&client, "one address has all that it may");
    is_served(&service, "a newcomer of another address");
    // All others are taken too: who is connected is served all the same.
    let more = [1, 2, 3].map(|n| Crowd::dial(&service, Ipv4Addr::new(127, 0, 1, n), 700));
    for _ in 0..20 {
        creates(&client, "the port has all that it may");
    }
    let peers = Crowd::dial(&peer.peer_address(), ELSEWHERE, 2_200);
    let status = Crowd::dial(&peer.metrics_address(), ELSEWHERE, 2_200);
    creates(&client, "all ports have all that they may");
    tells(&peer, "the status port answers");
    assert!(refused(&peer, "service") > 0.0);
    assert!(refused(&peer, "peer") > 0.0);
    drop((crowd, more, peers, status));
    is_served(&service, "a newcomer afterwards");
    assert!(peer.is_running());
    has_back(&peer, before);
}

/// Connections that one port refused.
fn refused(peer: &Peer, port: &str) -> f64 {
    let (_, text) = http::get(&peer.metrics_address(), "/metrics").unwrap();
    let name = format!("z4_server_connections_refused_total{{port=\"{port}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&*name));
    line.and_then(|count| count.parse().ok()).unwrap_or(0.0)
}

#[test]
fn connections_that_never_say_a_word_are_closed() {
    let peer = peer_with("1024:4096");
    let crowd = Crowd::dial(&peer.service_address(), ELSEWHERE, 20);
    assert_eq!(crowd.held(), 20);
    wait::until("all of them are closed", Duration::from_secs(60), || {
        let held = crowd.held();
        wait::check(held == 0, || format!("{held} are held"))
    });
    creates(&peer.client(), "afterwards");
}

/// Two of three peers: without them there is no quorum.
#[test]
fn one_client_with_all_descriptors_ends_no_peer_and_costs_no_quorum() {
    let spec = |id: &str, bootstrap| PeerSpec {
        id: id.to_owned(),
        bootstrap,
        descriptors: Some("1024:1024".to_owned()),
        ..PeerSpec::default()
    };
    let specs = vec![
        spec("peer1", true),
        spec("peer2", false),
        spec("peer3", false),
    ];
    let mut cluster = Cluster::formed(specs);
    let clients = cluster.clients();
    clients.iter().for_each(|client| creates(client, "before"));
    let crowds: Vec<Crowd> = (0..2)
        .flat_map(|n| ports(&cluster.peers[n]))
        .map(|address| Crowd::dial(&address, ELSEWHERE, 1_100))
        .collect();
    for round in 0..60 {
        for (n, client) in clients.iter().enumerate() {
            creates(client, &format!("peer{} in round {round}", n + 1));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(crowds);
    assert!(cluster.peers.iter_mut().all(Peer::is_running));
    cluster.wait_settled();
    for peer in &cluster.peers {
        is_served(&peer.service_address(), "a newcomer afterwards");
        tells(peer, "the status port answers");
    }
}

#[test]
fn a_peer_that_would_have_too_few_descriptors_does_not_start() {
    let mut spec = PeerSpec::bootstrap("peer1");
    spec.descriptors = Some("64:64".to_owned());
    let done = Peer::new(spec.clone()).run_to_end();
    assert_eq!(done.code, 2, "{done:?}");
    for part in ["open files is 64", "are needed", "ulimit -Hn"] {
        assert!(done.stderr.contains(part), "{part}: {done:?}");
    }
    spec.descriptors = Some("1024:4096".to_owned());
    let spec = spec.with("Z4_CONNECTIONS_MAX", "5000");
    let done = Peer::new(spec).run_to_end();
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("Z4_CONNECTIONS_MAX"), "{done:?}");
}

#[test]
fn the_bounds_of_connections_can_be_set() {
    let spec = PeerSpec::bootstrap("peer1")
        .with("Z4_CONNECTIONS_MAX", "6")
        .with("Z4_CONNECTIONS_PER_ADDRESS_MAX", "3");
    let mut peer = Peer::started(spec);
    peer.wait_ready();
    let crowd = Crowd::dial(&peer.service_address(), ELSEWHERE, 4);
    wait::until("the fourth is refused", LIMIT, || {
        wait::check(crowd.held() == 3, || format!("{} held", crowd.held()))
    });
    creates(&peer.client(), "beside them");
    drop(crowd);
    wait::until("there is room again", LIMIT, || {
        let greeted = is_greeted(&peer.service_address(), ELSEWHERE);
        wait::check(greeted, || "it is refused".to_owned())
    });
}
