//! Commands and their flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use structopt::clap::{AppSettings, Shell};
use structopt::StructOpt;

use crate::moment;

/// Administration of z4, a replicated database of scheduled tasks.
#[derive(StructOpt, Debug)]
#[structopt(
    name = "z4t",
    global_setting = AppSettings::ColorNever,
    global_setting = AppSettings::UnifiedHelpMessage,
    global_setting = AppSettings::VersionlessSubcommands,
    setting = AppSettings::SubcommandRequiredElseHelp,
    after_help = "Flags may stand before the command or after it; `z4t COMMAND --help` lists them.\n\
                  Every command takes -t HOST:PORT, the service port of a peer (localhost:6355\n\
                  unless given), or several, separated by commas: the first that answers is used."
)]
pub(crate) struct Options {
    #[structopt(subcommand)]
    pub command: Command,
}

#[derive(StructOpt, Debug)]
pub(crate) enum Command {
    /// Print the cluster as JSON: the peer that answers, the leader, the members
    Info(Target),
    /// Print role, term, indexes and members, with the lag of each
    Status(Status),
    /// Say whether a peer knows a leader; exit code 1 if not
    Health(Target),
    /// Add a running, empty peer to the cluster
    AddPeer(AddPeer),
    /// Take a peer out of the cluster for good
    RemovePeer(RemovePeer),
    /// Hand leadership to another peer
    TransferLeader(TransferLeader),
    /// Create a task and print its id
    Create(Create),
    /// Print a task
    Get(Get),
    /// Take the tasks of a namespace as they become due, one line each
    ///
    /// A task counts as done once the peer has sent it. With --limit, tasks
    /// that the peer sent beyond it are taken all the same and not shown, and the
    /// last one may come again to the next stream.
    Stream(Stream),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// Where to ask.
#[derive(StructOpt, Debug)]
pub(crate) struct Target {
    /// Service address of a peer, or several: the first that answers is used
    #[structopt(
        short = "t",
        long = "target",
        value_name = "HOST:PORT",
        default_value = "localhost:6355",
        use_delimiter = true,
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = address)
    )]
    pub targets: Vec<String>,
    /// How long to wait for an answer: 10s, or 60s for add-peer, unless given
    #[structopt(long, value_name = "TIME", parse(try_from_str = humantime::parse_duration))]
    pub timeout: Option<Duration>,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl std::str::FromStr for Output {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("give text or json"),
        }
    }
}

#[derive(StructOpt, Debug)]
pub(crate) struct Status {
    #[structopt(flatten)]
    pub target: Target,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}

#[derive(StructOpt, Debug)]
pub(crate) struct AddPeer {
    /// Address of the new peer's port for peers, as all others reach it
    #[structopt(short = "p", long = "peer", value_name = "HOST:PORT", parse(try_from_str = address))]
    pub peer: String,
    /// Its Z4_PEER_ID; -id does as well
    #[structopt(long = "id", value_name = "ID")]
    pub id: String,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct RemovePeer {
    /// Its Z4_PEER_ID; -id does as well
    #[structopt(long = "id", value_name = "ID")]
    pub id: String,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct TransferLeader {
    /// To whom (Z4_PEER_ID); the most caught-up voter unless given
    #[structopt(long = "id", value_name = "ID")]
    pub id: Option<String>,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Create {
    /// Letters, digits, dots, underscores, dashes
    pub namespace: String,
    /// The payload, or - to read it from standard input
    #[structopt(required_unless = "file", conflicts_with = "file", parse(from_os_str))]
    pub payload: Option<OsString>,
    /// Read the payload from a file
    #[structopt(short, long, value_name = "PATH", parse(from_os_str))]
    pub file: Option<PathBuf>,
    /// Due so long from now, in whole seconds: 30s, 5m, 1h 30m, 2days
    #[structopt(long = "in", value_name = "TIME", conflicts_with = "at", parse(try_from_str = moment::whole_seconds))]
    pub delay_s: Option<i64>,
    /// Due at this time (RFC 3339): 2030-01-31T08:00:00+01:00
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::parse))]
    pub at: Option<moment::Moment>,
    /// Metadata, repeatable
    #[structopt(
        short,
        long,
        value_name = "KEY=VALUE",
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = key_value)
    )]
    pub metadata: Vec<(String, String)>,
    /// The same id twice makes one task; one is made up unless given
    #[structopt(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// text (the id alone) or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Get {
    pub namespace: String,
    pub task_id: String,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Stream {
    pub namespace: String,
    /// text or json (a line of JSON for each task)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    /// End after so many tasks
    #[structopt(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[structopt(possible_values = &Shell::variants())]
    pub shell: Shell,
}

/// `host:port`, checked as far as it can be without asking anybody.
fn address(text: &str) -> Result<String, &'static str> {
    let complaint = "give host:port, such as localhost:6355 or [::1]:6355";
    let (host, port) = text.rsplit_once(':').ok_or(complaint)?;
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || host.contains('/') || bare_v6 {
        return Err(complaint);
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(text.to_owned()),
        _ => Err(complaint),
    }
}

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("give KEY=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::argv;

    fn parse(words: &[&str]) -> Result<Command, String> {
        let args = words.iter().map(OsString::from);
        Options::from_iter_safe(argv::normalize(args))
            .map(|options| options.command)
            .map_err(|e| argv::one_line(&e.message))
    }

    #[test]
    fn the_lines_people_know() {
        let Ok(Command::Info(target)) = parse(&["z4t", "-t", "localhost:6355", "info"]) else {
            panic!("info");
        };
        assert_eq!(target.targets, ["localhost:6355"]);
        let line = [
            "z4t",
            "-t",
            "localhost:6355",
            "-p",
            "localhost:6456",
            "-id",
            "peer1",
            "add-peer",
        ];
        let Ok(Command::AddPeer(add)) = parse(&line) else {
            panic!("add-peer");
        };
        assert_eq!(
            (add.peer.as_str(), add.id.as_str()),
            ("localhost:6456", "peer1")
        );
        assert_eq!(add.target.targets, ["localhost:6355"]);
        let line = ["z4t", "remove-peer", "-id", "peer1", "-t", "localhost:6355"];
        let Ok(Command::RemovePeer(remove)) = parse(&line) else {
            panic!("remove-peer");
        };
        assert_eq!(remove.id, "peer1");
    }

    #[test]
    fn targets_add_up_on_both_sides_of_the_command() {
        let line = ["z4t", "-t", "a:1,b:2", "health", "-t", "c:3"];
        let Ok(Command::Health(target)) = parse(&line) else {
            panic!("health");
        };
        assert_eq!(target.targets, ["a:1", "b:2", "c:3"]);
        let Ok(Command::Health(target)) = parse(&["z4t", "health"]) else {
            panic!("default");
        };
        assert_eq!(target.targets, ["localhost:6355"]);
    }

    #[test]
    fn a_task_with_all_its_flags() {
        let line = [
            "z4t",
            "create",
            "ns",
            "hello",
            "--in",
            "5m",
            "-m",
            "a=b",
            "-m",
            "c=d=e",
            "--request-id",
            "r",
            "-o",
            "json",
        ];
        let Ok(Command::Create(create)) = parse(&line) else {
            panic!("create");
        };
        assert_eq!(create.payload, Some("hello".into()));
        assert_eq!(create.delay_s, Some(300));
        let metadata = [("a", "b"), ("c", "d=e")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        assert_eq!(create.metadata, metadata);
        assert_eq!(create.output, Output::Json);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, complaint) in [
            ("z4t remove-peer", "--id"),
            ("z4t -t localhost info", "host:port"),
            ("z4t -t http://a:1/ info", "host:port"),
            ("z4t -t ::1:6355 info", "host:port"),
            ("z4t create ns", "<payload>"),
            ("z4t create ns x --file y", "--file"),
            ("z4t create ns x --in 5m --at 2030-01-01T00:00:00Z", "--at"),
            ("z4t create ns x --in 500ms", "whole seconds"),
            ("z4t create ns x -m a", "KEY=VALUE"),
            ("z4t status -o yaml", "text or json"),
            ("z4t -id x info", "--id"),
            ("z4t frobnicate", "frobnicate"),
        ] {
            let error = parse(&line.split(' ').collect::<Vec<_>>()).expect_err(line);
            assert!(error.contains(complaint), "{line}: {error}");
            assert!(!error.contains('\n'), "{line}: {error}");
        }
    }
}
