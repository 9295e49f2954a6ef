//! Work on the disks of a peer that is stopped: commands behind the flags.

use std::path::PathBuf;

use structopt::clap::AppSettings;
use structopt::StructOpt;

/// What is to be done instead of serving.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Offline {
    /// What is left of a cluster that has lost its quorum for good: inspect, force
    ///
    /// A quorum that comes back loses nothing, and this may lose what was acknowledged. So
    /// first be sure that the others are gone for good.
    #[structopt(setting = AppSettings::SubcommandRequiredElseHelp)]
    Recover(Recover),
    /// Make a new cluster of a backup, with this peer as its only member
    ///
    /// The directories must be empty. The new cluster has an id of its own, leases of the
    /// backup are ended, and its namespaces are paused: what fell due since the backup would
    /// be delivered at once. Tasks that were done after the backup come again.
    Restore(Restore),
}

/// The backup, and how the new cluster begins.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Restore {
    /// The file that z4t backup wrote; - for standard input
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub from: PathBuf,
    /// Leave namespaces as they were, instead of pausing them
    #[structopt(long)]
    pub resume: bool,
}

/// Steps of a recovery.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Recover {
    /// Print what this peer has, as JSON for z4t recover plan
    ///
    /// The peer must be stopped. Its directories are opened as by a start.
    Inspect,
    /// Make this peer the only member of a new cluster, with all that it has
    ///
    /// The peer must be stopped. From then on it belongs to its cluster no more, and no peer
    /// of that one is let in.
    Force(Force),
}

/// The confirmation that is asked for.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Force {
    /// The id of the cluster that has lost its quorum, as inspect prints it
    #[structopt(long, value_name = "CLUSTER_ID")]
    pub confirm: String,
}
