//! A soak: half of the load that the cluster can bear, a fault now and then, and an eye
//! on what grows.
//!
//! First the producers work in a closed loop, as fast as tasks are done, which shows
//! the peak of this very cluster on this very machine. Then they keep half of it, and a
//! fault is made every 30 s. Those that end processes or bring crowds come in the first
//! third, every few minutes. The others leave the processes alone, so that each lives long
//! enough for a leak to be seen: its heap first grows to what the worst moments need.
//! Between faults, when the producers have caught up, the peers are looked at and
//! latencies are taken. All of it is one round: its whole history is judged at the end.
//!
//! | file | what |
//! |---|---|
//! | `sample` | looks at processes and disks, takes latencies |
//! | `series` | what is watched, and how much of it may grow |
//! | `slope` | how fast something grows |
//! | `outcome` | the figures, and what they mean |

mod outcome;
mod sample;
mod series;
mod slope;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use z4_e2e::life::work::pace::Pace;
use z4_e2e::life::work::Crew;

use crate::plan::Plan;
use crate::report::seconds;
use crate::run::{Round, Run};
pub use outcome::Outcome;
use series::{Series, Watched};

/// A shorter soak has no time for faults.
pub const LENGTH_MIN: Duration = Duration::from_secs(300);
/// A longer soak has a history that memory may be too small for.
pub const LENGTH_MAX: Duration = Duration::from_secs(180 * 60);
/// How long the peak is looked for; of a short run, a tenth of it.
const PEAK: Duration = Duration::from_secs(60);
/// A fault comes so often.
const FAULT_EVERY: Duration = Duration::from_secs(30);
/// Time without a fault that is left after each, even where it took long.
const QUIET_MIN: Duration = Duration::from_secs(14);
/// Quiet begins so long after a fault, when no producer is further behind than this.
const QUIET_AFTER: Duration = Duration::from_secs(3);
const BEHIND_MAX: Duration = Duration::from_millis(300);
/// How often peers are looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(3);
/// One fault of so many in the first part may end processes, or bring crowds.
const ROUGH_EVERY: usize = 4;
/// The first of so many parts of a run has such faults.
const ROUGH_PART: u32 = 3;
/// Producers of batches.
const PRODUCERS: usize = 6;

/// The faults that end no process.
const GENTLE: [&str; 24] = [
    "pause leader",
    "pause leader for long",
    "pause follower",
    "pause in turn",
    "isolate leader",
    "isolate follower",
    "unplug leader",
    "partial partition",
    "one-way partition",
    "no quorum anywhere",
    "flapping partition",
    "packet loss",
    "delay everywhere",
    "delay one peer",
    "stalled connections",
    "lane blocked",
    "all lanes blocked",
    "cut between peers",
    "cut clients",
    "refused connections",
    "transfer storm",
    "slow disk",
    "pauses under packet loss",
    "transfers under delay",
];
/// The faults that bring a crowd, of whose memory and descriptors peers keep some.
const CROWDS: [&str; 5] = [
    "consumers that never read",
    "descriptors",
    "descriptors everywhere",
    "idle connections",
    "garbage",
];

/// Soaks until `end`, or until something is broken.
pub fn run(run: &mut Run, end: Instant) {
    let pace = Arc::new(Pace::closed(PRODUCERS));
    let crew = Crew {
        producers: 2,
        pause_ms: 20..100,
        consumers: 2,
        leasers: 1,
        of_crate: 1,
        undertakers: 2,
        steady: 4,
        bulk: Some(Arc::clone(&pace)),
    };
    run.round(&crew, |run, round| {
        let soak = Soak {
            start: Instant::now(),
            pace: &pace,
            round,
            series: Series::default(),
            outcome: Outcome::default(),
            generation: 0,
        };
        soak.all(run, end)
    });
}

/// A soak that is under way.
struct Soak<'a> {
    start: Instant,
    pace: &'a Pace,
    round: &'a Round<'a>,
    series: Series,
    outcome: Outcome,
    /// How many crowds there were.
    generation: u32,
}

impl Soak<'_> {
    fn all(mut self, run: &mut Run, end: Instant) -> Result<(), String> {
        self.outcome.peak_per_s = self.peak(end);
        let target = (self.outcome.peak_per_s / 2.0).max(1.0);
        self.outcome.target_per_s = target;
        println!(
            "peak: {:.0} tasks/s; from now on {target:.0}",
            self.outcome.peak_per_s
        );
        self.pace.hold(target as u64);
        let (held, held_ns) = (Instant::now(), self.round.record.now_ns());
        let faults = self.faults(run, end);
        let passed = held.elapsed();
        self.outcome.held_per_s = self.acked_since(held_ns) as f64 / passed.as_secs_f64();
        self.outcome.left_out = self.pace.left_out();
        self.outcome.length = self.start.elapsed();
        let (growth, unknown) = self.series.growth(self.outcome.length);
        self.outcome.growth = growth;
        run.report.violations.extend(self.outcome.broken());
        self.outcome.unknown = unknown;
        run.report.soak = Some(self.outcome);
        faults
    }

    /// Tasks of batches that were done since then. The target is theirs alone, so those of
    /// the other producers do not count.
    fn acked_since(&self, since_ns: u64) -> u64 {
        let clients = self.pace.clients();
        self.round.record.acked_of(&clients, since_ns)
    }

    /// Tasks of batches that are made and done a second in the closed loop. The first third of the
    /// time is not counted.
    fn peak(&self, end: Instant) -> f64 {
        let time = PEAK.min((end - Instant::now()) / 10);
        thread::sleep(time / 3);
        let (start, start_ns) = (Instant::now(), self.round.record.now_ns());
        thread::sleep(time * 2 / 3);
        let passed = start.elapsed();
        self.acked_since(start_ns) as f64 / passed.as_secs_f64()
    }

    fn faults(&mut self, run: &mut Run, end: Instant) -> Result<(), String> {
        let is_gentle = |name: &str| GENTLE.contains(&name);
        let kinds = run.plan.kinds().to_vec();
        let mut gentle = Plan::new(run.plan.number(), kinds.clone());
        gentle.keep(|kind| is_gentle(kind.name));
        let mut rough = Plan::new(run.plan.number(), kinds);
        rough.keep(|kind| !is_gentle(kind.name));
        let rough_until = self.start + (end - self.start) / ROUGH_PART;
        let mut next = Instant::now() + FAULT_EVERY;
        for fault in 1.. {
            self.quiet(run, next.min(end))?;
            if Instant::now() >= end {
                break;
            }
            let is_rough = fault % ROUGH_EVERY == 0 && Instant::now() < rough_until;
            let plan = if is_rough { &mut rough } else { &mut gentle };
            let (kind, rng) = plan.next();
            run.fault(kind, rng, self.round)?;
            self.generation += u32::from(CROWDS.contains(&kind.name));
            next = (next + FAULT_EVERY).max(Instant::now() + QUIET_MIN);
        }
        Ok(())
    }

    /// Looks at the peers until then, and takes latencies once the producers have
    /// caught up.
    fn quiet(&mut self, run: &mut Run, until: Instant) -> Result<(), String> {
        let begin = Instant::now();
        let mut sampled: Option<Instant> = None;
        let mut quiet_ns = None;
        while Instant::now() < until {
            if sampled.is_none_or(|at| at.elapsed() >= SAMPLE_EVERY) {
                sampled = Some(Instant::now());
                run.cluster.look_for_ends();
                if !run.cluster.ends.is_empty() {
                    return Err("the soak ends here".into());
                }
                let at_s = self.start.elapsed().as_secs_f64();
                for peer in run.cluster.peers.iter().filter(|peer| peer.member) {
                    sample::peer(&mut self.series, peer, self.generation, at_s);
                }
            }
            let is_over = begin.elapsed() > QUIET_AFTER && self.pace.behind() < BEHIND_MAX;
            if quiet_ns.is_none() && is_over {
                quiet_ns = Some(self.round.record.now_ns());
                drop(self.pace.take());
            }
            thread::sleep(Duration::from_millis(100));
        }
        let Some(quiet_ns) = quiet_ns else {
            self.outcome.restless += 1;
            return Ok(());
        };
        let at_s = self.start.elapsed().as_secs_f64();
        let creates = self.pace.take();
        let record = self.round.record;
        let memory_mib = self.series.last(Watched::Memory);
        let memory_mib: Vec<String> = memory_mib.iter().map(|mib| format!("{mib:.0}")).collect();
        let is_enough = sample::latency(&mut self.series, record, creates, quiet_ns, at_s);
        self.outcome.restless += u32::from(!is_enough);
        self.outcome.quiet += u32::from(is_enough);
        println!(
            "{:>7} s  {} operations, {} tasks left out, {} open; memory {} MiB",
            seconds(self.start.elapsed()),
            record.count(),
            self.pace.left_out(),
            record.open_tasks(),
            memory_mib.join(", ")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_faults_that_are_named_exist() {
        let all = crate::plan::kinds(&[], &[]).unwrap();
        for name in GENTLE.iter().chain(&CROWDS) {
            assert!(all.iter().any(|kind| kind.name == *name), "{name}");
        }
        assert!(CROWDS.iter().all(|name| !GENTLE.contains(name)));
    }
}
