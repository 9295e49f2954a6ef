//! The address of a peer: `host:port`, checked and written in one way.
//!
//! Every address that comes in, by a variable, a flag, a call or from another
//! peer, goes through [`Address::parse`], so that what one place refuses no
//! other place lets in, and two spellings of one address compare as equal.
//! Nothing is resolved here: a name that passes may still be unknown.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::ADDRESS_SHOWN_LEN_MAX;

/// Longest name of a host, in bytes (RFC 1123).
const NAME_LEN_MAX: usize = 253;
/// Longest label of a name, in bytes (RFC 1123).
const LABEL_LEN_MAX: usize = 63;

/// `host:port` at which others reach a peer.
///
/// [`Display`](fmt::Display) writes the one normal form: names in small letters
/// and without a dot at the end, IPv6 in brackets and shortened (RFC 5952), an
/// IPv4 address that is mapped into IPv6 as IPv4, the port without zeros in
/// front.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

/// Why a text is no address of a peer. Its words say what to give instead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no address that other peers can dial: {}; give host:port, such as \
             10.0.0.7:6356, [2001:db8::7]:6356 or peer7.example.org:6356",
            self.text, self.reason
        )
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// An IP address and a port.
    ///
    /// # Errors
    /// [`AddressError`] as for [`parse`](Self::parse): not every IP address is
    /// one that can be dialled.
    pub fn of_ip(ip: IpAddr, port: u16) -> Result<Self, AddressError> {
        Self::parse(&match ip {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        })
    }

    /// Reads `host:port`, where the host is a name, an IPv4 address, or an IPv6
    /// address in brackets, and every peer could dial it.
    ///
    /// # Errors
    /// [`AddressError`] with the reason and the remedy.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let read = || {
            if text.is_empty() {
                return Err("it is empty");
            }
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err("it has a blank or a control character in it");
            }
            if text.contains('/') {
                return Err("it has a slash in it; a scheme or a path is not part of an address");
            }
            let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
            Ok(Self {
                host: host_of(host)?,
                port: port_of(port)?,
            })
        };
        read().map_err(|reason| AddressError {
            text: text.chars().take(ADDRESS_SHOWN_LEN_MAX).collect(),
            reason,
        })
    }

    /// Whether only the machine itself reaches it: 127.0.0.0/8, ::1 and the name
    /// `localhost`. A name may resolve to such an address all the same.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

fn port_of(text: &str) -> Result<u16, &'static str> {
    let wrong = "its port is no number from 1 to 65535";
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(wrong);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(wrong),
        Ok(port) => Ok(port),
    }
}

fn host_of(text: &str) -> Result<Host, &'static str> {
    if text.is_empty() {
        return Err("it has no host");
    }
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner
            .strip_suffix(']')
            .ok_or("its bracket is not closed before the port")?;
        if inner.contains('%') {
            return Err("a zone such as %eth0 means something on one machine only");
        }
        let ip: Ipv6Addr = inner
            .parse()
            .map_err(|_| "what stands in its brackets is no IPv6 address")?;
        return match ip.to_ipv4_mapped() {
            Some(ip) => of_v4(ip),
            None => of_v6(ip),
        };
    }
    if text.contains(':') {
        return Err("an IPv6 address stands in brackets");
    }
    if text.contains(['[', ']']) {
        return Err("brackets stand around the whole IPv6 address");
    }
    match text.parse::<Ipv4Addr>() {
        Ok(ip) => of_v4(ip),
        Err(_) => name_of(text).map(Host::Name),
    }
}

fn of_v4(ip: Ipv4Addr) -> Result<Host, &'static str> {
    // 0.0.0.0/8 names no host (RFC 1122).
    if ip.octets()[0] == 0 {
        return Err("0.0.0.0 is an address to listen on, which nobody can dial");
    }
    if ip.is_multicast() || ip.is_broadcast() {
        return Err("it is the address of many machines");
    }
    Ok(Host::Ip(ip.into()))
}

fn of_v6(ip: Ipv6Addr) -> Result<Host, &'static str> {
    if ip.is_unspecified() {
        return Err("[::] is an address to listen on, which nobody can dial");
    }
    if ip.is_multicast() {
        return Err("it is the address of many machines");
    }
    if ip.segments()[0] & 0xffc0 == 0xfe80 {
        return Err("a link-local address means something together with a zone only");
    }
    Ok(Host::Ip(ip.into()))
}

/// A name of RFC 1123, and the underscore, which the names that container
/// engines give have in them.
fn name_of(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > NAME_LEN_MAX {
        return Err("its name is longer than 253 bytes");
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("a part of its name between two dots is empty");
        }
        if label.len() > LABEL_LEN_MAX {
            return Err("a part of its name is longer than 63 bytes");
        }
        let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        if !label.bytes().all(fits) {
            return Err("a name consists of A-Z a-z 0-9 . - and _");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part of a name begins or ends with a hyphen");
        }
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|c| c.is_ascii_digit()) {
        return Err("a name does not end with a number, and it is no IPv4 address");
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn two_spellings_of_one_address_are_one() {
        for (text, normal) in [
            ("10.0.0.1:6356", "10.0.0.1:6356"),
            ("10.0.0.1:006356", "10.0.0.1:6356"),
            ("Peer1.Example.ORG.:6356", "peer1.example.org:6356"),
            ("a-b.c_d:65535", "a-b.c_d:65535"),
            ("3com.com:1", "3com.com:1"),
            ("localhost:1", "localhost:1"),
            ("[::1]:6356", "[::1]:6356"),
            ("[0:0:0:0:0:0:0:1]:6356", "[::1]:6356"),
            ("[2001:DB8:0::07]:6356", "[2001:db8::7]:6356"),
            ("[::ffff:10.0.0.1]:6356", "10.0.0.1:6356"),
        ] {
            let address = Address::parse(text).map(|a| a.to_string());
            assert_eq!(address.as_deref(), Ok(normal), "{text}");
            // What is stored reads back as itself.
            let again = Address::parse(normal).map(|a| a.to_string());
            assert_eq!(again.as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn what_nobody_can_dial_is_refused_with_the_reason() {
        let long_label = format!("{}.a:1", "x".repeat(64));
        let long_name = format!("{}a:1", "x.".repeat(127));
        for (text, word) in [
            ("", "empty"),
            (":", "no host"),
            ("a", "no port"),
            ("a:", "port"),
            (":1", "no host"),
            ("a:0", "port"),
            ("a:65536", "port"),
            ("a:+1", "port"),
            ("a:1a", "port"),
            (" 127.0.0.1:6356", "blank"),
            ("127.0.0.1:6356\n", "blank"),
            ("bad host:6356", "blank"),
            ("a\0b:1", "control"),
            ("a\u{a0}b:1", "blank"),
            ("0.0.0.0:6356", "listen"),
            ("0.1.2.3:6356", "listen"),
            ("[::]:6356", "listen"),
            ("[::ffff:0.0.0.0]:6356", "listen"),
            ("224.0.0.1:1", "many"),
            ("255.255.255.255:1", "many"),
            ("[ff02::1]:1", "many"),
            ("[fe80::1]:1", "zone"),
            ("[fe80::1%eth0]:1", "zone"),
            ("::1:6356", "brackets"),
            ("[::1:1", "bracket"),
            ("::1]:1", "brackets"),
            ("a]:1", "brackets"),
            ("[x]:1", "IPv6"),
            ("[10.0.0.1]:1", "IPv6"),
            ("http://a:1", "slash"),
            ("unix:/x", "slash"),
            ("a..b:1", "empty"),
            (".:1", "empty"),
            ("-a.b:1", "hyphen"),
            ("a-.b:1", "hyphen"),
            ("ä.org:1", "consists"),
            ("a,b:1", "consists"),
            ("300.0.0.1:1", "IPv4"),
            ("10.1:1", "IPv4"),
            ("127.1:1", "IPv4"),
            (long_label.as_str(), "63"),
            (long_name.as_str(), "253"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text:?}: {error}");
            assert!(error.contains("host:port"), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{text:?}: {error}");
        }
        let long = Address::parse(&"x".repeat(1 << 20)).unwrap_err();
        assert!(long.to_string().len() < 400, "{long}");
    }

    #[test]
    fn loopback_is_known_in_every_form() {
        for near in [
            "127.0.0.1:1",
            "127.8.9.1:1",
            "[::1]:1",
            "LOCALHOST:1",
            "a.localhost:1",
        ] {
            assert!(Address::parse(near).unwrap().is_loopback(), "{near}");
        }
        for far in ["10.0.0.1:1", "[2001:db8::1]:1", "localhost.org:1"] {
            assert!(!Address::parse(far).unwrap().is_loopback(), "{far}");
        }
    }
}
