//! Commands and their flags.

mod access;
mod backup;
mod certs;
mod consume;
mod context;
mod dead;
mod moving;
mod namespaces;
mod pick;
mod recover;
mod secure;
mod tasks;
#[cfg(test)]
mod tests;
mod top;

use std::time::Duration;

use structopt::clap::{AppSettings, Shell};
use structopt::StructOpt;

use crate::zone::Zone;

pub(crate) use access::{AccessCommand, AccessList, AccessPut, CreateToken, NewRootToken};
pub(crate) use backup::{Backup, BackupCommand};
pub(crate) use certs::{Certs, CreateCa, CreateClient, CreatePeer, Making};
pub(crate) use consume::{Consume, Extend, Lease, Leases, NackLeases};
pub(crate) use context::{ContextCommand, ContextList, ContextSet};
pub(crate) use dead::{Dead, DeadChange, DeadList};
pub(crate) use moving::{Export, Import};
pub(crate) use namespaces::{NamespaceCommand, NamespaceDelete, NamespaceList, NamespaceName};
pub(crate) use pick::{each_key_once, Pick};
pub(crate) use recover::{Plan as RecoverPlan, Recover};
pub(crate) use secure::Secure;
pub(crate) use tasks::{Create, Get, List, OneTask, Reschedule, Sort, Stream};
pub(crate) use top::Top;

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
                  unless given), or several, separated by commas: the first that answers is used.\n\
                  To peers that speak TLS, give the file of their CA by --ca. To peers that ask who\n\
                  you are, give a token by --token-file or in Z4_TOKEN, or a certificate. A context\n\
                  (`z4t context --help`) keeps all of these under a name."
)]
pub(crate) struct Options {
    /// The zone of times without an offset, and of those shown: a name such as
    /// Europe/Berlin, or an offset such as +01:00; the local one unless given
    #[structopt(long, value_name = "ZONE", global = true, allow_hyphen_values = true)]
    pub tz: Option<Zone>,
    /// Times are meant in UTC and shown in UTC, as they are where the output is no
    /// terminal
    #[structopt(long, global = true)]
    pub utc: bool,
    #[structopt(subcommand)]
    pub command: Command,
}

#[derive(StructOpt, Debug)]
pub(crate) enum Command {
    /// Print the cluster as JSON: the peer that answers, the leader, the members
    Info(Target),
    /// Print role, term, indexes and members, with the lag of each
    Status(Cluster),
    /// Print what is wrong or risky in the cluster, with the remedy of each
    ///
    /// Asks one peer, which asks all members at once, and changes nothing. Each finding says
    /// what was measured, why it matters and what to do. WRONG: something does not work, or
    /// is about to stop. RISK: all works, and one more thing may end that.
    ///
    /// Exit codes: 0 when nothing is WRONG, 1 when something is, or no peer answers.
    Doctor(Cluster),
    /// Show members, rates, lateness and the fullest namespaces, again each second
    ///
    /// Ends with q or Ctrl-C. Where the output is no terminal it shows one frame, as with
    /// --once. Each frame costs at most 32 calls, however many namespaces there are.
    Top(Top),
    /// Say whether a peer knows a leader; exit code 1 if not
    Health(Target),
    /// Add a running, empty peer to the cluster
    AddPeer(AddPeer),
    /// Take a peer out of the cluster for good
    RemovePeer(RemovePeer),
    /// Put a new peer in the place of a member, step by step; safe to repeat
    ///
    /// The new peer runs and is empty. It is added, and when it votes and is caught up the
    /// old member is removed. At one address, or when the old one does not answer, the old
    /// one goes first. Where both have one name, as after a lost volume, the member is removed
    /// if it does not answer, and the empty peer at its address is added.
    ReplacePeer(ReplacePeer),
    /// Say at which address a member is now, when it cannot tell the others itself
    ///
    /// A member that starts at another address tells the others, as long as it
    /// reaches one of them. When most have moved at once, say at one of them (-t)
    /// where another one is, until a leader is found.
    SetAddress(SetAddress),
    /// Hand leadership to another peer
    TransferLeader(TransferLeader),
    /// Upgrades of the cluster, peer by peer: status, hold, finish
    ///
    /// A cluster has a level, which says what may stand in its log. It rises by itself, 10
    /// seconds after all members run releases that know a greater one; until then any
    /// member can be taken back to its older release.
    Upgrade(Upgrade),
    /// Check that all members hold the same state and that it is sound
    ///
    /// Prints `ok`, the place in the log and the fingerprint of the state; or, with
    /// exit code 1, what is violated at which member.
    Verify(Cluster),
    /// Write a backup of the whole cluster into a file, or check one: verify
    ///
    /// Holds all that was acknowledged before, as of one place of the log, and holds up no
    /// writes. Every byte is checked on its way. `z4-server restore` makes a new cluster of
    /// the file. A file that is called verify is given as ./verify.
    Backup(Backup),
    /// Create a task, or one for each line of JSON, and print the ids
    Create(Create),
    /// Print a task
    Get(Get),
    /// Take the tasks of a namespace as they become due, one line each
    ///
    /// A task counts as done once the peer has sent it. With --limit, tasks
    /// that the peer sent beyond it are taken all the same and not shown, and the
    /// last one may come again to the next stream.
    Stream(Stream),
    /// Take due tasks, print each or run a command for it, then ack or nack it
    ///
    /// Without --exec, prints a line of JSON for each task and acks it once the
    /// line is written.
    ///
    /// With --exec, runs `sh -c CMD` for each task, its payload on standard input,
    /// with Z4_TASK_ID, Z4_NAMESPACE, Z4_ATTEMPT (from 1), Z4_DELIVERIES and
    /// Z4_METADATA (a JSON object) in the environment. Metadata of more than 96 KiB
    /// stands in a file that Z4_METADATA_FILE names instead. Exit code 0 acks the
    /// task. Exit code 100 makes it a dead letter at once. Exit codes 126 and 127
    /// say that the shell cannot run the command: the task is given back without a
    /// failure, and the consumer ends. Any other exit code, or a signal, is a
    /// failure: the task comes again after the namespace's backoff. The last line
    /// on standard error is kept as the error of the task.
    ///
    /// SIGINT and SIGTERM end it in good order: no more tasks are taken, commands
    /// that run are waited for, and their tasks acked. A second one ends the
    /// commands, with SIGTERM and 5 seconds later with SIGKILL, and gives their
    /// tasks back. A third one ends it at once.
    ///
    /// Exit codes: 3 when an answer was refused because the lease had ended, 4 when
    /// the command cannot be run, 130 or 143 after a second SIGINT or SIGTERM.
    Consume(Consume),
    /// Lease due tasks, to be acked by hand
    Lease(Lease),
    /// End leases: the tasks are done
    Ack(Leases),
    /// End leases with a failure: the tasks come again, or are dead letters
    Nack(NackLeases),
    /// Move the deadlines of leases
    Extend(Extend),
    /// End leases without a failure: the tasks are due again at once
    Release(Leases),
    /// Remove a task that waits
    Cancel(OneTask),
    /// Give a task that waits another due time
    Reschedule(Reschedule),
    /// Make a task that waits due now
    RunNow(OneTask),
    /// List the tasks of a namespace
    List(List),
    /// Write the tasks of a namespace as lines of JSON, to move them elsewhere
    ///
    /// A line is what `z4t import` and `z4t create --batch` take: payload, metadata, due
    /// time, priority, attempts allowed, time to live, and the id of the task as request id.
    /// Attempts so far are left out. Stop the producers and consumers of the namespace
    /// before, or what changes meanwhile may be missing or come twice.
    Export(Export),
    /// Create the tasks that z4t export wrote
    ///
    /// A line that was imported before makes no task again, for as long as the namespace
    /// remembers request ids (its dedupe window). After an error it says which lines are
    /// certainly done, for --skip.
    Import(Import),
    /// Say why a task is not running
    Explain(OneTask),
    /// Dead letters: list, redrive, purge
    Dead(Dead),
    /// Namespaces: list, get, set, pause, resume, delete, stats
    Ns(NamespaceCommand),
    /// What is left of a cluster that has lost its quorum for good: plan
    Recover(Recover),
    /// Certificates for TLS: a CA, peers, clients
    ///
    /// Makes files in a folder, certs unless --out names another, and contacts no cluster.
    Certs(Certs),
    /// Who may do what: put, get, list, delete, create-token, revoke-token, whoami,
    /// new-root-token
    Access(AccessCommand),
    /// Names for clusters and how they are reached: set, use, list, delete
    Context(ContextCommand),
    /// Print a completion script for a shell
    Completions(Completions),
}

#[derive(StructOpt, Debug)]
pub(crate) enum Upgrade {
    /// Print the level of the cluster, and what each member runs
    Status(Cluster),
    /// Keep the level from rising, so that members can be taken back to an older release
    Hold(Target),
    /// Let the level rise, and wait until it has
    Finish(Target),
}

/// Where to ask.
#[derive(StructOpt, Debug)]
pub(crate) struct Target {
    /// Service address of a peer, or several: the first that answers is used;
    /// localhost:6355 unless given here or by the context
    #[structopt(
        short = "t",
        long = "target",
        value_name = "HOST:PORT",
        use_delimiter = true,
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = address)
    )]
    pub targets: Vec<String>,
    /// How long to wait for an answer: 10s unless given; 60s for changes of
    /// members and verify; consume and stream wait for ever
    #[structopt(long, value_name = "TIME", parse(try_from_str = crate::moment::span))]
    pub timeout: Option<Duration>,
    #[structopt(flatten)]
    pub secure: Secure,
    /// The context that says what the flags do not; the current one unless given
    #[structopt(long, value_name = "NAME")]
    pub context: Option<String>,
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
pub(crate) struct Cluster {
    #[structopt(flatten)]
    pub target: Target,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}

#[derive(StructOpt, Debug)]
pub(crate) struct AddPeer {
    /// Address of the new peer's port for peers, as all others reach it
    #[structopt(short = "p", long = "peer", value_name = "HOST:PORT", parse(try_from_str = peer_address))]
    pub peer: String,
    /// Its Z4_PEER_ID; -id does as well
    #[structopt(long = "id", value_name = "ID")]
    pub id: String,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct SetAddress {
    /// Its Z4_PEER_ID
    #[structopt(value_name = "PEER")]
    pub id: String,
    /// Address of its port for peers, as all others reach it
    #[structopt(value_name = "HOST:PORT", parse(try_from_str = peer_address))]
    pub address: String,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct ReplacePeer {
    /// Z4_PEER_ID of the member that goes
    #[structopt(value_name = "OLD")]
    pub old: String,
    /// Z4_PEER_ID of the peer that comes
    #[structopt(value_name = "NEW")]
    pub new: String,
    /// Address of the new peer's port for peers, as all others reach it
    #[structopt(value_name = "HOST:PORT", parse(try_from_str = peer_address))]
    pub address: String,
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
pub(crate) struct Completions {
    /// The shell
    #[structopt(possible_values = &Shell::variants())]
    pub shell: Shell,
}

/// The address of a peer, by the rule that holds everywhere; its normal form.
fn peer_address(text: &str) -> Result<String, z4_core::address::AddressError> {
    z4_core::address::Address::parse(text).map(|address| address.to_string())
}

/// `host:port`, checked as far as it can be without asking anybody.
pub(crate) fn address(text: &str) -> Result<String, &'static str> {
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
