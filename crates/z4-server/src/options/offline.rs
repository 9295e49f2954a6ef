//! Work on the disks of a peer that is stopped: commands behind the flags.

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

/// How sure one is.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Force {
    /// The id of the cluster that has lost its quorum, as inspect prints it
    #[structopt(long, value_name = "CLUSTER_ID")]
    pub confirm: String,
}
