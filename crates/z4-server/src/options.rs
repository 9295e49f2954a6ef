//! What a server is told: environment variables, each of them also a flag.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limits::PEER_ID_LEN_MAX;
use structopt::clap::{AppSettings, ErrorKind};
use structopt::StructOpt;
use z4_core::address::Address;

mod join;
mod offline;
#[cfg(test)]
mod tests;
mod tls;
mod values;

pub(crate) use join::{JoinOptions, OnRemoved};
pub(crate) use offline::{Force, Offline, Recover, Restore};
pub(crate) use tls::TlsOptions;
use values::{clock_offset, ip, switch};

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
    /// [default: Z4_BIND_ADDR, or else loopback, and Z4_PEER_PORT]
    #[structopt(
        long,
        env = "Z4_PEER_ADVERTISE_ADDR",
        value_name = "HOST:PORT",
        default_value = "",
        hide_default_value = true
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

    #[structopt(flatten)]
    pub join: JoinOptions,

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

    /// Address that the ports are opened on
    /// [default: all, and loopback where a port has no TLS]
    #[structopt(
        long,
        env = "Z4_BIND_ADDR",
        value_name = "IP",
        parse(try_from_str = ip)
    )]
    bind_addr: Option<IpAddr>,

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

    /// Port for raft messages of other peers, beside the one before; 0 is off
    /// [default: 6357, and off with a warning where that is taken]
    #[structopt(long, env = "Z4_PEER_LANE_PORT", value_name = "PORT")]
    pub peer_lane_port: Option<u16>,

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

    /// How far the clock of a leader may be ahead of those of most voters
    #[structopt(
        long,
        env = "Z4_MAX_CLOCK_OFFSET",
        value_name = "SPAN",
        default_value = "500ms",
        parse(try_from_str = clock_offset)
    )]
    pub max_clock_offset: Duration,

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

    #[structopt(flatten)]
    pub tls: TlsOptions,

    /// Ask clients who they are: on or off
    #[structopt(
        long,
        env = "Z4_AUTH",
        value_name = "BOOL",
        default_value = "off",
        parse(try_from_str = switch)
    )]
    pub auth: bool,

    /// File with the token of the first admin, which counts until there is an admin
    #[structopt(
        long,
        env = "Z4_AUTH_ROOT_TOKEN_FILE",
        value_name = "FILE",
        parse(from_os_str)
    )]
    pub auth_root_token_file: Option<PathBuf>,

    /// Log what is of use to developers only
    #[structopt(
        long,
        env = "Z4_DEBUG_LOGGING_ENABLED",
        value_name = "BOOL",
        default_value = "false",
        parse(try_from_str = switch)
    )]
    pub debug_logging_enabled: bool,

    #[structopt(subcommand)]
    pub offline: Option<Offline>,
}

/// The variable of [`Options::peer_lane_port`].
pub(crate) const LANE_PORT_NAME: &str = "Z4_PEER_LANE_PORT";
/// The port of lanes unless another one is asked for.
pub(crate) const LANE_PORT_DEFAULT: u16 = 6357;

/// What the command line and the environment say.
pub(crate) enum Told {
    /// To run.
    Run(Box<Options>),
    /// To print this text and end: help or version.
    Print(String),
}

impl Options {
    /// Reads flags and variables, and checks all of them.
    ///
    /// # Errors
    /// The variable and what to give, in one line.
    pub(crate) fn read(
        line: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    ) -> Result<Told, String> {
        match Self::from_iter_safe(line) {
            Ok(options) => options
                .checked()
                .map(|options| Told::Run(Box::new(options))),
            Err(usage) => match usage.kind {
                ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => {
                    Ok(Told::Print(usage.message))
                }
                _ => Err(complaint(&usage.message)),
            },
        }
    }

    /// Checks what the argument library does not, and fills in the address that
    /// other peers are told, in its normal form.
    fn checked(mut self) -> Result<Self, String> {
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
        self.check_folders()?;
        self.check_ports()?;
        self.tls.check()?;
        if self.auth_root_token_file.is_some() && !self.auth {
            return Err(
                "Z4_AUTH_ROOT_TOKEN_FILE is set and Z4_AUTH is off: nobody would ask for the \
                 token; set Z4_AUTH=on, or leave the file out"
                    .to_owned(),
            );
        }
        self.tls.check_bind(self.bind())?;
        self.peer_advertise_addr = self.advertised()?.to_string();
        self.join.check(self.bootstrap_cluster)?;
        Ok(self)
    }

    /// The address that the ports are opened on.
    pub(crate) fn bind(&self) -> IpAddr {
        let given = self.bind_addr;
        given.unwrap_or_else(|| self.tls.bind_default())
    }

    fn check_folders(&self) -> Result<(), String> {
        let folders = [
            ("Z4_DB_DATA_DIR", &self.db_data_dir),
            ("Z4_PEER_DATA_DIR", &self.peer_data_dir),
        ];
        for (name, folder) in folders {
            if folder.as_os_str().is_empty() {
                return Err(format!(
                    "{name} is set to nothing: give a folder, or do not set it to have the default"
                ));
            }
        }
        let (db, peer) = (place(&self.db_data_dir), place(&self.peer_data_dir));
        if db == peer {
            return Err(format!(
                "Z4_DB_DATA_DIR and Z4_PEER_DATA_DIR are both {}: give two folders",
                db.display()
            ));
        }
        if db.starts_with(&peer) || peer.starts_with(&db) {
            return Err(format!(
                "Z4_DB_DATA_DIR is {} and Z4_PEER_DATA_DIR is {}, and one lies inside the other: \
                 give two folders that stand side by side",
                db.display(),
                peer.display()
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
        Ok(())
    }

    fn check_ports(&self) -> Result<(), String> {
        let ports = [
            ("Z4_SERVICE_PORT", Some(self.service_port)),
            ("Z4_PEER_PORT", Some(self.peer_port)),
            ("Z4_METRICS_PORT", Some(self.metrics_port)),
            (
                LANE_PORT_NAME,
                self.peer_lane_port.filter(|port| *port != 0),
            ),
        ];
        let ports = ports.map(|(name, port)| Some((name, port?)));
        let ports: Vec<(&str, u16)> = ports.into_iter().flatten().collect();
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

    /// The address that other peers are told: as given, else where this peer
    /// listens, and loopback when that is every address of the machine.
    fn advertised(&self) -> Result<Address, String> {
        let bind = self.bind();
        if self.peer_advertise_addr.is_empty() {
            let ip = match bind {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            return Address::of_ip(ip, self.peer_port).map_err(|why| {
                format!("Z4_BIND_ADDR is {bind}, and Z4_PEER_ADVERTISE_ADDR is not set: {why}")
            });
        }
        let address = Address::parse(&self.peer_advertise_addr)
            .map_err(|why| format!("Z4_PEER_ADVERTISE_ADDR: {why}"))?;
        if address.is_loopback() && !bind.is_loopback() && !bind.is_unspecified() {
            return Err(format!(
                "Z4_PEER_ADVERTISE_ADDR is {address} and Z4_BIND_ADDR is {bind}: this peer does \
                 not listen on loopback, so nobody could reach it there; give an address that \
                 leads to {bind}, or do not set it to have that one"
            ));
        }
        Ok(address)
    }
}

/// Where a folder is, as far as its path exists: two ways to write one place
/// give one result.
fn place(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    for known in absolute.ancestors() {
        if let Ok(real) = known.canonicalize() {
            return match absolute.strip_prefix(known) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            };
        }
    }
    absolute
}

/// What the argument library complains of, as one line that names the variable.
fn complaint(message: &str) -> String {
    let end = message.find("\n\nUSAGE").unwrap_or(message.len());
    let end = message[..end].find("USAGE:").unwrap_or(end);
    let end = message[..end].find("\n\nFor more").unwrap_or(end);
    let words: Vec<_> = message[..end].split_whitespace().collect();
    let words = words.join(" ");
    let words = words.strip_prefix("error: ").unwrap_or(&words);
    // The library names the flag: '--peer-port <PORT>'.
    let flag = words
        .split_once("'--")
        .and_then(|(_, rest)| rest.split_once(" <"));
    match flag {
        Some((flag, _)) => {
            let variable = flag.to_uppercase().replace('-', "_");
            format!("Z4_{variable}: {words}")
        }
        None => format!("{words}; see z4-server --help"),
    }
}
