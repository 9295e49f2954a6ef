//! Certificates that were made, and what they are for.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{json, Value};

use super::plain::escape;
use crate::{moment, zone};

/// The use that a certificate was made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MadeFor {
    Ca,
    Peer,
    Client,
}

/// A certificate that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub made_for: MadeFor,
    /// The names in it; that of its files first.
    pub names: Vec<String>,
    /// The file of its CA.
    pub ca: PathBuf,
    /// Its file.
    pub cert: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
    pub good_until: SystemTime,
}

/// For programs.
pub(crate) fn made_json(made: &Made) -> Value {
    json!({
        "made": match made.made_for {
            MadeFor::Ca => "ca",
            MadeFor::Peer => "peer",
            MadeFor::Client => "client",
        },
        "names": made.names,
        "ca": made.ca.to_string_lossy(),
        "cert": made.cert.to_string_lossy(),
        "key": made.key.to_string_lossy(),
        "good_until": moment::show(made.good_until),
    })
}

/// For people: what was written, and what to do with it.
pub(crate) fn made_text(made: &Made) -> String {
    let names = made.names.join(", ");
    let (names, until) = (escape(&names), zone::show(made.good_until));
    let [ca, cert, key] = [&made.ca, &made.cert, &made.key].map(|path| word(path));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match made.made_for {
        MadeFor::Ca => writeln!(
            text,
            "{cert}  the CA {names}, until {until}: give it to all who are to trust its certificates\n\
             {key}  its key: whoever has it can make certificates, so keep it where no peer runs\n\
             next: z4t certs create-peer NAME HOST... for each peer"
        ),
        MadeFor::Peer => writeln!(
            text,
            "{cert}  the certificate of {names}, until {until}\n\
             {key}  its key: only this peer may read it\n\
             next: start the peer with\n  \
             Z4_TLS_CERT={cert} Z4_TLS_KEY={key}\n  \
             Z4_PEER_TLS_CERT={cert} Z4_PEER_TLS_KEY={key} Z4_PEER_TLS_CA={ca}"
        ),
        MadeFor::Client => writeln!(
            text,
            "{cert}  the certificate of {names}, until {until}\n\
             {key}  its key: only this client may read it\n\
             next: start the peers with Z4_TLS_CLIENT_CA={ca}\n  \
             z4t --ca FILE --cert {cert} --key {key} status, FILE the CA of the peers"
        ),
    };
    text
}

/// A path as a shell takes it.
fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.into_owned(),
        false => format!("'{}'", escape(&text).replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn made(made_for: MadeFor) -> Made {
        Made {
            made_for,
            names: vec!["peer1".into(), "10.0.0.1".into()],
            ca: "certs/ca.pem".into(),
            cert: "my certs/peer1.pem".into(),
            key: "certs/peer1-key.pem".into(),
            good_until: SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000),
        }
    }

    #[test]
    fn what_was_made_is_told_with_what_to_do() {
        let golden = "\
'my certs/peer1.pem'  the certificate of peer1, 10.0.0.1, until 2030-03-17T17:46:40Z
certs/peer1-key.pem  its key: only this peer may read it
next: start the peer with
  Z4_TLS_CERT='my certs/peer1.pem' Z4_TLS_KEY=certs/peer1-key.pem
  Z4_PEER_TLS_CERT='my certs/peer1.pem' Z4_PEER_TLS_KEY=certs/peer1-key.pem Z4_PEER_TLS_CA=certs/ca.pem
";
        assert_eq!(made_text(&made(MadeFor::Peer)), golden);
        let client = made_text(&made(MadeFor::Client));
        assert!(client.contains("next: start the peers with Z4_TLS_CLIENT_CA=certs/ca.pem\n"));
        assert!(client.contains("--cert 'my certs/peer1.pem' --key certs/peer1-key.pem status"));
        assert!(made_text(&made(MadeFor::Ca)).contains("next: z4t certs create-peer"));
    }

    #[test]
    fn programs_are_told_the_same() {
        let value = made_json(&made(MadeFor::Peer));
        assert_eq!(value["made"], "peer");
        assert_eq!(value["names"][1], "10.0.0.1");
        assert_eq!(value["cert"], "my certs/peer1.pem");
        assert_eq!(value["good_until"], "2030-03-17T17:46:40Z");
    }

    #[test]
    fn paths_are_words_of_a_shell() {
        assert_eq!(word(Path::new("a/b.pem")), "a/b.pem");
        assert_eq!(word(Path::new("it's $HOME")), r"'it'\''s $HOME'");
        assert_eq!(word(Path::new("")), "''");
    }
}
