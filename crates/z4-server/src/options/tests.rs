#![allow(clippy::unwrap_used)]

use super::*;

fn parse(args: &[&str]) -> Result<Options, String> {
    let args = ["z4-server"].iter().chain(args);
    match Options::read(args)? {
        Told::Run(options) => Ok(*options),
        Told::Print(text) => Err(text),
    }
}

#[test]
fn defaults_are_as_promised() {
    let options = parse(&["--peer-id", "peer1"]).unwrap();
    let expected = Options {
        peer_id: "peer1".into(),
        peer_advertise_addr: "127.0.0.1:6356".into(),
        bootstrap_cluster: false,
        join: JoinOptions::default(),
        db_data_dir: "z4data".into(),
        peer_data_dir: "z4peer".into(),
        bind_addr: None,
        service_port: 6355,
        peer_port: 6356,
        peer_lane_port: None,
        metrics_port: 2112,
        log_keep_entries: 10_000,
        max_clock_offset: Duration::from_millis(500),
        disk_reserve_bytes: None,
        connections_max: None,
        connections_per_address_max: None,
        tls: TlsOptions::default(),
        auth: false,
        auth_root_token_file: None,
        debug_logging_enabled: false,
        offline: None,
    };
    assert_eq!(options, expected);
    assert!(options.bind().is_loopback(), "no port has TLS");
}

#[test]
fn help_lists_every_variable_with_its_flag() {
    let help = Options::from_iter_safe(["z4-server", "--help"])
        .unwrap_err()
        .message;
    for variable in [
        "Z4_DEBUG_LOGGING_ENABLED",
        "Z4_DB_DATA_DIR",
        "Z4_PEER_DATA_DIR",
        "Z4_SERVICE_PORT",
        "Z4_PEER_PORT",
        "Z4_PEER_LANE_PORT",
        "Z4_METRICS_PORT",
        "Z4_PEER_ID",
        "Z4_PEER_ADVERTISE_ADDR",
        "Z4_BOOTSTRAP_CLUSTER",
        "Z4_JOIN",
        "Z4_BOOTSTRAP_EXPECT",
        "Z4_ON_REMOVED",
        "Z4_BIND_ADDR",
        "Z4_DISK_RESERVE_BYTES",
        "Z4_MAX_CLOCK_OFFSET",
        "Z4_CONNECTIONS_MAX",
        "Z4_CONNECTIONS_PER_ADDRESS_MAX",
        "Z4_TLS_CERT",
        "Z4_TLS_KEY",
        "Z4_TLS_CLIENT_CA",
        "Z4_TLS_CLIENT_AUTH",
        "Z4_PEER_TLS_CERT",
        "Z4_PEER_TLS_KEY",
        "Z4_PEER_TLS_CA",
        "Z4_PEER_TLS_NAMES",
        "Z4_INSECURE",
        "Z4_AUTH",
        "Z4_AUTH_ROOT_TOKEN_FILE",
    ] {
        let flag = variable
            .trim_start_matches("Z4_")
            .to_lowercase()
            .replace('_', "-");
        assert!(help.contains(variable), "{variable}: {help}");
        assert!(help.contains(&format!("--{flag} ")), "{flag}: {help}");
    }
}

#[test]
fn mistakes_are_named() {
    let named = ["--peer-id", "peer1"];
    for (args, name) in [
        (&[][..], "Z4_PEER_ID"),
        (&["--peer-id", "a b"], "Z4_PEER_ID"),
        (
            &["--peer-advertise-addr", "nowhere"],
            "Z4_PEER_ADVERTISE_ADDR",
        ),
        (
            &["--peer-advertise-addr", " 127.0.0.1:6356"],
            "Z4_PEER_ADVERTISE_ADDR",
        ),
        (
            &["--peer-advertise-addr", "0.0.0.0:6356"],
            "Z4_PEER_ADVERTISE_ADDR",
        ),
        (&["--peer-port", "6355"], "Z4_PEER_PORT"),
        (&["--peer-lane-port", "6356"], "Z4_PEER_LANE_PORT"),
        (&["--peer-lane-port", "70000"], "Z4_PEER_LANE_PORT"),
        (&["--metrics-port", "0"], "Z4_METRICS_PORT"),
        (&["--connections-max", "0"], "Z4_CONNECTIONS_MAX"),
        (&["--metrics-port", ""], "Z4_METRICS_PORT"),
        (&["--db-data-dir", "z4peer"], "Z4_DB_DATA_DIR"),
        (&["--db-data-dir", "./z4peer/"], "Z4_DB_DATA_DIR"),
        (&["--db-data-dir", "z4peer/db"], "Z4_DB_DATA_DIR"),
        (&["--peer-data-dir", "z4data/x/y"], "Z4_PEER_DATA_DIR"),
        (&["--db-data-dir", ""], "Z4_DB_DATA_DIR"),
        (&["--peer-data-dir", ""], "Z4_PEER_DATA_DIR"),
        (&["--service-port", "70000"], "Z4_SERVICE_PORT"),
        (&["--bootstrap-cluster", "perhaps"], "true or false"),
        (&["--join", "nowhere"], "Z4_JOIN"),
        (&["--join", "a:1,,b:1"], "Z4_JOIN"),
        (&["--join", "a:1,A:01"], "Z4_JOIN"),
        (
            &["--join", "a:1", "--bootstrap-cluster", "true"],
            "Z4_BOOTSTRAP_CLUSTER",
        ),
        (&["--bootstrap-expect", "3"], "Z4_BOOTSTRAP_EXPECT"),
        (
            &["--join", "a:1", "--bootstrap-expect", "0"],
            "Z4_BOOTSTRAP_EXPECT",
        ),
        (
            &["--join", "a:1", "--bootstrap-expect", "65"],
            "Z4_BOOTSTRAP_EXPECT",
        ),
        (
            &["--join", "a:1", "--bootstrap-expect", "two"],
            "Z4_BOOTSTRAP_EXPECT",
        ),
        (&["--on-removed", "restart"], "Z4_ON_REMOVED"),
        (&["--bind-addr", "localhost"], "Z4_BIND_ADDR"),
        (&["--bind-addr", ""], "Z4_BIND_ADDR"),
        (&["--bind-addr", "0.0.0.0"], "Z4_INSECURE"),
        (&["--auth", "perhaps"], "Z4_AUTH"),
        (&["--auth-root-token-file", "f"], "Z4_AUTH"),
        (&["--tls-cert", "f"], "Z4_TLS_KEY"),
        (&["--tls-key", "f"], "Z4_TLS_CERT"),
        (&["--tls-client-ca", "f"], "Z4_TLS_CERT"),
        (&["--tls-client-auth", "maybe"], "Z4_TLS_CLIENT_AUTH"),
        (&["--tls-client-auth", "require"], "Z4_TLS_CLIENT_CA"),
        (&["--peer-tls-cert", "f"], "Z4_PEER_TLS_KEY"),
        (&["--peer-tls-ca", "f"], "Z4_PEER_TLS_CERT"),
        (&["--peer-tls-names", "a"], "Z4_PEER_TLS_CA"),
        (&["--bind-addr", "[10.0.0.1]"], "Z4_BIND_ADDR"),
        (&["--max-clock-offset", "9ms"], "Z4_MAX_CLOCK_OFFSET"),
        (&["--max-clock-offset", "61m"], "Z4_MAX_CLOCK_OFFSET"),
        (&["--max-clock-offset", "500"], "Z4_MAX_CLOCK_OFFSET"),
        (&["--max-clock-offset", ""], "Z4_MAX_CLOCK_OFFSET"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let mut line = args.to_vec();
        if name != "Z4_PEER_ID" {
            line.extend(named);
        }
        let error = parse(&line).unwrap_err();
        assert!(error.contains(name), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
    }
}

#[test]
fn the_address_that_others_are_told_follows_what_is_listened_on() {
    let told = |args: &[&str]| {
        let line = [args, &["--peer-id", "peer1"]].concat();
        parse(&line).map(|options| options.peer_advertise_addr)
    };
    for (args, address) in [
        (&[][..], "127.0.0.1:6356"),
        (&["--peer-port", "7000"], "127.0.0.1:7000"),
        (
            &["--bind-addr", "10.0.0.7", "--insecure", "true"],
            "10.0.0.7:6356",
        ),
        (&["--bind-addr", "::", "--insecure", "1"], "[::1]:6356"),
        (&["--insecure", "true"], "127.0.0.1:6356"),
        (&["--bind-addr", "[::1]"], "[::1]:6356"),
        (
            &["--peer-advertise-addr", "PEER1.example.org:06356"],
            "peer1.example.org:6356",
        ),
    ] {
        assert_eq!(told(args).as_deref(), Ok(address), "{args:?}");
    }
    let apart = "--insecure true --bind-addr 10.0.0.7 --peer-advertise-addr";
    let apart: Vec<&str> = apart.split(' ').collect();
    let error = told(&[&apart[..], &["localhost:6356"]].concat()).unwrap_err();
    assert!(error.contains("Z4_BIND_ADDR"), "{error}");
    assert!(error.contains("Z4_PEER_ADVERTISE_ADDR"), "{error}");
    let given = told(&[&apart[..], &["192.0.2.1:6356"]].concat());
    assert_eq!(given.as_deref(), Ok("192.0.2.1:6356"));
}

#[test]
fn one_folder_written_in_two_ways_is_one() {
    let name = format!("z4-options-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let (real, link) = (folder.join("real"), folder.join("link"));
    std::fs::create_dir_all(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let same = place(&link.join("new")) == place(&real.join("new"));
    let same = same && place(&link) == place(&real);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(same);
}
