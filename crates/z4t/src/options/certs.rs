//! Flags of the commands that make certificates, and the names in these.

use std::net::IpAddr;
use std::path::PathBuf;

use structopt::StructOpt;

use super::Output;
use crate::limits::{CERT_DAYS_MAX, CERT_NAME_LEN_MAX, HOST_LEN_MAX};

#[derive(StructOpt, Debug)]
pub(crate) enum Certs {
    /// Make a CA, which vouches for the certificates that the other commands make
    ///
    /// Writes DIR/ca.pem, which every peer and client trusts, and DIR/ca-key.pem. Whoever
    /// has the key can make certificates that all of them take for good.
    #[structopt(name = "create-ca")]
    Ca(CreateCa),
    /// Make the certificate of a peer, for its services and for its traffic with peers
    ///
    /// Writes DIR/NAME.pem and DIR/NAME-key.pem. The certificate is good for both ends of
    /// a connection, so it serves as Z4_TLS_CERT and as Z4_PEER_TLS_CERT.
    #[structopt(name = "create-peer")]
    Peer(CreatePeer),
    /// Make the certificate of a client, for peers that ask their clients for one
    ///
    /// Writes DIR/NAME.pem and DIR/NAME-key.pem. Clients have a CA of their own, in another
    /// folder (create-ca --out clients): the CA of the peers is good at the peer port, too.
    #[structopt(name = "create-client")]
    Client(CreateClient),
}

#[derive(StructOpt, Debug)]
pub(crate) struct CreateCa {
    /// The folder of the files; made if it is not there
    #[structopt(long, value_name = "DIR", default_value = "certs", parse(from_os_str))]
    pub out: PathBuf,
    /// What the CA is called in its certificate
    #[structopt(long, value_name = "NAME", default_value = "z4", parse(try_from_str = title))]
    pub name: String,
    /// How long it is good; certificates end before their CA does
    #[structopt(long, value_name = "N", default_value = "3650", parse(try_from_str = days))]
    pub days: u32,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}

#[derive(StructOpt, Debug)]
pub(crate) struct CreatePeer {
    /// The peer's Z4_PEER_ID, and the name of the files
    #[structopt(value_name = "NAME", parse(try_from_str = name))]
    pub name: String,
    /// Where clients and other peers reach it: a DNS name or an IP address, without a port
    #[structopt(value_name = "HOST", required = true, parse(try_from_str = host))]
    pub hosts: Vec<String>,
    #[structopt(flatten)]
    pub making: Making,
}

#[derive(StructOpt, Debug)]
pub(crate) struct CreateClient {
    /// The name of the client, and of the files
    #[structopt(value_name = "NAME", parse(try_from_str = name))]
    pub name: String,
    /// A further name: a DNS name, an IP address or a URI
    #[structopt(value_name = "SAN", parse(try_from_str = san))]
    pub sans: Vec<String>,
    #[structopt(flatten)]
    pub making: Making,
}

/// The CA that makes a certificate, how long that is good, and where it goes.
#[derive(StructOpt, Debug)]
pub(crate) struct Making {
    /// The folder of the files; made if it is not there
    #[structopt(long, value_name = "DIR", default_value = "certs", parse(from_os_str))]
    pub out: PathBuf,
    /// The folder of ca.pem and ca-key.pem; that of --out unless given
    #[structopt(long, value_name = "DIR", parse(from_os_str))]
    pub ca_dir: Option<PathBuf>,
    /// How long the certificate is good
    #[structopt(long, value_name = "N", default_value = "365", parse(try_from_str = days))]
    pub days: u32,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}

fn days(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(days) if (1..=CERT_DAYS_MAX).contains(&days) => Ok(days),
        _ => Err(format!("give 1 to {CERT_DAYS_MAX} days")),
    }
}

/// The name of a CA. Nothing is looked up by it.
fn title(text: &str) -> Result<String, String> {
    let is_good = !text.trim().is_empty() && !text.contains(char::is_control);
    match is_good && text.len() <= CERT_NAME_LEN_MAX {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "give 1 to {CERT_NAME_LEN_MAX} bytes of text in one line"
        )),
    }
}

/// The first name of a certificate, which names its files as well.
fn name(text: &str) -> Result<String, String> {
    if text == "ca" || text.ends_with("-key") {
        return Err(format!(
            "{text}.pem would be the file of the CA, or of a key; give another name"
        ));
    }
    match text.len() <= CERT_NAME_LEN_MAX && (is_dns(text) || is_ip(text)) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "give a DNS name or an IP address of 1 to {CERT_NAME_LEN_MAX} bytes, such as peer1; \
             it names the files, too"
        )),
    }
}

fn host(text: &str) -> Result<String, String> {
    match is_host(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "give a DNS name or an IP address without a port, of 1 to {HOST_LEN_MAX} bytes, such \
             as 10.0.0.1 or peer1.example"
        )),
    }
}

fn san(text: &str) -> Result<String, String> {
    match is_host(text) || is_uri(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "give a DNS name, an IP address or a URI of 1 to {HOST_LEN_MAX} bytes, such as \
             mailer.example or spiffe://example/mailer"
        )),
    }
}

fn is_host(text: &str) -> bool {
    text.len() <= HOST_LEN_MAX && (is_ip(text) || is_dns(text.strip_prefix("*.").unwrap_or(text)))
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Labels of letters, digits, dashes and underscores, which leave no folder.
fn is_dns(text: &str) -> bool {
    text.split('.').all(|label| {
        let named = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        (1..=63).contains(&label.len()) && !label.starts_with('-') && label.chars().all(named)
    })
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let begins = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_plain = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic());
    text.len() <= HOST_LEN_MAX && begins && scheme.chars().all(named) && is_plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_elsewhere_or_nothing_are_refused() {
        for good in ["peer1", "z4-0.z4.svc", "a_b", "10.0.0.1", "::1", "PEER"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        let (long, label) = ("a.".repeat(32) + "a", "x".repeat(64));
        let bad = [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "/a",
            "a..b",
            "-a",
            ".a",
            "a b",
            "a\n",
            "a\0",
            "*.a",
            "a:1",
            "ä",
            "ca",
            "a-key",
            &long,
            &label,
            "spiffe://a/b",
        ];
        for bad in bad {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hosts_and_further_names_are_what_a_certificate_can_hold() {
        for good in ["*.z4.example", "fe80::1", "localhost"] {
            assert_eq!(host(good).as_deref(), Ok(good));
            assert_eq!(san(good).as_deref(), Ok(good));
        }
        for bad in [
            "10.0.0.1:6355",
            "[::1]",
            "*",
            "a.*.b",
            "http://a",
            "",
            "a,b",
        ] {
            assert!(host(bad).is_err(), "{bad:?}");
        }
        assert!(san("spiffe://example/z4/mailer?x=1").is_ok());
        for bad in ["://a", "a://", "1a://b", "a://b c", "a://\u{e4}"] {
            assert!(san(bad).is_err(), "{bad:?}");
        }
        assert!(san(&("a://".to_owned() + &"x".repeat(250))).is_err());
    }

    #[test]
    fn other_fields_have_bounds() {
        assert_eq!((days("1"), days("36500")), (Ok(1), Ok(36_500)));
        for bad in ["0", "36501", "-1", "x", ""] {
            assert!(days(bad).is_err(), "{bad:?}");
        }
        assert!(title("z4 of the office").is_ok());
        for bad in ["", " ", "a\nb", &"x".repeat(65)] {
            assert!(title(bad).is_err(), "{bad:?}");
        }
    }
}
