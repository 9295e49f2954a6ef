//! A run: rounds of faults under load, each judged when its last task has ended.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::Rng;
use z4_check::told::{judge, Told};
use z4_e2e::client::Client;
use z4_e2e::life::end;
use z4_e2e::life::record::Record;
use z4_e2e::life::work::{Crew, Ways, Work};
use z4_e2e::wait;

use crate::cluster::{Cluster, SETTLE_LIMIT};
use crate::fault::{fail_point, Done, Kind, Stage, RECOVERY_LIMIT};
use crate::options::{Course, Options};
use crate::plan::{self, Plan};
use crate::report::{seconds, Cost, Report};
use crate::{counted, soak};

/// Places in the network: members and room for more.
const PLACES: usize = 5;
/// Members of a run that counts or soaks: more of them only share the processors.
const FEW: usize = 3;
/// Load without faults at the beginning of each round.
const CALM: Duration = Duration::from_secs(4);
/// How long faults are made in one round.
const ROUND: Duration = Duration::from_secs(75);

/// Runs until its time is over, or something is broken; the figures.
///
/// # Errors
/// What the runner failed at before there was anything to judge.
pub fn run(options: &Options, seed: u64, folder: &Path) -> Result<Report, String> {
    let mut plan = Plan::new(seed, plan::kinds(&options.faults, &options.skip)?);
    let drawn = if plan.number().is_multiple_of(3) {
        5
    } else {
        3
    };
    let members = options.peers.unwrap_or(match options.course() {
        Course::Drawn => drawn,
        Course::Counted(..) | Course::Soak => FEW,
    });
    let mut run = Run {
        start: Instant::now(),
        cluster: Cluster::start(folder, members, PLACES, options.lying_disks)?,
        plan,
        report: Report::default(),
        folder: folder.to_owned(),
        rounds: 0,
    };
    println!("{members} peers, logs in {}", folder.display());
    if !fail_point::are_there(0) {
        println!("the servers are built without fail points: those faults are left out");
        if !run.plan.without(fail_point::KINDS) {
            return Err("no fault is left".into());
        }
    }
    let end = Instant::now() + options.length();
    match options.course() {
        Course::Drawn => run.drawn(end),
        Course::Counted(strike, count) => counted::run(&mut run, strike, count, end),
        Course::Soak => soak::run(&mut run, end),
    }
    Ok(run.report)
}

/// A run that is under way.
pub struct Run {
    start: Instant,
    /// The peers.
    pub cluster: Cluster,
    /// The faults that are drawn.
    pub plan: Plan,
    /// The figures.
    pub report: Report,
    folder: PathBuf,
    rounds: usize,
}

/// A round that is under way.
pub struct Round<'a> {
    /// Where its tasks are.
    pub namespace: &'a str,
    /// The record of what its clients are told.
    pub record: &'a Record,
}

impl Run {
    /// Faults of all kinds, one after the other, in rounds.
    fn drawn(&mut self, end: Instant) {
        while Instant::now() < end && self.report.violations.is_empty() {
            let end = end.min(Instant::now() + CALM + ROUND);
            self.round(&Crew::default(), |run, round| {
                while Instant::now() < end {
                    let (kind, rng) = run.plan.next();
                    run.fault(kind, rng, round)?;
                    let pause = run.plan.number() % 1_500;
                    thread::sleep(Duration::from_millis(200 + pause));
                }
                Ok(())
            });
        }
    }

    /// A round: this crew at work, `during` meanwhile, the end of all tasks, and the
    /// judge. What fails is a breach.
    pub fn round(
        &mut self,
        crew: &Crew,
        during: impl FnOnce(&mut Self, &Round<'_>) -> Result<(), String>,
    ) {
        self.rounds += 1;
        let namespace = format!("round{}", self.rounds);
        let record = Record::new(self.start);
        let round = Round {
            namespace: &namespace,
            record: &record,
        };
        if let Err(why) = self.worked(&round, crew, during) {
            self.report.violations.push(why);
        }
        self.report.violations.append(&mut self.cluster.ends);
        let told = record.told();
        self.report.count(&told);
        if !self.report.violations.is_empty() {
            let path = self.folder.join(format!("{namespace}.history"));
            if let Err(why) = keep(&told, &path) {
                println!("the history cannot be kept: {why}");
            }
        }
    }

    fn worked(
        &mut self,
        round: &Round<'_>,
        crew: &Crew,
        during: impl FnOnce(&mut Self, &Round<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Round { namespace, record } = *round;
        let cluster = &self.cluster;
        let clients: Vec<Client> = cluster.peers.iter().map(|p| p.client().clone()).collect();
        let risky = (0..cluster.net.places()).map(|n| Client::new(&cluster.net.client_way(n).1));
        let ways = Ways {
            clients: clients.clone(),
            risky: risky.collect(),
            members: cluster.known.clone(),
        };
        end::furnish(&clients, namespace)?;
        let seed = self.plan.number();
        let mut work = Work::start(&ways, namespace, record, crew, seed);
        thread::sleep(CALM);
        if self.report.calm_rate == 0.0 {
            let now_ns = record.now_ns();
            let since_ns = now_ns.saturating_sub(CALM.as_nanos() as u64 * 3 / 4);
            let count = record.count_between(since_ns, now_ns);
            self.report.calm_rate = count as f64 / (CALM.as_secs_f64() * 0.75);
        }
        during(self, round)?;
        work.calm();
        let (took, counts) = end::drain(&clients, namespace)?;
        self.report.drains.push(took);
        work.finish();
        let hash = end::verify(&clients)?;
        let dead = end::dead(&clients, namespace, record)?;
        let start = Instant::now();
        let verdict = judge(namespace, &record.told(), &dead, &counts);
        println!(
            "{namespace}: drained in {} s, {} created, {} done, {} dead, {} cancelled, \
             {} purged; {} calls at {} tasks put in order, {} left open; state {hash}; \
             {} operations judged in {} s; {} broken",
            seconds(took),
            counts.created,
            counts.done,
            counts.dead,
            counts.cancelled,
            counts.purged,
            verdict.ordered_calls,
            verdict.ordered_tasks,
            verdict.gave_up,
            verdict.judged,
            seconds(start.elapsed()),
            verdict.broken.len()
        );
        self.report.judged += verdict.judged;
        self.report.ordered_tasks += verdict.ordered_tasks;
        self.report.ordered_calls += verdict.ordered_calls;
        self.report.gave_up += verdict.gave_up;
        self.report.violations.extend(verdict.broken);
        Ok(())
    }

    /// Makes one fault, and waits until all is well again.
    ///
    /// # Errors
    /// The thing that did not come back, or not in time.
    pub fn fault(&mut self, kind: Kind, rng: StdRng, round: &Round<'_>) -> Result<(), String> {
        let record = round.record;
        let mut stage = Stage {
            cluster: &mut self.cluster,
            namespace: round.namespace,
            record,
            rng,
        };
        let named = |why: String| format!("{}: {why}", kind.name);
        let done = (kind.run)(&mut stage).map_err(named)?;
        self.cluster.heal().map_err(named)?;
        let settled = self.cluster.settle(SETTLE_LIMIT);
        settled.map_err(|why| format!("{}: the cluster does not come back: {why}", kind.name))?;
        let again = wait::within(RECOVERY_LIMIT, || {
            let first = record.first_write_since(done.mark_ns);
            first.ok_or_else(|| format!("{}: writes are not acknowledged again", kind.name))
        })?;
        self.note(kind, record, &done, again);
        match done.late(again) {
            Some(why) => Err(named(why)),
            None => Ok(()),
        }
    }

    fn note(&mut self, kind: Kind, record: &Record, done: &Done, again_ns: u64) {
        let gap_ns = record.longest_gap(done.from_ns, again_ns.max(record.now_ns()));
        let cost = Cost {
            recovery: Duration::from_nanos(again_ns.saturating_sub(done.mark_ns)),
            gap: Duration::from_nanos(gap_ns),
        };
        self.report.fault(kind.name, cost);
        let seen = match &done.seen {
            Some(seen) => seen.clone(),
            None => {
                self.report.unseen.push(kind.name);
                "NOT SEEN TO ACT".to_owned()
            }
        };
        println!(
            "{:>7} s  {}: {seen}; writes after {} s, longest gap {} s",
            seconds(Duration::from_nanos(done.from_ns)),
            kind.name,
            seconds(cost.recovery),
            seconds(cost.gap)
        );
    }
}

/// Writes a line for each operation and delivery, in the order they ended. There may
/// be millions: the lines are made one by one.
fn keep(told: &Told, path: &Path) -> io::Result<()> {
    enum Line<'a> {
        Op(&'a z4_check::told::Op),
        Handed(&'a z4_check::told::Handed),
        Closed(&'a z4_check::told::Closed),
    }
    let mut lines: Vec<(u64, Line<'_>)> = Vec::new();
    lines.extend(told.ops.iter().map(|op| (op.at_ns, Line::Op(op))));
    lines.extend(told.handed.iter().map(|h| (h.at_ns, Line::Handed(h))));
    let closed = told.closed_streams.iter();
    lines.extend(closed.map(|c| (c.at_ns, Line::Closed(c))));
    lines.sort_by_key(|(at_ns, _)| *at_ns);
    let mut file = BufWriter::new(File::create(path)?);
    for (_, line) in lines {
        match line {
            Line::Op(op) => writeln!(file, "{op:?}")?,
            Line::Handed(handed) => writeln!(file, "{handed:?}")?,
            Line::Closed(closed) => writeln!(file, "{closed:?}")?,
        }
    }
    file.flush()
}

/// A seed by chance.
pub fn some_seed() -> u64 {
    // Short enough to be typed.
    rand::thread_rng().gen_range(1..1_000_000_000)
}
