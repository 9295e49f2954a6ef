//! What a run is told.

use std::path::PathBuf;
use std::time::Duration;

use structopt::clap::AppSettings;
use structopt::StructOpt;

use crate::counted::Strike;
use crate::soak;

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
    /// How long faults are made, in minutes: 30 unless given, of a soak 60
    #[structopt(long, env = "MINUTES")]
    pub minutes: Option<f64>,

    /// Draws the plan of faults; by chance unless given
    #[structopt(long, env = "SEED")]
    pub seed: Option<u64>,

    /// Faults to draw from, separated by commas, such as "kill leader,packet loss"; all unless given
    #[structopt(long, env = "FAULTS", use_delimiter = true)]
    pub faults: Vec<String>,

    /// Faults to leave out, separated by commas
    #[structopt(long, env = "SKIP", use_delimiter = true)]
    pub skip: Vec<String>,

    /// Voters at the beginning, 3 to 5; drawn unless given, and 3 in runs that count
    /// or soak
    #[structopt(long, env = "PEERS")]
    pub peers: Option<usize>,

    /// Kills so many peers with kill -9, one after the other as fast as the cluster
    /// comes back, and ends then: MINUTES and FAULTS mean nothing
    #[structopt(long, conflicts_with_all = &["power-losses", "soak"])]
    pub kills: Option<u32>,

    /// Takes the power from so many peers, in the same way
    #[structopt(long, conflicts_with = "soak")]
    pub power_losses: Option<u32>,

    /// Half of the load that the cluster can bear, a fault every 30 s, and an eye on
    /// what grows: memory, descriptors, threads, disk, latency. Limits for it are held
    /// from 30 minutes on
    #[structopt(long)]
    pub soak: bool,

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

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// One fault of all kinds after another, for a time.
    Drawn,
    /// So many faults of one kind, one after the other.
    Counted(Strike, u32),
    /// Half of the peak, and a fault now and then.
    Soak,
}

/// Strikes at most: the lists of what each cost are kept in memory.
const STRIKES_MAX: u32 = 100_000;
/// Time for one strike, on average. A count that takes longer is ended.
const STRIKE_LIMIT: Duration = Duration::from_secs(4);
/// Time for all of them at least.
const STRIKES_LIMIT_MIN: Duration = Duration::from_secs(300);

impl Options {
    /// The kind of run.
    pub fn course(&self) -> Course {
        match (self.kills, self.power_losses) {
            (Some(count), _) => Course::Counted(Strike::Kill, count),
            (_, Some(count)) => Course::Counted(Strike::PowerLoss, count),
            _ if self.soak => Course::Soak,
            _ => Course::Drawn,
        }
    }

    /// How long faults are made; of a counted run, at most.
    pub fn length(&self) -> Duration {
        let minutes = |default| Duration::from_secs_f64(self.minutes.unwrap_or(default) * 60.0);
        match self.course() {
            Course::Drawn => minutes(30.0),
            Course::Counted(_, count) => STRIKES_LIMIT_MIN.max(STRIKE_LIMIT * count),
            Course::Soak => minutes(60.0),
        }
    }

    /// The arguments that make the same run with this seed.
    pub fn arguments(&self, seed: u64) -> Vec<String> {
        let mut arguments = vec![format!("--seed={seed}")];
        arguments.extend(self.minutes.map(|minutes| format!("--minutes={minutes}")));
        arguments.extend(self.faults.iter().map(|name| format!("--faults={name}")));
        arguments.extend(self.skip.iter().map(|name| format!("--skip={name}")));
        arguments.extend(self.peers.map(|count| format!("--peers={count}")));
        arguments.extend(self.kills.map(|count| format!("--kills={count}")));
        arguments.extend(self.power_losses.map(|n| format!("--power-losses={n}")));
        let switches = [(self.soak, "--soak"), (self.lying_disks, "--lying-disks")];
        let on = switches.iter().filter(|(is_on, _)| *is_on);
        arguments.extend(on.map(|(_, name)| (*name).to_owned()));
        arguments
    }

    /// Checks what the argument library does not.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn check(&self) -> Result<(), String> {
        let is_odd = |minutes: f64| !minutes.is_finite() || minutes <= 0.0 || minutes > 10_000.0;
        if self.minutes.is_some_and(is_odd) {
            return Err("MINUTES: give more than 0, at most 10000".into());
        }
        if let Course::Counted(_, count) = self.course() {
            if !(1..=STRIKES_MAX).contains(&count) {
                return Err(format!("--kills, --power-losses: give 1 to {STRIKES_MAX}"));
            }
        }
        if self.soak && self.length() > soak::LENGTH_MAX {
            return Err(format!(
                "MINUTES: a soak takes {} at most, for its whole history is held in memory and \
                 judged at its end; run several, one after the other",
                soak::LENGTH_MAX.as_secs() / 60
            ));
        }
        if self.soak && self.length() < soak::LENGTH_MIN {
            return Err(format!(
                "MINUTES: a soak takes {} at least, or no slope is to be seen",
                soak::LENGTH_MIN.as_secs() / 60
            ));
        }
        if self.peers.is_some_and(|count| !(3..=5).contains(&count)) {
            return Err("PEERS: give 3, 4 or 5".into());
        }
        crate::plan::kinds(&self.faults, &self.skip).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_soak_is_neither_too_short_nor_too_long() {
        let of = |minutes: &str, more: &[&str]| {
            let arguments = ["z4-chaos", "--minutes", minutes];
            let all = arguments.iter().chain(more);
            Options::from_iter_safe(all).map_or_else(|e| Err(e.message), |told| told.check())
        };
        assert_eq!(of("180", &["--soak"]), Ok(()));
        let long = of("180.1", &["--soak"]).err().unwrap_or_default();
        assert!(
            long.starts_with("MINUTES: a soak takes 180 at most"),
            "{long}"
        );
        assert_eq!(of("180.1", &[]), Ok(()));
        assert!(of("4.9", &["--soak"]).is_err());
        assert_eq!(of("5", &["--soak"]), Ok(()));
    }
}
