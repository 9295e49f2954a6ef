//! A plain HTTP GET, and raw bytes to a port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::tls;

/// How long a connection may be silent.
const LIMIT: Duration = Duration::from_secs(3);

/// Status code and body of `GET path`.
///
/// # Errors
/// Why there was no HTTP answer.
pub fn get(address: &str, path: &str) -> Result<(u16, String), String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = exchange(address, request.as_bytes())?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("no end of header in {text:?}"))?;
    let code = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("no status line in {head:?}"))?;
    Ok((code, body.to_owned()))
}

/// Status code of `PUT path`, without a body.
///
/// # Errors
/// Why there was no HTTP answer.
pub fn put(address: &str, path: &str) -> Result<u16, String> {
    let request = format!("PUT {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = exchange(address, request.as_bytes())?;
    let text = String::from_utf8_lossy(&answer);
    let code = text.split_whitespace().nth(1);
    code.and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("no status line in {text:?}"))
}

/// Sends `bytes` and reads until the other side closes or is silent.
///
/// # Errors
/// When nothing accepts the connection. A connection that the other side
/// resets is an answer as good as another: what came before it is given.
pub fn exchange(address: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let socket = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
    let _ = socket.set_read_timeout(Some(LIMIT));
    let _ = socket.set_write_timeout(Some(LIMIT));
    let mut stream = tls::wire(address, socket).map_err(|e| format!("{address}: {e}"))?;
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    // A bound, should the other side talk without end.
    while answer.len() < 8 << 20 {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&part[..n]),
        }
    }
    Ok(answer)
}
