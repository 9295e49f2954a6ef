//! What a run is told.

use std::path::PathBuf;

use structopt::clap::AppSettings;
use structopt::StructOpt;

/// Real faults on a real cluster, with every promise checked.
///
/// Exit codes: 0 passed; 1 a promise was broken; 3 no run can take place here;
/// 4 the run proves nothing; 5 the runner failed; 130 interrupted.
#[derive(StructOpt, Debug, Clone)]
#[structopt(
    name = "z4-chaos",
    global_setting = AppSettings::ColorNever,
    global_setting = AppSettings::UnifiedHelpMessage
)]
pub struct Options {
    /// How long faults are made, in minutes
    #[structopt(long, env = "MINUTES", default_value = "30")]
    pub minutes: f64,

    /// Draws the plan of faults; by chance unless given
    #[structopt(long, env = "SEED")]
    pub seed: Option<u64>,

    /// Faults to draw from, separated by commas, such as "kill leader,packet loss"; all unless given
    #[structopt(long, env = "FAULTS", use_delimiter = true)]
    pub faults: Vec<String>,

    /// Faults to leave out, separated by commas
    #[structopt(long, env = "SKIP", use_delimiter = true)]
    pub skip: Vec<String>,

    /// Voters at the beginning, 3 to 5; drawn unless given
    #[structopt(long, env = "PEERS")]
    pub peers: Option<usize>,

    /// Disks that sync the raft log in name only: a run that does not find a
    /// breach then would not find a missing sync either
    #[structopt(long)]
    pub lying_disks: bool,

    /// Keeps the folder of the run also when all is well
    #[structopt(long)]
    pub keep: bool,

    /// The folder of the run: given by the process outside to the one inside
    #[structopt(long, hidden = true, parse(from_os_str))]
    pub inside: Option<PathBuf>,
}

impl Options {
    /// Checks what the argument library does not.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn check(&self) -> Result<(), String> {
        if !self.minutes.is_finite() || self.minutes <= 0.0 || self.minutes > 10_000.0 {
            return Err("MINUTES: give more than 0, at most 10000".into());
        }
        if self.peers.is_some_and(|count| !(3..=5).contains(&count)) {
            return Err("PEERS: give 3, 4 or 5".into());
        }
        crate::plan::kinds(&self.faults, &self.skip).map(|_| ())
    }
}
