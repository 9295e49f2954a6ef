//! Bytes that are no request, on every port: the peer stays up and serves.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use grpcio::{RpcStatusCode, WriteFlags};
use z4_e2e::client::option;
use z4_e2e::{create, http, Cluster, Peer};

/// The start of an HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that look like nothing, the same in each run.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn serves(peer: &mut Peer, after: &str) {
    assert!(peer.is_running(), "it ended after {after}");
    let made = peer.client().create(&create("bytes", after));
    let made = made.unwrap_or_else(|e| panic!("after {after}: {e}"));
    let got = peer.client().get("bytes", made.get_task().get_id());
    assert!(got.is_ok(), "after {after}: {got:?}");
}

#[test]
fn noise_and_other_protocols_on_every_port() {
    let mut cluster = Cluster::single();
    let peer = &mut cluster.peers[0];
    let mut addresses = vec![
        peer.service_address(),
        peer.peer_address(),
        peer.metrics_address(),
    ];
    if peer.lane_port() != "0" {
        addresses.push(format!("127.0.0.1:{}", peer.lane_port()));
    }
    let inputs = [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 4_096]),
        ("noise", noise(64 << 10, 1)),
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: z4\r\n\r\n".to_vec()),
        ("half a request", b"POST /z4.Collection/Cre".to_vec()),
        ("a preface and noise", [PREFACE, &noise(4_096, 2)].concat()),
        ("a preface alone", PREFACE.to_vec()),
    ];
    for (what, bytes) in &inputs {
        let threads: Vec<_> = addresses
            .iter()
            .map(|address| {
                let (address, bytes) = (address.clone(), bytes.clone());
                std::thread::spawn(move || http::exchange(&address, &bytes))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().expect("the port takes connections");
        }
        serves(peer, what);
    }
}

#[test]
fn the_metrics_port_answers_only_what_it_knows() {
    let mut cluster = Cluster::single();
    let peer = &mut cluster.peers[0];
    let address = peer.metrics_address();
    assert_eq!(http::get(&address, "/no-such-page").unwrap().0, 404);
    let long = format!("/{}", "x".repeat(1 << 20));
    if let Ok((code, _)) = http::get(&address, &long) {
        assert!((400..500).contains(&code), "{code} for a path of 1 MiB");
    }
    let posted = http::exchange(
        &address,
        b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    );
    let posted = String::from_utf8_lossy(&posted.unwrap()).into_owned();
    assert!(posted.starts_with("HTTP/1.1 4"), "{posted:.40}");
    // Some that connect and say nothing do not keep others out for long.
    let silent: Vec<_> = (0..8)
        .map(|_| std::net::TcpStream::connect(&address))
        .collect();
    z4_e2e::wait::until("/healthz answers", Duration::from_secs(10), || {
        let (code, _) = http::get(&address, "/healthz")?;
        z4_e2e::wait::check(code == 200, || format!("/healthz says {code}"))
    });
    drop(silent);
    serves(peer, "the metrics port");
}

#[test]
fn a_message_above_the_limit_is_refused_and_the_next_is_served() {
    let mut cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let refused = client
        .create(&create("large", vec![0; 9 << 20]))
        .expect_err("too large");
    let codes = [
        RpcStatusCode::RESOURCE_EXHAUSTED,
        RpcStatusCode::INVALID_ARGUMENT,
    ];
    assert!(codes.contains(&refused.code), "{refused}");
    let limit = option(Duration::from_secs(10));
    let (mut sender, receiver) = client.collection.create_task_stream_opt(limit).unwrap();
    let last = futures::executor::block_on(async {
        let large = create("large", vec![0; 9 << 20]);
        let _ = sender.send((large, WriteFlags::default())).await;
        let _ = sender.close().await;
        receiver.collect::<Vec<_>>().await.pop().expect("an answer")
    });
    match last {
        Ok(answer) => assert_ne!(answer.get_status(), 0, "{answer:?}"),
        Err(error) => {
            let refused = z4_e2e::client::Refused::from(error);
            assert!(codes.contains(&refused.code), "{refused}");
        }
    }
    serves(&mut cluster.peers[0], "a message of 9 MiB");
}
