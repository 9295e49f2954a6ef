//! The status server over real connections.

#![allow(clippy::unwrap_used)]

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};

use super::head::{HEADERS_MAX, HEAD_LEN_MAX};
use super::*;

fn server(ready: &Arc<AtomicBool>) -> SocketAddr {
    let ready = Arc::clone(ready);
    let sources = Sources {
        ready: Box::new(move || match ready.load(Ordering::SeqCst) {
            true => Ok(()),
            false => Err("no leader: waits for a quorum".to_owned()),
        }),
        removed: Box::new(|| None),
        metrics: Box::new(|| Ok("z4_consensus_term 3\n".to_owned())),
    };
    let logger = Logger::root(slog::Discard, slog::o!());
    let metrics = ConnectionMetrics::new(&prometheus::Registry::new()).unwrap();
    start(([127, 0, 0, 1], 0).into(), sources, metrics, None, logger).unwrap()
}

fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    // A server that never answers fails the test instead of hanging it.
    connection
        .set_read_timeout(Some(STATUS_REQUEST_TIME * 5))
        .unwrap();
    connection.write_all(request).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(address: SocketAddr, path: &str) -> String {
    ask(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
    )
}

#[test]
fn every_path_answers_with_its_code() {
    let ready = Arc::new(AtomicBool::new(false));
    let address = server(&ready);
    assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 OK\r\n"));
    let answer = get(address, "/metrics?x=1");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\nz4_consensus_term 3\n"),
        "{answer}"
    );
    assert!(get(address, "/").starts_with("HTTP/1.1 404 "));
    let answer = get(address, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("waits for a quorum\n"), "{answer}");
    ready.store(true, Ordering::SeqCst);
    assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn other_methods_are_refused_and_head_has_no_body() {
    let address = server(&Arc::default());
    let answer = ask(address, b"POST /metrics HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = ask(address, b"HEAD /healthz HTTP/1.1\r\n\r\n");
    assert!(answer.contains("Content-Length: 6\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn junk_is_refused_and_the_next_request_is_answered() {
    let address = server(&Arc::default());
    let endless = vec![b'a'; HEAD_LEN_MAX * 4];
    let mut many_headers = b"GET /healthz HTTP/1.1\r\n".to_vec();
    (0..=HEADERS_MAX).for_each(|_| many_headers.extend_from_slice(b"a: b\r\n"));
    many_headers.extend_from_slice(b"\r\n");
    for junk in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\r\n\0\r\n",
        &endless,
        &many_headers,
    ] {
        let mut connection = TcpStream::connect(address).unwrap();
        // The other side may have answered and closed before all was sent.
        let _ = connection.write_all(junk);
        let _ = connection.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{answer}"
        );
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 "));
    }
}

/// As many as one address may have, and who comes from another is answered at
/// once; who comes from the same is, when the time of one of them is over.
#[test]
fn those_who_never_finish_hold_up_nobody_for_long() {
    let address = server(&Arc::default());
    let silent: Vec<_> = (0..limits::STATUS_CONNECTIONS_PER_ADDRESS_MAX)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let start = Instant::now();
    let answer = ask_from([127, 0, 0, 9], address, b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(start.elapsed() < STATUS_REQUEST_TIME, "it waited for them");
    let end = Instant::now() + STATUS_REQUEST_TIME * 10;
    loop {
        let answer = ask_from([127, 0, 0, 1], address, b"GET /healthz HTTP/1.1\r\n\r\n");
        if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
            break;
        }
        assert!(Instant::now() < end, "the address never gets its room back");
        thread::sleep(Duration::from_millis(50));
    }
    drop(silent);
}

/// Asks from an address of this machine; an error when the connection is closed
/// without an answer.
fn ask_from(from: [u8; 4], to: SocketAddr, request: &[u8]) -> io::Result<String> {
    use rustix::net::{bind, connect, socket, AddressFamily, SocketType};
    let own = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&own, &SocketAddr::from((from, 0)))?;
    connect(&own, &to)?;
    let mut connection = TcpStream::from(own);
    connection.set_read_timeout(Some(STATUS_REQUEST_TIME * 5))?;
    connection.write_all(request)?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}
