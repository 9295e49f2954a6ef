//! A run: rounds of faults under load, each judged when its last task has ended.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng;
use z4_check::told::{judge, Told};
use z4_e2e::client::Client;
use z4_e2e::life::end;
use z4_e2e::life::record::Record;
use z4_e2e::life::work::{Crew, Ways, Work};
use z4_e2e::wait;

use crate::cluster::{Cluster, SETTLE_LIMIT};
use crate::fault::{fail_point, Done, Kind, Stage, RECOVERY_LIMIT};
use crate::options::Options;
use crate::plan::{self, Plan};
use crate::report::{seconds, Cost, Report};

/// Places in the network: members and room for more.
const PLACES: usize = 5;
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
    let members = options.peers.unwrap_or(drawn);
    let mut run = Run {
        start: Instant::now(),
        cluster: Cluster::start(folder, members, PLACES, options.lying_disks)?,
        plan,
        report: Report::default(),
    };
    println!("{members} peers, logs in {}", folder.display());
    if !fail_point::are_there(0) {
        println!("the servers are built without fail points: those faults are left out");
        if !run.plan.without(fail_point::KINDS) {
            return Err("no fault is left".into());
        }
    }
    let end = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut round = 0;
    while Instant::now() < end && run.report.violations.is_empty() {
        round += 1;
        run.round(round, end.min(Instant::now() + CALM + ROUND), folder);
    }
    Ok(run.report)
}

struct Run {
    start: Instant,
    cluster: Cluster,
    plan: Plan,
    report: Report,
}

impl Run {
    fn round(&mut self, round: usize, end: Instant, folder: &Path) {
        let namespace = format!("round{round}");
        let record = Record::new(self.start);
        if let Err(why) = self.faults(&namespace, &record, end) {
            self.report.violations.push(why);
        }
        self.report.violations.append(&mut self.cluster.ends);
        let told = std::mem::take(&mut *record.told());
        self.report.count(&told);
        if !self.report.violations.is_empty() {
            let path = folder.join(format!("{namespace}.history"));
            if let Err(why) = fs::write(&path, history(&told)) {
                println!("the history cannot be kept: {why}");
            }
        }
    }

    /// Load, faults, and the end of all tasks. What fails is a breach.
    fn faults(&mut self, namespace: &str, record: &Record, end: Instant) -> Result<(), String> {
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
        let mut work = Work::start(&ways, namespace, record, &Crew::default(), seed);
        thread::sleep(CALM);
        if self.report.calm_rate == 0.0 {
            let now_ns = record.now_ns();
            let since_ns = now_ns.saturating_sub(CALM.as_nanos() as u64 * 3 / 4);
            let count = record.count_between(since_ns, now_ns);
            self.report.calm_rate = count as f64 / (CALM.as_secs_f64() * 0.75);
        }
        while Instant::now() < end {
            self.fault(namespace, record)?;
            let pause = self.plan.number() % 1_500;
            thread::sleep(Duration::from_millis(200 + pause));
        }
        work.calm();
        let (took, counts) = end::drain(&clients, namespace)?;
        self.report.drains.push(took);
        work.finish();
        let hash = end::verify(&clients)?;
        let dead = end::dead(&clients, namespace, record)?;
        let verdict = judge(namespace, &record.told(), &dead, &counts);
        println!(
            "{namespace}: drained in {} s, {} created, {} done, {} dead, {} cancelled, \
             {} purged; {} calls at {} tasks put in order, {} left open; state {hash}; {} broken",
            seconds(took),
            counts.created,
            counts.done,
            counts.dead,
            counts.cancelled,
            counts.purged,
            verdict.ordered_calls,
            verdict.ordered_tasks,
            verdict.gave_up,
            verdict.broken.len()
        );
        self.report.ordered_tasks += verdict.ordered_tasks;
        self.report.ordered_calls += verdict.ordered_calls;
        self.report.gave_up += verdict.gave_up;
        self.report.violations.extend(verdict.broken);
        Ok(())
    }

    fn fault(&mut self, namespace: &str, record: &Record) -> Result<(), String> {
        let (kind, rng) = self.plan.next();
        let mut stage = Stage {
            cluster: &mut self.cluster,
            namespace,
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

/// A line for each operation and delivery, in the order they ended.
fn history(told: &Told) -> String {
    let mut lines: Vec<(u64, String)> = Vec::new();
    lines.extend(told.ops.iter().map(|op| (op.at_ns, format!("{op:?}"))));
    lines.extend(told.handed.iter().map(|h| (h.at_ns, format!("{h:?}"))));
    lines.extend(
        told.closed_streams
            .iter()
            .map(|c| (c.at_ns, format!("{c:?}"))),
    );
    lines.sort();
    let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
    lines.join("\n")
}

/// A seed by chance.
pub fn some_seed() -> u64 {
    // Short enough to be typed.
    rand::thread_rng().gen_range(1..1_000_000_000)
}
