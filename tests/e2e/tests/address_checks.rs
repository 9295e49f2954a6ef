//! Addresses and settings that cannot be are refused at the start, by the name of
//! the variable and with exit code 2, before a folder is made; and what can be
//! works.

use std::time::Duration;

use z4_e2e::command::{run, z4t};
use z4_e2e::{wait, Peer, PeerSpec};

const LIMIT: Duration = Duration::from_secs(20);

/// A start with these variables ends with exit code 2 and one line that has the
/// words; nothing was written.
#[track_caller]
fn refused(variables: &[(&str, &str)], words: &[&str]) {
    let peer = Peer::new(PeerSpec::bootstrap("peer1"));
    let mut command = peer.command();
    command.envs(variables.iter().copied());
    let done = run(command, LIMIT);
    assert_eq!(done.code, 2, "{variables:?}: {done:?}");
    assert_eq!(done.stderr.lines().count(), 1, "{variables:?}: {done:?}");
    for word in words {
        assert!(
            done.stderr.contains(word),
            "{variables:?}, {word}: {done:?}"
        );
    }
    let made = peer.db_folder().exists() || peer.peer_folder().exists();
    assert!(!made, "{variables:?}: a folder was made");
}

#[test]
fn an_address_that_nobody_can_dial_does_not_become_that_of_a_founder() {
    for (address, reason) in [
        (" 127.0.0.1:6356", "blank"),
        ("bad host:6356", "blank"),
        ("0.0.0.0:6356", "nobody can dial"),
        ("[::]:6356", "nobody can dial"),
        ("10.0.0.1", "no port"),
        ("10.0.0.1:0", "port"),
        (":6356", "no host"),
        ("::1:6356", "brackets"),
        ("300.0.0.1:6356", "IPv4"),
        ("-a:6356", "hyphen"),
    ] {
        let variable = "Z4_PEER_ADVERTISE_ADDR";
        refused(&[(variable, address)], &[variable, reason, "host:port"]);
    }
    let apart = [
        ("Z4_INSECURE", "true"),
        ("Z4_BIND_ADDR", "10.255.0.1"),
        ("Z4_PEER_ADVERTISE_ADDR", "127.0.0.1:6356"),
    ];
    refused(&apart, &["Z4_BIND_ADDR", "Z4_PEER_ADVERTISE_ADDR"]);
}

#[test]
fn ports_without_tls_are_opened_on_loopback_alone_unless_somebody_says_otherwise() {
    if z4_e2e::tls::is_switched_on() {
        // All peers have TLS then.
        return;
    }
    let open = ("Z4_BIND_ADDR", "0.0.0.0");
    refused(
        &[open],
        &["Z4_BIND_ADDR", "Z4_TLS_CERT", "Z4_INSECURE=true"],
    );
    let told = PeerSpec::bootstrap("peer1").with("Z4_INSECURE", "true");
    let peer = Peer::started(told.with(open.0, open.1));
    assert!(peer.log().contains("Z4_INSECURE is set"), "it says so");
}

#[test]
fn settings_that_cannot_be_exit_with_2_by_name() {
    for (name, value) in [
        ("Z4_PEER_ID", ""),
        ("Z4_DB_DATA_DIR", ""),
        ("Z4_PEER_DATA_DIR", ""),
        ("Z4_BIND_ADDR", ""),
        ("Z4_BIND_ADDR", "localhost"),
        ("Z4_SERVICE_PORT", ""),
        ("Z4_PEER_PORT", ""),
        ("Z4_METRICS_PORT", ""),
        ("Z4_METRICS_PORT", "70000"),
        ("Z4_LOG_KEEP_ENTRIES", ""),
        ("Z4_DISK_RESERVE_BYTES", ""),
        ("Z4_BOOTSTRAP_CLUSTER", "perhaps"),
        ("Z4_DEBUG_LOGGING_ENABLED", "perhaps"),
    ] {
        refused(&[(name, value)], &[name]);
    }
}

#[test]
fn folders_that_are_one_or_lie_in_each_other_are_refused() {
    for (db, peer) in [
        ("data", "data"),
        ("data", "./data/"),
        ("data", "data/peer"),
        ("data/db", "data"),
    ] {
        let both = [("Z4_DB_DATA_DIR", db), ("Z4_PEER_DATA_DIR", peer)];
        refused(&both, &["Z4_DB_DATA_DIR", "Z4_PEER_DATA_DIR"]);
    }
}

#[test]
fn ipv6_is_listened_on_with_and_without_brackets() {
    for bind in ["[::1]", "::1"] {
        let mut peer = Peer::new(PeerSpec::bootstrap("peer1").with("Z4_BIND_ADDR", bind));
        let port = peer.service_address().replace("127.0.0.1:", "");
        let peer_port = peer.peer_address().replace("127.0.0.1:", "");
        let advertised = format!("[::1]:{peer_port}");
        // Written in another way than it is stored.
        let other = format!("[0:0::1]:0{peer_port}");
        peer.spec = peer.spec.clone().with("Z4_PEER_ADVERTISE_ADDR", &other);
        peer.start();
        let target = format!("[::1]:{port}");
        wait::until("it serves", LIMIT, || {
            peer.spec.admit_at(&target)?;
            let done = z4t(&["-t", &target, "health"]);
            wait::check(done.code == 0, || format!("{bind}: {done:?}"))
        });
        let made = z4t(&["-t", &target, "create", "six", "x"]);
        assert_eq!(made.code, 0, "{bind}: {made:?}");
        let info = z4t(&["-t", &target, "info"]);
        assert!(info.stdout.contains(&advertised), "{bind}: {info:?}");
    }
}
