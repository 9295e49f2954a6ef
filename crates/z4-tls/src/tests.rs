//! Files that are good, files that are bad, and what both ends of a connection say.

#![allow(clippy::unwrap_used)]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

fn authority(name: &str) -> Authority {
    Authority::create(name, 30, now_s()).unwrap()
}

fn peer(ca: &Authority, name: &str) -> Issued {
    let others = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    ca.issue(Role::Peer, name, &others, 30, now_s()).unwrap()
}

/// Writes a certificate, its key and a CA, and names them.
fn written(dir: &Path, usage: Use, own: &Issued, ca: &Authority) -> Files {
    let put = |setting, name: &str, text: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        NamedFile::new(setting, path)
    };
    Files {
        usage,
        own: Some((
            put("Z4_CERT", "cert.pem", &own.cert_pem),
            put("Z4_KEY", "key.pem", &own.key_pem),
        )),
        ca: Some(put("Z4_CA", "ca.pem", &ca.to_pem().unwrap().cert_pem)),
    }
}

fn material(usage: Use, own: &Issued, ca: &Authority) -> Result<Material, FileError> {
    let dir = TempDir::new().unwrap();
    Material::read(&written(dir.path(), usage, own, ca))
}

#[test]
fn what_was_issued_is_read_back_with_its_names_and_its_end() {
    let ca = authority("ca");
    let own = peer(&ca, "peer1");
    let read = material(Use::Peer, &own, &ca).unwrap();
    let names = read.names();
    for name in ["peer1", "PEER1", "127.0.0.1", "localhost"] {
        assert!(names.has(name), "{name}");
    }
    for name in ["peer2", "127.0.0.2", "*.peer1", ""] {
        assert!(!names.has(name), "{name}");
    }
    let in_days = |expiry: &Expiry| (expiry.at_s - now_s()).div_euclid(86_400);
    let days: Vec<_> = read.expiries().iter().map(in_days).collect();
    assert!(days == [30, 30] || days == [29, 29], "{days:?}");
    assert!(read
        .own_pem()
        .unwrap()
        .1
        .starts_with(b"-----BEGIN PRIVATE KEY"));
}

#[test]
fn a_wildcard_is_one_label_and_a_uri_is_itself() {
    let names = Names {
        dns: vec!["z4-0.peers.example".to_owned()],
        uris: vec!["spiffe://a/z4".to_owned()],
        ips: vec![[10, 0, 0, 7].into()],
    };
    assert!(names.has("*.peers.example") && names.has("z4-0.PEERS.example"));
    assert!(names.has("spiffe://a/z4") && names.has("10.0.0.7"));
    assert!(!names.has("*.example") && !names.has("spiffe://a") && !names.has("10.0.0.8"));
    assert_eq!(Names::default().text(), "no name");
}

#[test]
fn bad_files_are_named_with_the_line_and_the_remedy() {
    let (ca, other) = (authority("ca"), authority("other"));
    let own = peer(&ca, "peer1");
    let dir = TempDir::new().unwrap();
    let files = written(dir.path(), Use::Peer, &own, &ca);
    let refused = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        let sound = std::fs::read(&path).unwrap();
        std::fs::write(&path, text).unwrap();
        let said = Material::read(&files).unwrap_err().to_string();
        std::fs::write(&path, sound).unwrap();
        assert!(said.contains(name), "{said}");
        said
    };
    let half = &own.cert_pem[..own.cert_pem.len() / 2];
    let mut damaged = own.cert_pem.clone();
    damaged[100] = b'!';
    let expired = ca.issue(Role::Peer, "peer1", &[], 1, now_s() - 3 * 86_400);
    let early = ca.issue(Role::Peer, "peer1", &[], 30, now_s() + 86_400);
    let client = ca.issue(Role::Client, "peer1", &[], 30, now_s()).unwrap();
    let locked =
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let table: [(&str, &[u8], &str); 11] = [
        ("cert.pem", b"", "no certificate in it, but no block"),
        ("cert.pem", &own.key_pem, "only PRIVATE KEY"),
        ("cert.pem", half, "the block of line 1 has no end"),
        ("cert.pem", &damaged, "the certificate of line 1 is damaged"),
        ("cert.pem", b"a\n\xff\xfe\0", "line 2 is not text"),
        (
            "cert.pem",
            &expired.unwrap().cert_pem,
            "of line 1 ran out at",
        ),
        ("cert.pem", &early.unwrap().cert_pem, "is good from"),
        (
            "key.pem",
            &own.cert_pem,
            "no private key in it, but only CERTIFICATE",
        ),
        (
            "key.pem",
            &client.key_pem,
            "not the key of the certificate in",
        ),
        ("key.pem", locked, "of line 1 is"),
        (
            "ca.pem",
            b"-----BEGIN A-----\n-----BEGIN B-----\n",
            "line 2 begins a block",
        ),
    ];
    for (name, text, expected) in table {
        let said = refused(name, text);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let said = material(Use::Peer, &own, &other).unwrap_err().to_string();
    assert!(
        said.contains("does not vouch for it as serverAuth"),
        "{said}"
    );
    let said = material(Use::Peer, &client, &ca).unwrap_err().to_string();
    assert!(said.contains("as serverAuth"), "{said}");
    std::fs::remove_file(dir.path().join("key.pem")).unwrap();
    let said = Material::read(&files).unwrap_err().to_string();
    assert!(
        said.contains("Z4_KEY") && said.contains("No such file"),
        "{said}"
    );
}

#[test]
fn a_ca_that_ran_out_is_passed_over_beside_one_that_did_not() {
    let ca = authority("ca");
    let old = Authority::create("old", 1, now_s() - 3 * 86_400).unwrap();
    let dir = TempDir::new().unwrap();
    let files = written(dir.path(), Use::Peer, &peer(&ca, "peer1"), &ca);
    let path = dir.path().join("ca.pem");
    let both = [
        old.to_pem().unwrap().cert_pem,
        ca.to_pem().unwrap().cert_pem,
    ];
    std::fs::write(&path, both.concat()).unwrap();
    Material::read(&files).unwrap();
    std::fs::write(&path, &both[0]).unwrap();
    let said = Material::read(&files).unwrap_err().to_string();
    assert!(said.contains("of line 1 ran out"), "{said}");
}

#[test]
fn files_that_change_are_followed_and_bad_ones_are_not() {
    let ca = authority("ca");
    let dir = TempDir::new().unwrap();
    let files = written(dir.path(), Use::Peer, &peer(&ca, "peer1"), &ca);
    let watched = Watched::open(files).unwrap();
    assert_eq!(watched.look(), Looked::Same);
    let next = peer(&ca, "peer1");
    std::fs::write(dir.path().join("cert.pem"), &next.cert_pem).unwrap();
    // Between the two files nothing fits, which is no trouble before it lasts.
    assert_eq!(watched.look(), Looked::Same);
    assert!(matches!(watched.look(), Looked::Bad(_)));
    assert_eq!(watched.current().0, 1);
    std::fs::write(dir.path().join("key.pem"), &next.key_pem).unwrap();
    assert_eq!(watched.look(), Looked::Same, "it may be half of it");
    assert!(matches!(watched.look(), Looked::New(_)));
    let (generation, material) = watched.current();
    assert_eq!(generation, 2);
    assert_eq!(material.own_pem().unwrap().0, &next.cert_pem[..]);
    assert_eq!(watched.look(), Looked::Same);
}

/// The outcome at each end of one connection: the names of the other, or why there is none.
fn shaken(
    server: &Material,
    auth: ClientAuth,
    client: &Material,
    host: &str,
) -> (Result<Names, String>, Result<Names, String>) {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    let server = Server::new(server, auth).unwrap();
    // In TLS 1.3 a client learns by its first read that it was refused.
    let serving = std::thread::spawn(move || {
        let mut stream = server.accept(far).map_err(|e| e.to_string())?;
        stream.write_all(b"hello").map_err(|e| e.to_string())?;
        Ok(stream.names())
    });
    let dialled = || {
        let connector = Connector::new(client).unwrap();
        let mut stream = connector.connect(host, near).map_err(|e| e.to_string())?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).map_err(|e| e.to_string())?;
        assert_eq!(&said, b"hello");
        Ok(stream.names())
    };
    let dialled = dialled();
    (serving.join().unwrap(), dialled)
}

#[test]
fn both_ends_know_each_other_and_strangers_get_nothing() {
    let (ca, other) = (authority("ca"), authority("other"));
    let one = material(Use::Peer, &peer(&ca, "peer1"), &ca).unwrap();
    let two = material(Use::Peer, &peer(&ca, "peer2"), &ca).unwrap();
    let (at_server, at_client) = shaken(&one, ClientAuth::Require, &two, "127.0.0.1");
    assert!(at_server.unwrap().has("peer2"));
    assert!(at_client.unwrap().has("peer1"));

    // A certificate of another CA, none, and a host that the certificate does not name.
    let stranger = material(Use::Client, &peer(&other, "peer2"), &ca).unwrap();
    let (at_server, at_client) = shaken(&one, ClientAuth::Require, &stranger, "127.0.0.1");
    assert!(at_server.unwrap_err().contains("certificate"));
    assert!(at_client.is_err());
    let dir = TempDir::new().unwrap();
    let mut files = written(dir.path(), Use::Client, &peer(&ca, "x"), &ca);
    files.own = None;
    let nobody = Material::read(&files).unwrap();
    let (at_server, at_client) = shaken(&one, ClientAuth::Require, &nobody, "127.0.0.1");
    assert!(at_server.is_err() && at_client.is_err());
    let (at_server, at_client) = shaken(&one, ClientAuth::Optional, &nobody, "localhost");
    assert_eq!(at_server.unwrap(), Names::default());
    assert!(at_client.unwrap().has("peer1"));
    let (_, at_client) = shaken(&one, ClientAuth::Off, &nobody, "10.0.0.1");
    let said = at_client.unwrap_err();
    assert!(said.contains("IP address mismatch"), "{said}");
}
