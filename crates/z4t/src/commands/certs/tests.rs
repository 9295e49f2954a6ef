//! Files that are made, who may read them, and what stays as it was.

#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::argv;
use crate::limits::CERT_DAYS_MAX;

/// Runs a line of arguments in which `DIR` is a folder.
fn run_line(dir: &Path, line: &str) -> Result<String, String> {
    let words = line.split(' ').map(|word| {
        let word = word.replace("DIR", &dir.to_string_lossy());
        OsString::from(word)
    });
    let args = ["z4t", "certs"]
        .map(OsString::from)
        .into_iter()
        .chain(words);
    let options = match argv::parse(args).map_err(|e| e.to_string())? {
        argv::Wish::Command(options) => options,
        argv::Wish::Help(text) => panic!("{text}"),
    };
    let mut out = Vec::new();
    crate::commands::run(*options, &mut out).map_err(|e| e.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn material(dir: &Path, usage: Use, name: &str) -> Material {
    let file = |name: String| NamedFile::new("file", dir.join(name));
    let own = (file(format!("{name}.pem")), file(format!("{name}-key.pem")));
    let files = Files {
        usage,
        own: Some(own),
        ca: Some(file("ca.pem".into())),
    };
    Material::read(&files).unwrap()
}

#[test]
fn a_ca_a_peer_and_a_client_from_nothing() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("deep/certs");
    let said = run_line(&dir, "create-ca --out DIR --name office").unwrap();
    assert!(said.contains("the CA office, until "), "{said}");
    let line = "create-peer peer1 127.0.0.1 localhost 127.0.0.1 --out DIR";
    let said = run_line(&dir, line).unwrap();
    assert!(
        said.contains("peer1, 127.0.0.1, localhost, until "),
        "{said}"
    );
    let line = "create-client mailer spiffe://office/mailer --out DIR -o json";
    let said: Value = serde_json::from_str(&run_line(&dir, line).unwrap()).unwrap();
    assert_eq!(
        said["cert"],
        dir.join("mailer.pem").to_string_lossy().as_ref()
    );

    assert_eq!(mode(&dir), 0o700);
    for name in ["ca", "peer1", "mailer"] {
        assert_eq!(mode(&dir.join(format!("{name}-key.pem"))), 0o600, "{name}");
    }
    assert_eq!(mode(&dir.join("ca.pem")) & 0o600, 0o600);
    let own = material(&dir, Use::Peer, "peer1");
    for name in ["peer1", "127.0.0.1", "localhost"] {
        assert!(own.names().has(name), "{name}");
    }
    z4_tls::Server::new(&own, z4_tls::ClientAuth::Require).unwrap();
    let own = material(&dir, Use::Client, "mailer");
    assert!(own.names().has("mailer") && own.names().has("spiffe://office/mailer"));
    z4_tls::Connector::new(&own).unwrap();
}

#[test]
fn nothing_is_overwritten_and_no_half_of_a_pair_is_left() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    run_line(dir, "create-ca --out DIR").unwrap();
    let before = fs::read(dir.join("ca-key.pem")).unwrap();
    let said = run_line(dir, "create-ca --out DIR").unwrap_err();
    assert!(said.contains("ca.pem is there already"), "{said}");
    assert!(said.contains("--out"), "{said}");
    assert_eq!(fs::read(dir.join("ca-key.pem")).unwrap(), before);
    // A link is followed by whoever opens it.
    std::os::unix::fs::symlink(dir.join("elsewhere"), dir.join("peer1-key.pem")).unwrap();
    let said = run_line(dir, "create-peer peer1 h --out DIR").unwrap_err();
    assert!(said.contains("peer1-key.pem is there already"), "{said}");
    assert!(!dir.join("peer1.pem").exists() && !dir.join("elsewhere").exists());
    fs::write(dir.join("file"), "").unwrap();
    let said = run_line(dir, "create-ca --out DIR/file").unwrap_err();
    assert!(said.contains("file: ") && said.contains("--out"), "{said}");
}

#[test]
fn the_ca_may_stand_elsewhere_and_has_to_be_one() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    let said = run_line(dir, "create-peer peer1 h --out DIR/out").unwrap_err();
    assert!(
        said.contains("out/ca.pem is not there; make a CA with"),
        "{said}"
    );
    assert!(!dir.join("out").exists());
    run_line(dir, "create-ca --out DIR/ca --days 30").unwrap();
    let said = run_line(dir, "create-peer peer1 h --out DIR/out --ca-dir DIR/ca").unwrap_err();
    assert!(
        said.contains("runs out in 30 days; give --days 30"),
        "{said}"
    );
    let line = "create-client w --out DIR/out --ca-dir DIR/ca --days 30";
    let said = run_line(dir, line).unwrap();
    assert!(said.contains("/ca/ca.pem\n"), "{said}");
    assert!(!dir.join("out/ca.pem").exists());

    run_line(dir, "create-ca --out DIR/other").unwrap();
    fs::copy(dir.join("other/ca-key.pem"), dir.join("ca/ca-key.pem")).unwrap();
    let said = run_line(dir, "create-client v --ca-dir DIR/ca --out DIR/out").unwrap_err();
    assert!(said.contains("not the key of the certificate in"), "{said}");
}

#[test]
fn mistakes_are_refused_before_anything_is_written() {
    let root = TempDir::new().unwrap();
    let dir = root.path();
    for (line, complaint) in [
        ("create-ca --out DIR/x --days 0", "1 to 36500 days"),
        ("create-ca --out DIR/x --name ", "1 to 64 bytes"),
        ("create-peer peer1 --out DIR/x", "HOST"),
        ("create-peer ../peer1 h --out DIR/x", "such as peer1"),
        (
            "create-peer peer1 10.0.0.1:6355 --out DIR/x",
            "without a port",
        ),
        ("create-peer ca h --out DIR/x", "give another name"),
        ("create-client a/b --out DIR/x", "such as peer1"),
        ("create-client a b://c% ://d --out DIR/x", "or a URI"),
        ("create", "create"),
    ] {
        let said = run_line(dir, line).unwrap_err();
        assert!(said.contains(complaint), "{line}: {said}");
        assert!(!said.contains('\n'), "{line}: {said}");
    }
    let many: Vec<_> = (0..SANS_MAX).map(|n| format!("h{n}")).collect();
    let line = format!("create-peer peer1 {} --out DIR/x", many.join(" "));
    let said = run_line(dir, &line).unwrap_err();
    assert!(said.contains("for 101 names"), "{said}");
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
    let line = format!("create-ca --out DIR/x --days {CERT_DAYS_MAX}");
    run_line(dir, &line).unwrap();
}
