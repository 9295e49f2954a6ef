//! What a server is told: environment variables, each of them also a flag.

use std::path::PathBuf;

use structopt::clap::AppSettings;
use structopt::StructOpt;

/// One peer of z4, a replicated database of scheduled tasks.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug)]
#[structopt(
    name = "z4-server",
    global_setting = AppSettings::ColorNever,
    global_setting = AppSettings::UnifiedHelpMessage
)]
pub(crate) struct Options {
    /// Name of this peer: unique in its cluster, the same at every start; required
    #[structopt(
        long,
        env = "Z4_PEER_ID",
        value_name = "ID",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_id: String,

    /// Where other peers reach this one
    #[structopt(
        long,
        env = "Z4_PEER_ADVERTISE_ADDR",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:6356"
    )]
    pub peer_advertise_addr: String,

    /// Make a cluster of one when the data directories are empty
    #[structopt(
        long,
        env = "Z4_BOOTSTRAP_CLUSTER",
        value_name = "BOOL",
        default_value = "false",
        parse(try_from_str = switch)
    )]
    pub bootstrap_cluster: bool,

    /// Folder of the task data
    #[structopt(
        long,
        env = "Z4_DB_DATA_DIR",
        value_name = "DIR",
        default_value = "z4data",
        parse(from_os_str)
    )]
    pub db_data_dir: PathBuf,

    /// Folder of the raft log and the membership
    #[structopt(
        long,
        env = "Z4_PEER_DATA_DIR",
        value_name = "DIR",
        default_value = "z4peer",
        parse(from_os_str)
    )]
    pub peer_data_dir: PathBuf,

    /// Address that the three ports are opened on
    #[structopt(
        long,
        env = "Z4_BIND_ADDR",
        value_name = "IP",
        default_value = "0.0.0.0"
    )]
    pub bind_addr: std::net::IpAddr,

    /// Port of the gRPC services
    #[structopt(
        long,
        env = "Z4_SERVICE_PORT",
        value_name = "PORT",
        default_value = "6355"
    )]
    pub service_port: u16,

    /// Port for traffic between peers
    #[structopt(
        long,
        env = "Z4_PEER_PORT",
        value_name = "PORT",
        default_value = "6356"
    )]
    pub peer_port: u16,

    /// Port of /metrics, /healthz and /readyz
    #[structopt(
        long,
        env = "Z4_METRICS_PORT",
        value_name = "PORT",
        default_value = "2112"
    )]
    pub metrics_port: u16,

    /// Log entries kept for followers that lag; beyond, a snapshot is sent
    #[structopt(
        long,
        env = "Z4_LOG_KEEP_ENTRIES",
        value_name = "COUNT",
        default_value = "10000"
    )]
    pub log_keep_entries: u64,

    /// Bytes kept free on the volumes of both folders: below, nothing is created
    /// [default: a tenth of the volume, at most 2 GiB]
    #[structopt(long, env = "Z4_DISK_RESERVE_BYTES", value_name = "BYTES")]
    pub disk_reserve_bytes: Option<u64>,

    /// Connections of clients at a time; more are closed at once
    /// [default: 10000, or what the limit on open files leaves]
    #[structopt(long, env = "Z4_CONNECTIONS_MAX", value_name = "COUNT")]
    pub connections_max: Option<usize>,

    /// Those of one address [default: half of all]
    #[structopt(long, env = "Z4_CONNECTIONS_PER_ADDRESS_MAX", value_name = "COUNT")]
    pub connections_per_address_max: Option<usize>,

    /// Log what is of use to developers only
    #[structopt(
        long,
        env = "Z4_DEBUG_LOGGING_ENABLED",
        value_name = "BOOL",
        default_value = "false",
        parse(try_from_str = switch)
    )]
    pub debug_logging_enabled: bool,
}

/// Longest peer id, in bytes.
const PEER_ID_LEN_MAX: usize = 128;

impl Options {
    /// Checks what the argument library does not.
    ///
    /// # Errors
    /// The variable and what to give, in one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.peer_id.is_empty() {
            return Err(
                "Z4_PEER_ID is not set: give this peer a name (or --peer-id), unique in \
                        its cluster and the same at every start"
                    .to_owned(),
            );
        }
        let named = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.peer_id.len() > PEER_ID_LEN_MAX || !self.peer_id.chars().all(named) {
            return Err(format!(
                "Z4_PEER_ID is {:?}: give 1 to {PEER_ID_LEN_MAX} of A-Z a-z 0-9 . _ -",
                self.peer_id
            ));
        }
        check_address(&self.peer_advertise_addr)?;
        if self.db_data_dir == self.peer_data_dir {
            return Err(format!(
                "Z4_DB_DATA_DIR and Z4_PEER_DATA_DIR are both {}: give two folders",
                self.db_data_dir.display()
            ));
        }
        for (name, count) in [
            ("Z4_CONNECTIONS_MAX", self.connections_max),
            (
                "Z4_CONNECTIONS_PER_ADDRESS_MAX",
                self.connections_per_address_max,
            ),
        ] {
            if count == Some(0) {
                return Err(format!("{name} is 0: give 1 or more"));
            }
        }
        let ports = [
            ("Z4_SERVICE_PORT", self.service_port),
            ("Z4_PEER_PORT", self.peer_port),
            ("Z4_METRICS_PORT", self.metrics_port),
        ];
        for (at, (name, port)) in ports.iter().enumerate() {
            if *port == 0 {
                return Err(format!("{name} is 0: give a port from 1 to 65535"));
            }
            if let Some((other, _)) = ports[..at].iter().find(|(_, taken)| taken == port) {
                return Err(format!(
                    "{other} and {name} are both {port}: give two ports"
                ));
            }
        }
        Ok(())
    }
}

fn check_address(address: &str) -> Result<(), String> {
    let port = address.rsplit_once(':').filter(|(host, _)| {
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        !host.is_empty() && !host.contains('/') && !bare_v6
    });
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(port)) if port > 0 => Ok(()),
        _ => Err(format!(
            "Z4_PEER_ADVERTISE_ADDR is {address:?}: give host:port as other peers reach it, such \
             as 10.0.0.1:6356"
        )),
    }
}

/// The words for yes and no that people put into environment variables.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("give true or false"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = ["z4-server"].iter().chain(args);
        let options = Options::from_iter_safe(args).map_err(|e| e.message)?;
        options.check().map(|()| options)
    }

    #[test]
    fn defaults_are_as_promised() {
        let options = parse(&["--peer-id", "peer1"]).unwrap();
        let expected = Options {
            peer_id: "peer1".into(),
            peer_advertise_addr: "127.0.0.1:6356".into(),
            bootstrap_cluster: false,
            db_data_dir: "z4data".into(),
            peer_data_dir: "z4peer".into(),
            bind_addr: [0, 0, 0, 0].into(),
            service_port: 6355,
            peer_port: 6356,
            metrics_port: 2112,
            log_keep_entries: 10_000,
            disk_reserve_bytes: None,
            connections_max: None,
            connections_per_address_max: None,
            debug_logging_enabled: false,
        };
        assert_eq!(options, expected);
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
            "Z4_METRICS_PORT",
            "Z4_PEER_ID",
            "Z4_PEER_ADVERTISE_ADDR",
            "Z4_BOOTSTRAP_CLUSTER",
            "Z4_BIND_ADDR",
            "Z4_DISK_RESERVE_BYTES",
            "Z4_CONNECTIONS_MAX",
            "Z4_CONNECTIONS_PER_ADDRESS_MAX",
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
                &["--peer-advertise-addr", ":6356"],
                "Z4_PEER_ADVERTISE_ADDR",
            ),
            (&["--peer-port", "6355"], "Z4_PEER_PORT"),
            (&["--metrics-port", "0"], "Z4_METRICS_PORT"),
            (&["--connections-max", "0"], "Z4_CONNECTIONS_MAX"),
            (&["--db-data-dir", "z4peer"], "Z4_DB_DATA_DIR"),
            (&["--service-port", "70000"], "--service-port"),
            (&["--bootstrap-cluster", "perhaps"], "true or false"),
        ] {
            let mut line = args.to_vec();
            if name != "Z4_PEER_ID" {
                line.extend(named);
            }
            let error = parse(&line).unwrap_err();
            assert!(error.contains(name), "{args:?}: {error}");
        }
    }

    #[test]
    fn switches_know_the_usual_words() {
        for word in ["true", "TRUE", "1", "yes", "on"] {
            assert_eq!(switch(word), Ok(true), "{word}");
        }
        for word in ["false", "0", "no", "off", ""] {
            assert_eq!(switch(word), Ok(false), "{word}");
        }
        assert!(switch("maybe").is_err());
    }
}
