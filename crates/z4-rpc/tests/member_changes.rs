//! Changes of members: their callers are answered in time, and are told whether
//! anything was done; addresses have one form.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use grpcio::{CallOption, Error, RpcStatus, RpcStatusCode};
use support::client::Client;
use support::{eventually, Peer, SnapshotsOfTest};
use z4_proto::generated::admin::{AddClusterMemberRequest, SetMemberAddressRequest};

/// Far less than a peer waits by itself.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// A cluster of two, and the address of a port that takes connections and says
/// nothing.
fn two() -> (Vec<Peer>, Vec<Client>, TcpListener) {
    let snapshots = SnapshotsOfTest::default();
    let peers = vec![
        Peer::bootstrapped("a", &snapshots),
        Peer::waiting("b", &snapshots),
    ];
    let clients: Vec<Client> = peers.iter().map(Peer::client).collect();
    clients[0].add_member("b", &peers[1].peer_address).unwrap();
    eventually("b knows the leader", || {
        clients[1].info().unwrap().get_leader_id() == "a"
    });
    (peers, clients, TcpListener::bind("127.0.0.1:0").unwrap())
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().unwrap().to_string()
}

fn status<T>(result: grpcio::Result<T>) -> RpcStatus {
    match result {
        Err(Error::RpcFailure(status)) => status,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was done"),
    }
}

fn says(status: &RpcStatus, reason: &str) -> bool {
    String::from_utf8_lossy(status.details()).contains(reason)
}

fn add(client: &Client, id: &str, address: &str, within: Duration) -> grpcio::Result<()> {
    let mut request = AddClusterMemberRequest::default();
    request.set_member_id(id.into());
    request.set_member_address(address.into());
    let option = CallOption::default().timeout(within);
    let added = client.admin().add_cluster_member_opt(&request, option);
    added.map(|_| ())
}

fn set(client: &Client, id: &str, address: &str, within: Duration) -> grpcio::Result<bool> {
    let mut request = SetMemberAddressRequest::default();
    request.set_member_id(id.into());
    request.set_member_address(address.into());
    let option = CallOption::default().timeout(within);
    let set = client.admin().set_member_address_opt(&request, option);
    set.map(|response| response.get_replicated())
}

#[test]
fn callers_with_little_time_are_answered() {
    let (peers, clients, silent) = two();
    let silent = address(&silent);
    for client in &clients {
        let started = Instant::now();
        let refused = status(set(client, "b", &silent, SHORT));
        assert_ne!(
            refused.code(),
            RpcStatusCode::DEADLINE_EXCEEDED,
            "{refused:?}"
        );
        let refused = status(add(client, "c", &silent, SHORT));
        assert_ne!(
            refused.code(),
            RpcStatusCode::DEADLINE_EXCEEDED,
            "{refused:?}"
        );
        assert!(started.elapsed() < 2 * SHORT);
    }
    // The leader knows how long its caller waits, and says what it found out.
    let refused = status(set(&clients[0], "b", &silent, SHORT));
    assert_eq!(
        refused.code(),
        RpcStatusCode::FAILED_PRECONDITION,
        "{refused:?}"
    );
    assert!(
        refused.message().contains("no peer answers at"),
        "{refused:?}"
    );
    drop(clients);
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn a_follower_passes_on_whether_anything_was_done() {
    let (peers, clients, silent) = two();
    let silent = address(&silent);
    thread::scope(|scope| {
        let first = scope.spawn(|| add(&clients[0], "c", &silent, LONG));
        // The first one has its turn, and dials for longer than another waits.
        thread::sleep(Duration::from_millis(300));
        let second = status(add(&clients[1], "d", &silent, LONG));
        assert_eq!(second.code(), RpcStatusCode::UNAVAILABLE, "{second:?}");
        assert!(second.message().contains("nothing was done"), "{second:?}");
        assert!(says(&second, "NOTHING_DONE"), "{second:?}");
        assert!(first.join().unwrap().is_err());
    });
    drop(clients);
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn an_address_is_set_however_it_is_written() {
    let (peers, clients, _) = two();
    let written = peers[1].peer_address.replace("127.0.0.1:", "127.0.0.1:0");
    for client in &clients {
        assert!(set(client, "b", &written, LONG).unwrap());
    }
    let info = clients[0].info().unwrap();
    let mut members = info.get_members().iter();
    assert!(members.any(|m| m.get_address() == peers[1].peer_address));
    drop(clients);
    peers.into_iter().for_each(Peer::stop);
}
