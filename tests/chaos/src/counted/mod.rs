//! So many kills, or losses of power, one after the other as fast as the cluster comes
//! back, under load: every promise is judged as in a run of all faults.
//!
//! A strike is at one peer, at some, or at all at once; each peer that it ends counts
//! as one. The next strike comes when the peers have joined again, or, as chance has
//! it, earlier, while they start or catch up.
//!
//! | file | what |
//! |---|---|
//! | `plan` | whom a strike is at, and when the next one comes |
//! | `tally` | what was struck, and how long writes stayed away |

mod plan;
mod tally;

use std::thread;
use std::time::{Duration, Instant};

use z4_e2e::life::work::Crew;
use z4_e2e::wait;

use crate::cluster::SETTLE_LIMIT;
use crate::fault::{Done, RECOVERY_LIMIT};
use crate::report::seconds;
use crate::run::{Round, Run};
use plan::Plan;
pub use tally::Tally;

/// How long faults are made in one round: the end of a round, at which all tasks are
/// waited for, takes some 10 s.
const ROUND: Duration = Duration::from_secs(240);
/// How often a line of figures is printed.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How a peer is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Kill -9.
    Kill,
    /// The power fails: what was not synced is gone.
    PowerLoss,
}

impl Strike {
    /// Its name, of several.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "kills",
            Self::PowerLoss => "power losses",
        }
    }
}

/// Strikes until `count` peers were struck, something is broken, or `end` is reached.
pub fn run(run: &mut Run, strike: Strike, count: u32, end: Instant) {
    run.report.tally = Some(Tally::new(strike, count));
    let crew = Crew {
        producers: 24,
        pause_ms: 2..16,
        ..Crew::default()
    };
    let mut plan = Plan::new(run.plan.number());
    while run.report.violations.is_empty() && left(run) > 0 && Instant::now() < end {
        let end = end.min(Instant::now() + ROUND);
        run.round(&crew, |run, round| strikes(run, &mut plan, round, end));
    }
}

/// How many peers are to be struck yet.
fn left(run: &Run) -> u32 {
    run.report.tally.as_ref().map_or(0, Tally::left)
}

fn strikes(run: &mut Run, plan: &mut Plan, round: &Round<'_>, end: Instant) -> Result<(), String> {
    let (start, operations) = (Instant::now(), round.record.count());
    // Moments at which leaders were struck: what each cost is known later.
    let mut leaders = Vec::new();
    let struck = until(run, plan, round, end, &mut leaders);
    let again = leaders.iter().map(|struck_ns| {
        let again_ns = round.record.first_write_since(*struck_ns)?;
        Some(Duration::from_nanos(again_ns - struck_ns))
    });
    let gaps: Option<Vec<Duration>> = again.collect();
    if let Some(tally) = &mut run.report.tally {
        tally.worked(round.record.count() - operations, start.elapsed());
        tally.gaps(gaps.as_deref().unwrap_or_default());
    }
    struck?;
    match gaps {
        Some(_) => Ok(()),
        None => Err("writes are not acknowledged after a leader was struck".into()),
    }
}

fn until(
    run: &mut Run,
    plan: &mut Plan,
    round: &Round<'_>,
    end: Instant,
    leaders: &mut Vec<u64>,
) -> Result<(), String> {
    let (start, mut line) = (Instant::now(), Instant::now());
    let mut are_well = true;
    while left(run) > 0 && Instant::now() < end {
        let is_early = one(run, plan, round, &mut are_well, leaders)?;
        if is_early {
            thread::sleep(plan.early());
        }
        if line.elapsed() > LINE_EVERY {
            line = Instant::now();
            if let Some(tally) = &run.report.tally {
                println!("{:>7} s  {}", seconds(start.elapsed()), tally.line());
            }
        }
    }
    match are_well {
        true => Ok(()),
        false => come_back(run, round, None),
    }
}

/// Makes one strike; whether the next one is to come before the peers have joined.
fn one(
    run: &mut Run,
    plan: &mut Plan,
    round: &Round<'_>,
    are_well: &mut bool,
    leaders: &mut Vec<u64>,
) -> Result<bool, String> {
    let Some(tally) = &run.report.tally else {
        return Ok(false);
    };
    let strike = tally.strike;
    let seeking = Instant::now();
    let leader = run.cluster.leader()?;
    let sought = seeking.elapsed();
    let members = run.cluster.members();
    let aim = plan.aim(tally.left(), tally.leaders_lack());
    let victims = plan.victims(aim, leader, &members);
    // At one moment, as near as one gets.
    let running: Vec<usize> = victims
        .into_iter()
        .filter(|n| run.cluster.peers[*n].is_running())
        .collect();
    let peers = &mut run.cluster.peers;
    running.iter().for_each(|n| peers[*n].kill_soon());
    let mut lost = Vec::new();
    for n in &running {
        match strike {
            Strike::Kill => peers[*n].kill(),
            Strike::PowerLoss => lost.push(peers[*n].lose_power(plan.chance())),
        }
    }
    let struck_ns = round.record.now_ns();
    thread::sleep(plan.away());
    for n in &running {
        run.cluster.peers[*n].start(false)?;
    }
    let started_ns = round.record.now_ns();
    let is_leader = running.contains(&leader);
    if is_leader {
        leaders.push(struck_ns);
    }
    let left_quorum = *are_well && running.len() * 2 < members.len();
    let is_early = plan.is_early();
    if let Some(tally) = &mut run.report.tally {
        tally.struck(running.len(), members.len(), is_leader, &lost);
        tally.early += u32::from(is_early);
        tally.seeking += sought;
    }
    *are_well = !is_early;
    if is_early {
        run.cluster.look_for_ends();
        return Ok(true);
    }
    let done = match left_quorum {
        true => Done::from_start(struck_ns, None),
        false => Done::from_end(struck_ns, started_ns, None),
    };
    come_back(run, round, Some(&done))?;
    Ok(false)
}

/// Waits until all members have joined and writes are acknowledged again.
fn come_back(run: &mut Run, round: &Round<'_>, done: Option<&Done>) -> Result<(), String> {
    let joining = Instant::now();
    let settled = run.cluster.settle(SETTLE_LIMIT);
    settled.map_err(|why| format!("the cluster does not come back: {why}"))?;
    let joined = joining.elapsed();
    let mark_ns = done.map_or(round.record.now_ns(), |done| done.mark_ns);
    let writing = Instant::now();
    let again_ns = wait::within(RECOVERY_LIMIT, || {
        let first = round.record.first_write_since(mark_ns);
        first.ok_or_else(|| "writes are not acknowledged again".to_owned())
    })?;
    if let Some(tally) = &mut run.report.tally {
        tally.joining += joined;
        tally.writing += writing.elapsed();
    }
    match done.and_then(|done| done.late(again_ns)) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}
