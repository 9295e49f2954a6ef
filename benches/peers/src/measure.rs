//! One work on one running system: prepared, measured, audited.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::inside::Inside;
use crate::load::{Load, Span};
use crate::processes::{own_cpu_time, Machine, Usage};
use crate::servers::Servers;
use crate::system::System;
use crate::work::{Lanes, Life, Work};

/// How long a queue may take to say how many tasks it has.
const COUNT_LIMIT: Duration = Duration::from_secs(5);
/// How long a system may go on working after a work before the next one begins.
const REST_LIMIT: Duration = Duration::from_secs(5);

/// The figures of one measurement.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Tasks a second.
    pub rate: f64,
    /// Latency of an operation that half of all stay below, in milliseconds.
    pub p50_ms: f64,
    /// The latency that 99 of 100 tasks stay below, in milliseconds.
    pub p99_ms: f64,
    /// Processor time of this program for a task, in microseconds.
    pub client_cpu_us: f64,
    /// Processor time of all processes of the system for a task, in microseconds.
    pub server_cpu_us: f64,
    /// Bytes that all processes of the system wrote to disk for a task.
    pub written: f64,
    /// Memory of all processes of the system at the end, in bytes.
    pub memory: f64,
    /// The share of the processors that was spent by anything else: other programs of
    /// this machine, the kernel's own threads, other machines on its host.
    pub others_percent: f64,
    /// Sentences that say what went wrong; none when all went well.
    pub faults: Vec<String>,
}

/// Does `work` for `length`, after `warm_up`.
///
/// # Errors
/// When the system does not even begin, or did nothing at all.
pub async fn measure<S: System>(
    system: &S,
    servers: &mut Servers,
    work: Work,
    (warm_up, length): (Duration, Duration),
    run: u64,
) -> Result<Figures, String> {
    let queue = format!("{}-{run}", work.name);
    system.make_queue(&queue).await?;
    let inside = Rc::new(Inside::new(run));
    let is_whole = work.life == Life::Whole;
    // A work that does not ask for one connection gets as many as suit the system.
    let lanes = match (is_whole || work.is_open(), work.lanes) {
        (true, Lanes::One) => S::LANES,
        (_, lanes) => lanes,
    };
    let creators = system.creators(&queue, lanes).await?;
    let taker = match is_whole {
        true => Some(
            system
                .taker(&queue, work.inside(), Rc::clone(&inside))
                .await?,
        ),
        false => None,
    };

    let begin = Instant::now() + warm_up;
    let end = begin + length;
    let at = RefCell::new(Vec::<(Instant, Duration, Usage, Machine)>::new());
    let load = Load::new(work, creators, Rc::clone(&inside), run);
    let note = || {
        let machine = Machine::read();
        let now = (Instant::now(), own_cpu_time(), servers.usage(), machine);
        at.borrow_mut().push(now);
    };
    let mut outcome = load.run(Span { begin, end }, note).await;
    if let Some(taker) = taker {
        taker.stop().await;
    }
    inside
        .take_errors()
        .into_iter()
        .for_each(|e| outcome.fail(e));

    let expected = match is_whole {
        true => 0,
        false => outcome.acknowledged,
    };
    let found = settled_count(system, &queue, expected).await;
    system.remove_queue(&queue).await?;
    rest(servers).await;
    servers.check()?;

    let mut faults: Vec<String> = Vec::new();
    for (error, count) in &outcome.errors {
        faults.push(format!("{count} times: {error}"));
    }
    if outcome.unended > 0 {
        faults.push(format!("{} operations did not end", outcome.unended));
    }
    if inside.twice() > 0 {
        faults.push(format!("{} tasks were delivered twice", inside.twice()));
    }
    faults.extend(audit(found, expected, outcome.doubtful, is_whole));
    if outcome.done == 0 {
        return Err(format!("nothing was done: {}", faults.join("; ")));
    }

    let at = at.into_inner();
    let [(began, client_before, before, machine_before), (ended, client_after, after, machine)] =
        at[..]
    else {
        return Err("the measured time had no begin or no end".to_owned());
    };
    let used = after - before;
    let client_cpu = client_after.saturating_sub(client_before);
    let tasks = (outcome.done * work.tasks_per_operation() as u64) as f64;
    let ms = |quantile| outcome.latency.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Figures {
        rate: tasks / (ended - began).as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        client_cpu_us: client_cpu.as_secs_f64() * 1e6 / tasks,
        server_cpu_us: used.cpu.as_secs_f64() * 1e6 / tasks,
        written: used.written as f64 / tasks,
        memory: used.memory as f64,
        others_percent: machine.others_percent(machine_before, client_cpu + used.cpu),
        faults,
    })
}

/// How many tasks are there, once it is as many as it should be: systems that count in
/// the background are asked again for a while.
async fn settled_count<S: System>(system: &S, queue: &str, expected: u64) -> Result<u64, String> {
    let limit = Instant::now() + COUNT_LIMIT;
    loop {
        let found = system.count(queue).await;
        if found == Ok(expected) || Instant::now() > limit {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What the number of tasks that are there says against the system. After whole lives
/// none should be.
fn audit(
    found: Result<u64, String>,
    expected: u64,
    doubtful: u64,
    is_whole: bool,
) -> Option<String> {
    let found = match found {
        Err(error) => return Some(format!("its tasks could not be counted: {error}")),
        Ok(found) => found,
    };
    let too_many = found.saturating_sub(expected + doubtful);
    match (too_many, is_whole) {
        (0, _) if found < expected => Some(format!("{} tasks are LOST", expected - found)),
        (0, _) => None,
        (_, true) => Some(format!(
            "{too_many} tasks are there AGAIN that were acknowledged"
        )),
        (_, false) => Some(format!("{too_many} tasks too many are there")),
    }
}

/// Waits until the system has done what the work left it to do.
async fn rest(servers: &Servers) {
    const LOOK: Duration = Duration::from_millis(300);
    let start = Instant::now();
    while start.elapsed() < REST_LIMIT {
        let before = servers.cpu_time();
        tokio::time::sleep(LOOK).await;
        if servers.cpu_time().saturating_sub(before) < LOOK / 10 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_tells_lost_ones_and_those_that_are_too_many() {
        let audit = |found, doubtful, is_whole| audit(found, 5, doubtful, is_whole);
        let says = |fault: Option<String>, what: &str| fault.is_some_and(|f| f.contains(what));
        assert_eq!(audit(Ok(5), 0, false), None);
        assert_eq!(audit(Ok(6), 1, false), None);
        assert!(says(audit(Ok(4), 9, false), "1 tasks are LOST"));
        assert!(says(audit(Ok(8), 1, false), "2 tasks too many"));
        assert!(says(audit(Ok(8), 1, true), "2 tasks are there AGAIN"));
        assert!(audit(Err("why".to_owned()), 0, false).is_some());
    }
}
