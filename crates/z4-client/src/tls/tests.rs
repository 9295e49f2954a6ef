//! Real servers of gRPC on loopback: who is let in, who is not and why, and files that
//! change under a running client.

#![allow(clippy::unwrap_used)]

mod server;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::executor::block_on;
use grpcio::CertificateRequestType::{
    DontRequestClientCertificate, RequestAndRequireClientCertificateAndVerify,
    RequestClientCertificateAndVerify,
};
use tempfile::TempDir;
use z4_tls::{Authority, Issued, Role};

use super::Followed;
use crate::{limits, Client, Error, ErrorKind, NewTask, Options, Producer, ProducerOptions, Tls};
use server::Server;

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

fn authority(name: &str) -> Authority {
    Authority::create(name, 30, now_s()).unwrap()
}

fn peer(ca: &Authority, host: &str) -> Issued {
    let hosts = [host.to_owned()];
    ca.issue(Role::Peer, "peer1", &hosts, 30, now_s()).unwrap()
}

fn worker(ca: &Authority, name: &str) -> Issued {
    ca.issue(Role::Client, name, &[], 30, now_s()).unwrap()
}

fn pem(ca: &Authority) -> Vec<u8> {
    ca.to_pem().unwrap().cert_pem
}

/// Writes the files of a client.
fn written(dir: &TempDir, ca: &Authority, own: Option<&Issued>) -> Tls {
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("ca.pem"), pem(ca)).unwrap();
    let tls = Tls::new(path("ca.pem"));
    let Some(own) = own else { return tls };
    std::fs::write(path("cert.pem"), &own.cert_pem).unwrap();
    std::fs::write(path("key.pem"), &own.key_pem).unwrap();
    tls.certificate(path("cert.pem"), path("key.pem"))
}

/// Connects and asks for the health.
fn ask(server: &Server, tls: Option<Tls>) -> Result<Client, Error> {
    let options = Options {
        tls,
        ..Options::default()
    };
    let client = block_on(Client::connect([&*server.address], options))?;
    block_on(client.health())?;
    Ok(client)
}

fn refused(server: &Server, tls: Option<Tls>, why: &str) {
    let error = ask(server, tls).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NobodyAnswers, "{error}");
    assert!(error.message().contains(why), "{why}: {error}");
    assert!(error.message().contains(&server.address), "{error}");
}

#[test]
fn a_peer_of_the_ca_is_asked_and_others_are_not() {
    let (ca, other, dir) = (authority("ca"), authority("other"), TempDir::new().unwrap());
    let server = Server::start(peer(&ca, "127.0.0.1"), &ca, DontRequestClientCertificate);
    let tls = written(&dir, &ca, None);
    ask(&server, Some(tls.clone())).unwrap();
    refused(&server, None, "does it speak TLS?");
    refused(&Server::in_the_clear(), Some(tls.clone()), "speak TLS)");

    let hosts = ["127.0.0.1".to_owned()];
    let expired = ca.issue(Role::Peer, "peer1", &hosts, 1, now_s() - 3 * 86_400);
    let expired = Server::start(expired.unwrap(), &ca, DontRequestClientCertificate);
    refused(&expired, Some(tls), "or has run out)");
    let dir = TempDir::new().unwrap();
    let tls = written(&dir, &other, None);
    refused(&server, Some(tls), "does not come from the given CA");
}

#[test]
fn the_certificate_names_the_address_or_the_server() {
    let (ca, dir) = (authority("ca"), TempDir::new().unwrap());
    let server = Server::start(peer(&ca, "z4.example"), &ca, DontRequestClientCertificate);
    let tls = written(&dir, &ca, None);
    refused(&server, Some(tls.clone()), "not have the name 127.0.0.1)");
    for name in ["z4.example", "peer1"] {
        ask(&server, Some(tls.clone().server_name(name))).unwrap();
    }
    let tls = tls.server_name("z5.example");
    refused(&server, Some(tls), "not have the name z5.example)");
}

#[test]
fn a_peer_may_ask_for_a_certificate() {
    let (ca, other) = (authority("ca"), authority("other"));
    let (dirs, own) = ([(); 3].map(|()| TempDir::new().unwrap()), worker(&ca, "w1"));
    let nobody = written(&dirs[0], &ca, None);
    let known = written(&dirs[1], &ca, Some(&own));
    let stranger = written(&dirs[2], &ca, Some(&worker(&other, "w1")));
    let auth = RequestAndRequireClientCertificateAndVerify;
    let strict = Server::start(peer(&ca, "127.0.0.1"), &ca, auth);
    refused(
        &strict,
        Some(nobody.clone()),
        "ask clients for a certificate?",
    );
    refused(
        &strict,
        Some(stranger.clone()),
        "ask clients for a certificate?",
    );
    ask(&strict, Some(known.clone())).unwrap();
    assert_eq!(strict.last_seen(), "w1");

    let auth = RequestClientCertificateAndVerify;
    let open = Server::start(peer(&ca, "127.0.0.1"), &ca, auth);
    ask(&open, Some(nobody)).unwrap();
    assert_eq!(open.last_seen(), "");
    ask(&open, Some(known)).unwrap();
    assert_eq!(open.last_seen(), "w1");
    refused(&open, Some(stranger), "ask clients for a certificate?");
}

#[test]
fn what_cannot_be_used_is_refused_before_anybody_is_dialled() {
    let (ca, dir) = (authority("ca"), TempDir::new().unwrap());
    let server = Server::in_the_clear();
    let good = written(&dir, &ca, Some(&worker(&ca, "w1")));
    let path = |name: &str| dir.path().join(name);
    let elsewhere = Tls::new(path("none.pem")).named("--ca", "--cert", "--key");
    let swapped = Tls::new(path("ca.pem")).certificate(path("key.pem"), path("cert.pem"));
    let strange = |name: &str| good.clone().server_name(name);
    for (tls, said) in [
        (elsewhere, "--ca: "),
        (swapped, "cert: "),
        (strange(""), "server_name is \"\"; give"),
        (strange("a\0b"), "server_name is"),
        (strange(&"x".repeat(254)), "of 1 to 253 characters"),
    ] {
        let error = ask(&server, Some(tls)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.message().contains(said), "{said}: {error}");
    }
}

#[test]
fn files_are_looked_at_now_and_then_and_bad_ones_are_told() {
    let (ca, dir) = (authority("ca"), TempDir::new().unwrap());
    let tls = written(&dir, &ca, Some(&worker(&ca, "w1")));
    let followed = Followed::open(&tls).unwrap();
    let start = Instant::now();
    let looks = |count: u32| start + limits::TLS_LOOK_INTERVAL * count + Duration::from_secs(1);
    written(&dir, &ca, Some(&worker(&ca, "w2")));
    assert_eq!(followed.generation(start), 1);
    // New files may be half written when they are seen first.
    assert_eq!(followed.generation(looks(1)), 1);
    assert_eq!(followed.generation(looks(2)), 2);
    let key = dir.path().join("key.pem");
    std::fs::write(&key, "").unwrap();
    // The first bad look may be in the middle of a change.
    assert_eq!(followed.generation(looks(3)), 2);
    assert_eq!(followed.trouble(), None);
    assert_eq!(followed.generation(looks(4)), 2);
    let trouble = followed.trouble().unwrap();
    assert!(trouble.contains("no private key in it"), "{trouble}");
    std::fs::remove_file(&key).unwrap();
    written(&dir, &ca, Some(&worker(&ca, "w3")));
    assert_eq!(followed.generation(looks(5)), 2);
    assert_eq!(followed.generation(looks(6)), 3);
    assert_eq!(followed.trouble(), None);
}

#[test]
fn a_running_client_follows_its_files_and_open_streams_go_on() {
    let (old, new, dir) = (authority("old"), authority("new"), TempDir::new().unwrap());
    let auth = RequestAndRequireClientCertificateAndVerify;
    let server = Server::start(peer(&old, "127.0.0.1"), &old, auth);
    let client = ask(
        &server,
        Some(written(&dir, &old, Some(&worker(&old, "w1")))),
    )
    .unwrap();
    let mut stream = client.stream("ns");
    block_on(stream.next()).unwrap();
    // Its driver runs on what the old channel was made with.
    let producer = Producer::new(&client, ProducerOptions::default());
    let create = || block_on(block_on(producer.send(NewTask::new("ns", "x"))));
    create().unwrap();
    let before = Arc::downgrade(&client.peers.at(0));

    server.replace(peer(&new, "127.0.0.1"), &new);
    written(&dir, &new, Some(&worker(&new, "w2")));
    let end = Instant::now() + limits::TLS_LOOK_INTERVAL * 5;
    while server.last_seen() != "w2" {
        assert!(Instant::now() < end, "{}", server.last_seen());
        block_on(client.health()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    server.send_task();
    block_on(stream.next()).unwrap();
    create().unwrap();
    assert_eq!(server.opened(), 1);
    drop(stream);

    let mut stream = client.stream("ns");
    block_on(stream.next()).unwrap();
    assert_eq!(server.opened(), 2);
    // The stream of the producer holds the old channel still.
    assert!(before.upgrade().is_some());
    drop(producer);
    while before.upgrade().is_some() {
        assert!(Instant::now() < end, "the old channel stays");
        std::thread::sleep(Duration::from_millis(10));
    }
}
