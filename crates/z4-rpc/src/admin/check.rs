//! Fields that name a peer.

use crate::errors::Error;
use crate::limits;

/// Checks the name of a peer.
///
/// # Errors
/// [`Error`] that names the field and the rule.
pub fn check_peer_id(peer_id: &str) -> Result<(), Error> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let fits = (1..=limits::PEER_ID_LEN_MAX).contains(&peer_id.len());
    if fits && peer_id.bytes().all(plain) {
        return Ok(());
    }
    let rule = format!(
        "must be 1 to {} characters of A-Z a-z 0-9 . _ -",
        limits::PEER_ID_LEN_MAX
    );
    Err(Error::invalid("member_id", rule))
}

/// Checks the address of a peer: `host:port`, with a name, an IPv4 address, or
/// an IPv6 address in brackets.
///
/// # Errors
/// [`Error`] that names the field and the rule.
pub fn check_address(address: &str) -> Result<(), Error> {
    let bad = || {
        let rule = "must be host:port, for example 10.0.0.7:6356";
        Err(Error::invalid("member_address", rule))
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return bad();
    };
    let host_fits = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
            (1..=253).contains(&host.len()) && host.bytes().all(plain)
        }
    };
    let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    let port_fits = digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    if host_fits && port_fits {
        return Ok(());
    }
    bad()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_plain_and_bounded() {
        for good in ["a", "peer1", "A.b_c-9", &"x".repeat(128)] {
            assert!(check_peer_id(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(check_peer_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in [
            "localhost:1",
            "10.0.0.1:6356",
            "[::1]:6356",
            "a-b.c_d:65535",
        ] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "[::1:1",
            "[x]:1",
            "unix:/x",
            "http://a:1",
            "::1:1",
        ] {
            let refused = check_address(bad).err().map(|e| e.to_string());
            let text = refused.unwrap_or_default();
            assert!(text.starts_with("member_address"), "{bad}: {text}");
        }
    }
}
