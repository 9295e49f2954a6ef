//! The flags that say what a run is made of, and the command that makes a run again.

use structopt::StructOpt;
use z4_sim::faults::Faults;
use z4_sim::options::{CLIENTS_MAX, CONSUMERS_MAX, PEERS_MAX, SECONDS_MAX};
use z4_sim::{mutants, Options};

/// Stands for every fault.
const ALL: &str = "all";

// Not a comment of the documentation: structopt would take it for that of the command.
// The flags that `run` and `shrink` have in common.
#[derive(StructOpt, Clone, Debug)]
pub struct Shape {
    /// Simulated seconds of work and faults of each seed; the time to settle
    /// comes on top
    #[structopt(long, default_value = "300")]
    seconds: u64,
    /// Ends each seed with the loss of a quorum for good, and recovers what is left
    #[structopt(long)]
    pub lost: bool,
    /// Faults to leave out, with commas between them, or `all`; may be given again
    #[structopt(long, require_delimiter = true)]
    without: Vec<String>,
    /// Has no clock jump by an hour, in seeds whose clocks would
    #[structopt(long)]
    no_hours: bool,
    /// Peers at the beginning, 1 to 7; by the seed unless given
    #[structopt(long)]
    peers: Option<u64>,
    /// Clients that think of requests, 1 to 6
    #[structopt(long, default_value = "6")]
    clients: u64,
    /// Consumers of each namespace, 1 to 5
    #[structopt(long, default_value = "5")]
    consumers: u64,
    /// A mutant to put in; see `z4-sim mutants`
    #[structopt(long)]
    planted: Option<String>,
}

impl Shape {
    /// Returns what makes the run of a seed with these flags.
    ///
    /// # Errors
    /// The flag that is wrong, and what it may be.
    pub fn options(&self) -> Result<impl Fn(u64) -> Options, String> {
        within("--seconds", self.seconds, SECONDS_MAX)?;
        within("--clients", self.clients, CLIENTS_MAX)?;
        within("--consumers", self.consumers, CONSUMERS_MAX)?;
        if let Some(peers) = self.peers {
            within("--peers", peers, PEERS_MAX)?;
        }
        let mut faults = Faults::all();
        for name in &self.without {
            faults = match name.as_str() {
                ALL => Faults::none(),
                name => faults.without(name)?,
            };
        }
        let planted = match &self.planted {
            None => None,
            Some(name) => Some(mutants::find(name)?.name),
        };
        let shape = self.clone();
        Ok(move |seed| {
            let usual = Options::of_seed(seed, shape.seconds);
            Options {
                peers: shape.peers.unwrap_or(usual.peers),
                clients: shape.clients,
                consumers: shape.consumers,
                faults: faults.clone(),
                hours: usual.hours && !shape.no_hours,
                lost: shape.lost,
                planted,
                ..usual
            }
        })
    }
}

fn within(flag: &str, given: u64, most: u64) -> Result<(), String> {
    match (1..=most).contains(&given) {
        true => Ok(()),
        false => Err(format!("{flag} is {given}: give 1 to {most}")),
    }
}

/// The command that makes this run again, and tells all that happens in it. The
/// options are those of a seed, as [`Shape::options`] makes them.
pub fn replay(options: &Options) -> String {
    let (seed, seconds) = (options.seed, options.work_ms / 1_000);
    match options.planted {
        None => format!(
            "make sim SEED={seed} SECONDS={seconds} ARGS='--trace{}'",
            flags(options)
        ),
        // Only such a build has mutants outside of the shell.
        Some(_) => format!(
            "cargo run --locked -p z4-sim --features planted -- run --seed {seed} \
             --seconds {seconds} --trace{}",
            flags(options)
        ),
    }
}

/// The flags by which a run differs from the usual one of its seed and time.
fn flags(options: &Options) -> String {
    let usual = Options::of_seed(options.seed, options.work_ms / 1_000);
    let mut flags = String::new();
    if options.lost {
        flags += " --lost";
    }
    if usual.hours && !options.hours {
        flags += " --no-hours";
    }
    let numbers = [
        ("peers", options.peers, usual.peers),
        ("clients", options.clients, usual.clients),
        ("consumers", options.consumers, usual.consumers),
    ];
    for (name, number, usual) in numbers {
        if number != usual {
            flags += &format!(" --{name} {number}");
        }
    }
    let without: Vec<_> = usual.faults.names().collect();
    let left: Vec<_> = options.faults.names().collect();
    let without: Vec<_> = without.into_iter().filter(|n| !left.contains(n)).collect();
    if left.is_empty() {
        flags += &format!(" --without {ALL}");
    } else if !without.is_empty() {
        flags += &format!(" --without {}", without.join(","));
    }
    if let Some(name) = options.planted {
        flags += &format!(" --planted {name}");
    }
    flags
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let words = std::iter::once("z4-sim").chain(line.split_whitespace());
        let shape = Shape::from_iter_safe(words).map_err(|e| e.to_string())?;
        Ok(shape.options()?(20))
    }

    #[test]
    fn a_run_that_was_shrunk_is_made_again_by_its_flags() {
        let usual = Options::of_seed(20, 12);
        assert!(usual.hours);
        assert_eq!(flags(&usual), "");
        let faults = Faults::all().without("crash").unwrap();
        let shrunk = Options {
            peers: 2,
            clients: 1,
            consumers: 4,
            faults: faults.without("wipe").unwrap(),
            hours: false,
            lost: true,
            planted: Some("ack-before-quorum"),
            ..usual
        };
        let again = parsed(&format!("--seconds 12{}", flags(&shrunk)));
        assert_eq!(again.unwrap(), shrunk);
        assert!(replay(&shrunk).contains("--seed 20 --seconds 12 --trace --lost --no-hours"));
        let unplanted = Options {
            planted: None,
            ..shrunk
        };
        let command = replay(&unplanted);
        assert!(
            command.starts_with("make sim SEED=20 SECONDS=12 ARGS='--trace --lost"),
            "{command}"
        );
        assert!(command.ends_with("--without crash,wipe'"), "{command}");
        let quiet = Options {
            faults: Faults::none(),
            ..unplanted
        };
        assert!(flags(&quiet).ends_with("--without all"));
        let again = parsed(&format!("--seconds 12{}", flags(&quiet)));
        assert_eq!(again.unwrap(), quiet);
        let again = parsed("--without crash --without wipe").unwrap();
        assert_eq!(again.faults, unplanted.faults);
    }

    #[test]
    fn a_flag_that_is_out_of_its_bounds_is_named() {
        for (line, words) in [
            ("--peers 8", "--peers is 8: give 1 to 7"),
            ("--clients 0", "--clients is 0: give 1 to 6"),
            ("--consumers 6", "--consumers is 6: give 1 to 5"),
            ("--seconds 0", "--seconds is 0: give 1 to 1000000"),
            ("--without crash,rain", "there is no fault rain"),
            ("--planted rain", "there is no mutant rain"),
        ] {
            let refused = parsed(line).unwrap_err();
            assert!(refused.starts_with(words), "{line}: {refused}");
        }
    }
}
