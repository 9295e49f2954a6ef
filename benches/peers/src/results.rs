//! What all rounds found, and the medians of it.

use crate::measure::Figures;
use crate::turn::Plan;
use crate::work::Work;

/// One work of one round.
pub struct Measured {
    /// The work.
    pub work: Work,
    /// What it gave.
    pub figures: Figures,
}

/// All of one system.
pub struct OfSystem {
    /// Its name.
    pub name: &'static str,
    /// How it was set up.
    pub setup: &'static str,
    /// What it says of its version.
    pub version: String,
    /// What a synced write took before each of its turns, in the middle, in milliseconds.
    pub synced_write_ms: Vec<f64>,
    /// The works of all rounds.
    pub figures: Vec<Measured>,
    /// What went wrong in its works, in all rounds.
    pub faults: Vec<String>,
    /// Why it could not be measured, for each round in which it could not.
    pub left_out: Vec<String>,
}

/// All of all systems.
pub struct Results {
    /// The works, in the order in which they were done.
    pub works: Vec<Work>,
    /// How many rounds there were.
    pub rounds: usize,
    /// For how long each work was measured.
    pub seconds: f64,
    /// The systems, in the order of their turns.
    pub systems: Vec<OfSystem>,
}

/// A figure that the reports show.
pub struct Column {
    /// Its name with its unit.
    pub name: &'static str,
    /// Its name in JSON.
    pub key: &'static str,
    /// Its value.
    pub get: fn(&Figures) -> f64,
}

/// Every figure that the reports show.
pub const COLUMNS: [Column; 8] = [
    Column {
        name: "tasks/s",
        key: "tasks_per_s",
        get: |f| f.rate,
    },
    Column {
        name: "p50 ms",
        key: "p50_ms",
        get: |f| f.p50_ms,
    },
    Column {
        name: "p99 ms",
        key: "p99_ms",
        get: |f| f.p99_ms,
    },
    Column {
        name: "client us/task",
        key: "client_cpu_us_per_task",
        get: |f| f.client_cpu_us,
    },
    Column {
        name: "servers us/task",
        key: "server_cpu_us_per_task",
        get: |f| f.server_cpu_us,
    },
    Column {
        name: "bytes/task",
        key: "written_bytes_per_task",
        get: |f| f.written,
    },
    Column {
        name: "memory MiB",
        key: "memory_mib",
        get: |f| f.memory / 1_048_576.0,
    },
    Column {
        name: "others %",
        key: "other_cpu_percent",
        get: |f| f.others_percent,
    },
];

/// A row of the table of ratios.
pub struct Ratio {
    /// The work and the figure.
    pub name: String,
    /// Whether z4 is ahead when the ratio is above 1.
    pub more_is_better: bool,
    /// For each system but z4, in their order: z4's median divided by its median.
    pub of_peers: Vec<Option<f64>>,
}

impl Results {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &Plan, rounds: usize) -> Self {
        Self {
            works: plan.works.clone(),
            rounds,
            seconds: plan.length.as_secs_f64(),
            systems: Vec::new(),
        }
    }

    /// The results of a system, to be added to.
    pub fn system(&mut self, name: &'static str, setup: &'static str) -> &mut OfSystem {
        let known = self.systems.iter().position(|system| system.name == name);
        let at = known.unwrap_or(self.systems.len());
        if known.is_none() {
            self.systems.push(OfSystem {
                name,
                setup,
                version: String::new(),
                synced_write_ms: Vec::new(),
                figures: Vec::new(),
                faults: Vec::new(),
                left_out: Vec::new(),
            });
        }
        &mut self.systems[at]
    }

    /// Notes that a system could not be measured in a round.
    pub fn left_out(&mut self, name: &'static str, setup: &'static str, why: &str) {
        eprintln!("  {name} is left out: {why}");
        self.system(name, setup).left_out.push(why.to_owned());
    }

    /// The systems beside z4 that were measured.
    pub fn peers(&self) -> impl Iterator<Item = &OfSystem> {
        let measured = |system: &&OfSystem| !system.figures.is_empty();
        self.systems
            .iter()
            .filter(measured)
            .filter(|system| system.name != "z4")
    }

    /// z4's medians divided by those of the others: rates of closed loops, latencies of
    /// open ones.
    #[must_use]
    pub fn ratios(&self) -> Vec<Ratio> {
        let Some(own) = self.systems.iter().find(|system| system.name == "z4") else {
            return Vec::new();
        };
        let mut rows = Vec::new();
        for work in &self.works {
            let columns = match work.is_open() {
                true => &COLUMNS[1..3],
                false => &COLUMNS[..1],
            };
            for column in columns {
                let ratio =
                    |peer: &OfSystem| Some(own.median(work, column)? / peer.median(work, column)?);
                rows.push(Ratio {
                    name: format!("{work} {}", column.name),
                    more_is_better: !work.is_open(),
                    of_peers: self.peers().map(ratio).collect(),
                });
            }
        }
        rows
    }
}

impl OfSystem {
    /// The median of all rounds; `None` when the work was not done.
    #[must_use]
    pub fn median(&self, work: &Work, column: &Column) -> Option<f64> {
        let of_work = self.figures.iter().filter(|m| m.work.name == work.name);
        median(of_work.map(|m| (column.get)(&m.figures)).collect())
    }

    /// What a synced write took before its turns, in milliseconds.
    #[must_use]
    pub fn synced_write(&self) -> Option<f64> {
        median(self.synced_write_ms.clone())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    Some((values.get(low)? + values.get(high)?) / 2.0)
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn figures(rate: f64) -> Figures {
        Figures {
            rate,
            p50_ms: 1e3 / rate,
            p99_ms: 2e3 / rate,
            client_cpu_us: 1.0,
            server_cpu_us: 2.0,
            written: 3.0,
            memory: 1_048_576.0,
            others_percent: 0.0,
            faults: Vec::new(),
        }
    }

    /// z4 and a peer in three rounds, and a system that did not start.
    pub fn results() -> Results {
        let works = vec!["create-1".parse().unwrap(), "open-create".parse().unwrap()];
        let plan = Plan {
            works: works.clone(),
            length: Duration::from_secs(4),
            warm_up: Duration::ZERO,
            folder: None,
        };
        let mut results = Results::new(&plan, 3);
        for (name, rates) in [("z4", [50.0, 10.0, 20.0]), ("nats", [40.0, 80.0, 10.0])] {
            for rate in rates {
                for work in &works {
                    let figures = figures(rate);
                    let measured = Measured {
                        work: *work,
                        figures,
                    };
                    results.system(name, "a <setup>").figures.push(measured);
                }
            }
        }
        results.left_out("etcd", "a setup", "it is not installed");
        results
    }

    #[test]
    fn ratios_are_those_of_the_medians() {
        let ratios = results().ratios();
        let all: Vec<_> = ratios
            .iter()
            .map(|r| (r.name.as_str(), r.of_peers[0]))
            .collect();
        assert_eq!(all[0], ("create-1 tasks/s", Some(0.5)));
        assert_eq!(all[1], ("open-create p50 ms", Some(2.0)));
        assert_eq!(all[2], ("open-create p99 ms", Some(2.0)));
        assert_eq!(all.len(), 3);
    }
}
