//! TLS on every port: who gets in, and certificates that change while peers serve.

use std::net::TcpStream;
use std::time::Duration;

use futures::SinkExt;
use grpcio::{ChannelCredentials, RpcStatusCode, WriteFlags};
use z4_e2e::audit::{drain, Audit};
use z4_e2e::client::{channel_with, environment, option, Client, Refused};
use z4_e2e::load::Load;
use z4_e2e::tls::{self, shared, Pki};
use z4_e2e::{http, wait, Cluster, Peer, PeerSpec, Reader, Tool};
use z4_proto::generated::admin_grpc::AdminClient;
use z4_proto::generated::collection_grpc::CollectionClient;
use z4_proto::generated::peer::{Opening, ProbeReply, ProbeRequest, RaftBatch};
use z4_proto::generated::peer_grpc::PeerClient;
use z4_tls::{Connector, Files, Material, NamedFile, Role, Use};

const LIMIT: Duration = Duration::from_secs(20);
const DAY_S: i64 = 86_400;

fn three() -> Cluster {
    let spec = |n: usize| match n {
        1 => PeerSpec::bootstrap("peer1").sealed(),
        n => PeerSpec::waiting(&format!("peer{n}")).sealed(),
    };
    Cluster::formed((1..=3).map(spec).collect())
}

fn metric(peer: &Peer, name: &str) -> Option<f64> {
    let (_, text) = http::get(&peer.metrics_address(), "/metrics").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_sealed_cluster_does_what_others_do_and_lanes_are_up() {
    let mut cluster = three();
    let clients = cluster.clients();
    let load = Load::start(&clients, "sealed", 4, Duration::ZERO);
    load.wait_for_more(100, LIMIT);
    let leader = cluster.wait_leader();
    wait::until("the lanes to both followers are up", LIMIT, || {
        let (_, text) = http::get(&cluster.peers[leader].metrics_address(), "/metrics")?;
        let lanes = text
            .lines()
            .filter(|line| line.starts_with("z4_rpc_lane_up{"));
        let up = lanes.filter(|line| line.ends_with(" 1")).count();
        wait::check(up == 2, || format!("{up} are"))
    });
    cluster.peers[leader].kill();
    load.wait_for_more(50, LIMIT);
    cluster.start_missing();
    load.wait_for_more(20, LIMIT);
    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
    let came = drain(&clients, "sealed", told.acked.len(), LIMIT);
    Audit::of(&told, &came).assert_clean();
}

/// The strangers who knock at a port.
struct Strangers {
    other: Pki,
}

/// The certificate that a stranger shows, and whether the service port lets it in.
type Shown = (&'static str, Option<ChannelCredentials>, bool);

impl Strangers {
    fn new() -> Self {
        Self {
            other: Pki::new("another"),
        }
    }

    fn all(&self) -> Vec<Shown> {
        let ours = &shared().pki;
        let expired = ours.issue_at(Role::Client, "late", tls::now_s() - 2 * DAY_S);
        let early = ours.issue_at(Role::Client, "early", tls::now_s() + DAY_S);
        let wrong = self.other.issue(Role::Client, "mailer");
        let good = ours.issue(Role::Client, "mailer");
        vec![
            ("nothing, in the clear", None, false),
            ("no certificate", Some(ours.credentials(None)), false),
            (
                "one that ran out",
                Some(ours.credentials(Some(&expired))),
                false,
            ),
            (
                "one of tomorrow",
                Some(ours.credentials(Some(&early))),
                false,
            ),
            (
                "one of another CA",
                Some(ours.credentials(Some(&wrong))),
                false,
            ),
            (
                "trust in another CA",
                Some(self.other.credentials(Some(&good))),
                false,
            ),
            ("a good one", Some(ours.credentials(Some(&good))), true),
        ]
    }
}

fn client(address: &str, credentials: Option<ChannelCredentials>) -> Client {
    let channel = channel_with(environment(), address, credentials);
    Client {
        address: address.to_owned(),
        collection: CollectionClient::new(channel.clone()),
        admin: AdminClient::new(channel),
    }
}

#[test]
fn strangers_get_nothing_at_the_service_and_the_peer_port() {
    let peer = Peer::started(PeerSpec::bootstrap("peer1").sealed());
    for (what, credentials, is_let_in) in Strangers::new().all() {
        let answer = client(&peer.service_address(), credentials).info();
        assert_eq!(answer.is_ok(), is_let_in, "{what}: {answer:?}");
        if let Err(refused) = answer {
            assert_eq!(
                refused.code,
                RpcStatusCode::UNAVAILABLE,
                "{what}: {refused}"
            );
        }
    }
    for (what, credentials, is_let_in) in Strangers::new().all() {
        // Whoever comes from the CA may ask who is there; streams need the peer's own name.
        let channel = channel_with(environment(), &peer.peer_address(), credentials);
        let client = PeerClient::new(channel);
        let asked = client.probe_opt(&ProbeRequest::new(), option(LIMIT));
        assert_eq!(asked.is_ok(), is_let_in, "{what}: {asked:?}");
        if let Ok(reply) = asked {
            let refused = opened(&client, &reply, "peer2").unwrap_err();
            assert_eq!(refused.code, RpcStatusCode::PERMISSION_DENIED, "{refused}");
            assert!(refused.message.contains("not that of peer2"), "{refused}");
        }
    }
}

/// Opens a stream as this peer.
fn opened(client: &PeerClient, to: &ProbeReply, from: &str) -> Result<(), Refused> {
    let mut opening = Opening::new();
    opening.set_cluster_id(to.get_cluster_id().to_vec());
    opening.set_from_raft_id(2);
    opening.set_from_peer_id(from.to_owned());
    opening.set_to_raft_id(to.get_raft_id());
    opening.set_protocol_version(to.get_protocol_version());
    opening.set_levels(to.get_levels().clone());
    let mut batch = RaftBatch::new();
    batch.set_opening(opening);
    let (mut sender, receiver) = client.raft_opt(option(LIMIT))?;
    futures::executor::block_on(async {
        let _ = sender.send((batch, WriteFlags::default())).await;
        let _ = sender.close().await;
        receiver.await
    })?;
    Ok(())
}

#[test]
fn names_of_peers_are_a_list_where_one_is_given() {
    let spec = PeerSpec::bootstrap("peer1").sealed();
    let peer = Peer::started(spec.with("Z4_PEER_TLS_NAMES", "peer1,*.peers.example"));
    let ours = &shared().pki;
    for (name, is_let_in) in [("a.peers.example", true), ("mailer", false)] {
        let shown = ours.issue(Role::Peer, name);
        let credentials = Some(ours.credentials(Some(&shown)));
        let channel = channel_with(environment(), &peer.peer_address(), credentials);
        let client = PeerClient::new(channel);
        let asked = client.probe_opt(&ProbeRequest::new(), option(LIMIT));
        match asked.map_err(Refused::from) {
            Ok(reply) if is_let_in => opened(&client, &reply, "peer2").unwrap(),
            Err(refused) if !is_let_in => {
                assert_eq!(refused.code, RpcStatusCode::PERMISSION_DENIED, "{refused}");
                assert!(refused.message.contains("Z4_PEER_TLS_NAMES"), "{refused}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// A connection of TLS to this port, by these files, that says this; what comes back.
fn said(address: &str, files: Files, bytes: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::{Read, Write};
    let material = Material::read(&files).map_err(|e| e.to_string())?;
    let connector = Connector::new(&material).map_err(|e| e.to_string())?;
    let socket = TcpStream::connect(address).map_err(|e| e.to_string())?;
    socket
        .set_read_timeout(Some(LIMIT))
        .map_err(|e| e.to_string())?;
    let stream = connector.connect("127.0.0.1", socket);
    let mut stream = stream.map_err(|e| e.to_string())?;
    stream.write_all(bytes).map_err(|e| e.to_string())?;
    let mut answer = vec![0; 64];
    let count = stream.read(&mut answer).map_err(|e| e.to_string())?;
    answer.truncate(count);
    Ok(answer)
}

#[test]
fn strangers_get_nothing_at_the_status_port_and_at_that_of_lanes() {
    let peer = Peer::started(PeerSpec::bootstrap("peer1").sealed());
    let (ours, other) = (&shared().pki, Pki::new("another"));
    let files = |ca: &Pki, own: Option<tls::Own>| Files {
        usage: Use::Client,
        own: own.map(|own| {
            (
                NamedFile::new("cert", own.cert),
                NamedFile::new("key", own.key),
            )
        }),
        ca: Some(NamedFile::new("ca", ca.ca_file())),
    };
    let lane = format!("127.0.0.1:{}", peer.lane_port());
    let get = b"GET /healthz HTTP/1.1\r\nHost: z4\r\n\r\n";
    for address in [peer.metrics_address(), lane.clone()] {
        let strange = other.files(Role::Client, "mailer");
        for (what, shown) in [
            ("no certificate", None),
            ("one of another CA", Some(strange)),
        ] {
            let answer = said(&address, files(ours, shown), get);
            assert!(
                !matches!(&answer, Ok(bytes) if !bytes.is_empty()),
                "{what}: {answer:?}"
            );
        }
        let mut clear = TcpStream::connect(&address).unwrap();
        clear.set_read_timeout(Some(LIMIT)).unwrap();
        std::io::Write::write_all(&mut clear, get).unwrap();
        let mut came = Vec::new();
        let _ = std::io::Read::read_to_end(&mut clear, &mut came);
        let came = String::from_utf8_lossy(&came);
        assert!(
            !came.contains("HTTP/1.1"),
            "{address} answers in the clear: {came}"
        );
    }
    let good = || Some(ours.files(Role::Client, "scraper"));
    let answer = said(&peer.metrics_address(), files(ours, good()), get).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    // A certificate is not enough for a lane: the secret of an offer opens it.
    let answer = said(&lane, files(ours, good()), b"garbage that is no frame");
    assert!(
        !matches!(&answer, Ok(bytes) if !bytes.is_empty()),
        "{answer:?}"
    );
    let refused = "z4_rpc_lane_connections_refused_total{reason=\"tls\"}";
    let count = metric(&peer, refused);
    assert!(
        count.is_some_and(|count| count >= 3.0),
        "{refused}: {count:?}"
    );
}

/// Waits until each peer shows what its files hold now, at this port: for the `count`th
/// time.
fn wait_renewed(cluster: &Cluster, port: &str, count: f64) {
    let name = format!("z4_tls_renewed_total{{port=\"{port}\"}}");
    for peer in &cluster.peers {
        wait::until("what is new is shown", LIMIT, || {
            let renewed = metric(peer, &name);
            wait::check(renewed.is_some_and(|c| c >= count), || {
                format!("{name}: {renewed:?}")
            })
        });
    }
}

/// Producers, and consumers at all peers but the leader, while certificates change. These
/// streams acknowledge by themselves: what a peer wrote to one is lost with the peer, so
/// that the one that will be killed has none.
struct Work {
    leader: usize,
    readers: Vec<Reader>,
    load: Load,
}

impl Work {
    fn start(cluster: &mut Cluster) -> Self {
        let leader = cluster.wait_leader();
        let others = cluster.others(leader).into_iter();
        let open = |n: usize| Reader::open(&cluster.peers[n].client(), "rotated");
        let work = Self {
            leader,
            readers: others.map(open).collect(),
            load: Load::start(&cluster.clients(), "rotated", 4, Duration::from_millis(1)),
        };
        work.load.wait_for_more(50, LIMIT);
        work
    }

    /// Kills the leader. Others have to find each other by what they show now.
    fn fail_over(&self, cluster: &mut Cluster) {
        self.load.wait_for_more(50, LIMIT);
        cluster.peers[self.leader].kill();
        self.load.wait_for_more(50, LIMIT);
        cluster.start_missing();
        cluster.wait_settled();
        self.load.wait_for_more(50, LIMIT);
    }

    /// Nothing was lost or refused, and no stream broke.
    fn check(self, clients: &[Client]) {
        for reader in &self.readers {
            assert_eq!(reader.ended(), None, "a stream broke");
        }
        let told = self.load.finish();
        assert!(told.refused.is_empty(), "{:?}", told.refused);
        // A task that is on its way to a stream when that is cut off is lost with it.
        wait::until("all acknowledged tasks come", LIMIT, || {
            let have: usize = self.readers.iter().map(Reader::count).sum();
            let want = told.acked.len();
            wait::check(have >= want, || format!("{have} of {want} came"))
        });
        let all = self.readers.into_iter().flat_map(Reader::stop);
        let mut came: Vec<_> = all.collect();
        came.extend(drain(clients, "rotated", 0, LIMIT));
        let audit = Audit::of(&told, &came);
        for rule in [
            z4_check::Rule::NeverDelivered,
            z4_check::Rule::MadeTwice,
            z4_check::Rule::Early,
        ] {
            assert_eq!(audit.count(rule), 0, "{audit:?}");
        }
    }
}

#[test]
fn certificates_change_under_load_and_nothing_is_lost() {
    let mut cluster = three();
    let clients = cluster.clients();
    let work = Work::start(&mut cluster);
    for peer in &cluster.peers {
        let next = shared().pki.issue(Role::Peer, &peer.spec.id);
        peer.own().unwrap().overwrite(&next);
    }
    wait_renewed(&cluster, "service", 1.0);
    wait_renewed(&cluster, "peer", 1.0);
    work.fail_over(&mut cluster);
    work.check(&clients);
}

#[test]
fn the_ca_of_peers_is_replaced_under_load_and_nothing_is_lost() {
    let (old, new, folder) = (Pki::new("old"), Pki::new("new"), Pki::new("files"));
    let own: Vec<_> = (1..=3)
        .map(|n| folder.files(Role::Peer, &format!("peer{n}")))
        .collect();
    let spec = |n: usize| {
        let spec = match n {
            1 => PeerSpec::bootstrap("peer1"),
            n => PeerSpec::waiting(&format!("peer{n}")),
        };
        own[n - 1].overwrite(&old.issue(Role::Peer, &spec.id));
        let text = |path: &std::path::Path| path.display().to_string();
        spec.sealed()
            .with("Z4_PEER_TLS_CERT", &text(&own[n - 1].cert))
            .with("Z4_PEER_TLS_KEY", &text(&own[n - 1].key))
            .with("Z4_PEER_TLS_CA", &text(&folder.ca_file()))
    };
    tls::overwrite(&folder.ca_file(), &old.ca_pem());
    let mut cluster = Cluster::formed((1..=3).map(spec).collect());
    let clients = cluster.clients();
    let work = Work::start(&mut cluster);
    // Both are trusted, then the new one has signed all, then the old one is gone.
    tls::overwrite(&folder.ca_file(), &[old.ca_pem(), new.ca_pem()].concat());
    wait_renewed(&cluster, "peer", 1.0);
    for (peer, own) in cluster.peers.iter().zip(&own) {
        own.overwrite(&new.issue(Role::Peer, &peer.spec.id));
    }
    wait_renewed(&cluster, "peer", 2.0);
    work.load.wait_for_more(50, LIMIT);
    tls::overwrite(&folder.ca_file(), &new.ca_pem());
    wait_renewed(&cluster, "peer", 3.0);
    work.fail_over(&mut cluster);
    let asked = |ca: &Pki| {
        let shown = ca.issue(Role::Peer, "peer9");
        let credentials = Some(new.credentials(Some(&shown)));
        let address = cluster.peers[0].peer_address();
        let client = PeerClient::new(channel_with(environment(), &address, credentials));
        client.probe_opt(&ProbeRequest::new(), option(LIMIT))
    };
    assert!(asked(&new).is_ok());
    assert!(asked(&old).is_err(), "the old CA is gone");
    work.check(&clients);
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_of() {
    let peer = Peer::started(PeerSpec::bootstrap("peer1").sealed());
    let own = peer.own().unwrap();
    let expiry =
        "z4_tls_certificate_expiry_timestamp_seconds{certificate=\"own\",port=\"service\"}";
    let left_s = || metric(&peer, expiry).unwrap() - tls::now_s() as f64;
    assert!(left_s() > 14.0 * DAY_S as f64, "{}", left_s());
    let warning = "a certificate runs out";
    assert!(!peer.log().contains(warning), "it is good for a month");
    own.overwrite(
        &tls::shared()
            .pki
            .issue_at(Role::Peer, "peer1", tls::now_s()),
    );
    wait::until("a day that is left is told of", LIMIT, || {
        let is_told = (0.0..=DAY_S as f64).contains(&left_s()) && peer.log().contains(warning);
        wait::check(is_told, || format!("{} s", left_s()))
    });
    let sound = std::fs::read(&own.cert).unwrap();
    let bad = "z4_tls_files_bad{port=\"service\"}";
    assert_eq!(metric(&peer, bad), Some(0.0));
    tls::overwrite(&own.cert, &sound[..sound.len() / 2]);
    wait::until("bad files are told of", LIMIT, || {
        let value = metric(&peer, bad);
        wait::check(value == Some(1.0), || format!("{value:?}"))
    });
    assert!(peer.log().contains("has no end"), "the line is named");
    let fresh = Client::on(environment(), &peer.service_address());
    fresh.info().unwrap();
    tls::overwrite(&own.cert, &sound);
    wait::until("good files are told of", LIMIT, || {
        let value = metric(&peer, bad);
        wait::check(value == Some(0.0), || format!("{value:?}"))
    });
}

#[test]
fn bad_files_end_the_start_by_name() {
    let pki = Pki::new("z4");
    let (own, client) = (pki.files(Role::Peer, "peer1"), pki.files(Role::Client, "x"));
    let other = Pki::new("another").issue(Role::Peer, "peer1");
    let strange = pki.files(Role::Peer, "strange");
    strange.overwrite(&other);
    let shown = |path: &std::path::Path| path.display().to_string();
    type Change<'a> = (&'a str, String, &'a [&'a str]);
    let table: [Change<'_>; 6] = [
        (
            "Z4_TLS_CERT",
            shown(&own.key),
            &["Z4_TLS_CERT", "no certificate in it"],
        ),
        (
            "Z4_TLS_KEY",
            shown(&client.key),
            &["Z4_TLS_KEY", "not the key of"],
        ),
        (
            "Z4_TLS_CLIENT_CA",
            "/nowhere".into(),
            &["Z4_TLS_CLIENT_CA", "No such file"],
        ),
        ("Z4_PEER_TLS_CA", shown(&own.key), &["Z4_PEER_TLS_CA"]),
        (
            "Z4_PEER_TLS_CERT",
            shown(&client.cert),
            &["Z4_PEER_TLS_KEY", "not the key"],
        ),
        ("Z4_TLS_CLIENT_CA", String::new(), &["Z4_TLS_CLIENT_CA"]),
    ];
    for (name, value, words) in table {
        let mut spec = PeerSpec::bootstrap("peer1");
        for (name, value) in pki.variables(&own) {
            spec = spec.with(&name, &value);
        }
        let done = Peer::new(spec.with(name, &value)).run_to_end();
        assert_ne!(done.code, 0, "{name}: {done:?}");
        let told = format!("{}{}", done.stdout, done.stderr);
        for word in words {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(!told.contains("is another process on this port"), "{told}");
    }
    let mut spec = PeerSpec::bootstrap("peer1");
    for (name, value) in pki.variables(&strange) {
        spec = spec.with(&name, &value);
    }
    let done = Peer::new(spec).run_to_end();
    let told = format!("{}{}", done.stdout, done.stderr);
    assert!(told.contains("does not vouch for it"), "{told}");
}

#[test]
fn a_slow_handshake_is_cut_off_and_others_do_not_wait_for_it() {
    let peer = Peer::started(PeerSpec::bootstrap("peer1").sealed());
    let lane = format!("127.0.0.1:{}", peer.lane_port());
    let addresses = [
        peer.service_address(),
        peer.peer_address(),
        peer.metrics_address(),
        lane,
    ];
    for address in addresses {
        // One byte of a handshake, then nothing.
        let mut slow = TcpStream::connect(&address).unwrap();
        std::io::Write::write_all(&mut slow, &[0x16]).unwrap();
        slow.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
        let since = std::time::Instant::now();
        Client::on(environment(), &peer.service_address())
            .info()
            .unwrap();
        assert!(since.elapsed() < Duration::from_secs(3), "others waited");
        let ended = std::io::Read::read_to_end(&mut slow, &mut Vec::new());
        let is_cut = !matches!(&ended, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
        assert!(is_cut, "{address}: still open after {:?}", since.elapsed());
    }
}

#[test]
fn z4t_and_a_stream_of_deliveries_work_behind_tls() {
    let peer = Peer::started(PeerSpec::bootstrap("peer1").sealed());
    let tool = Tool::at(&peer);
    let id = tool.text(&["create", "mails", "hello"]);
    assert!(!id.trim().is_empty());
    let reader = Reader::open(&peer.client(), "mails");
    wait::until("the task comes", LIMIT, || {
        wait::check(reader.count() == 1, || "it did not".to_owned())
    });
}
