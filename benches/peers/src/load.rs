//! Keeps a system busy: a closed loop, or an open one, and what came of it.
//!
//! Latency in an open loop counts from the time that was set for the start, and not
//! from when this program got round to it: a system that stalls delays all that was to
//! start meanwhile, and that is measured (coordinated omission).

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::StreamExt;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use crate::inside::{body, Inside};
use crate::system::Creator;
use crate::work::{Life, Pace, Work, BATCH};

/// How long the last ones are waited for.
const GRACE: Duration = Duration::from_secs(10);
/// The longest latency that is told from longer ones.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// The result of a load.
pub struct Outcome {
    /// Operations that were done within the measured time.
    pub done: u64,
    /// Tasks whose create was acknowledged, before and after that time too.
    pub acknowledged: u64,
    /// Tasks that were sent and not acknowledged: nobody knows whether they are there.
    pub doubtful: u64,
    /// Operations that were refused or broke off, with how often.
    pub errors: Vec<(String, u64)>,
    /// Operations that had not ended long after the last start.
    pub unended: u64,
    /// The latencies of the measured time, in nanoseconds.
    pub latency: Histogram<u64>,
}

/// When the measured time begins and ends.
#[derive(Clone, Copy)]
pub struct Span {
    /// The start of what counts.
    pub begin: Instant,
    /// Its end, and that of all starts.
    pub end: Instant,
}

impl Span {
    fn has(&self, at: Instant) -> bool {
        (self.begin..self.end).contains(&at)
    }
}

type Ended = (usize, Instant, Result<(), String>);

/// A load on a queue.
pub struct Load {
    /// The operations to do.
    pub work: Work,
    /// The lanes, used in turn.
    pub creators: Vec<Rc<dyn Creator>>,
    /// The tasks inside, when consumers work.
    pub inside: Rc<Inside>,
    /// The number of the run, in every body.
    pub run: u64,
    next_id: u64,
}

impl Load {
    /// A load that has not begun.
    #[must_use]
    pub fn new(work: Work, creators: Vec<Rc<dyn Creator>>, inside: Rc<Inside>, run: u64) -> Self {
        Self {
            work,
            creators,
            inside,
            run,
            next_id: 0,
        }
    }

    /// Starts one operation on a lane.
    fn start(&mut self, slot: usize, intended: Instant) -> LocalBoxFuture<'static, Ended> {
        let creator = &self.creators[slot % self.creators.len()];
        let first = self.next_id;
        self.next_id += self.work.tasks_per_operation() as u64;
        match self.work.life {
            Life::Created => {
                let answer = creator.create(body(self.run, first));
                Box::pin(async move { (slot, intended, answer.await) })
            }
            Life::Batches => {
                let bodies = (0..BATCH as u64).map(|n| body(self.run, first + n));
                let answer = creator.create_batch(bodies.collect());
                Box::pin(async move {
                    let answer = match answer {
                        Some(answer) => answer.await,
                        None => Err("the protocol has no batches".to_owned()),
                    };
                    (slot, intended, answer)
                })
            }
            Life::Whole => {
                let ended = self.inside.enter(first);
                let answer = creator.create(body(self.run, first));
                Box::pin(async move {
                    let answer = match answer.await {
                        Ok(()) => ended.await.map_err(|_| "given up".to_owned()),
                        Err(error) => Err(error),
                    };
                    (slot, intended, answer)
                })
            }
        }
    }

    /// Runs to the end of the span; `boundary` is called when the measured time begins
    /// and when it ends.
    pub async fn run(mut self, span: Span, mut boundary: impl FnMut()) -> Outcome {
        let mut outcome = Outcome::new();
        let mut flying = FuturesUnordered::new();
        let mut starts = None;
        match self.work.pace {
            Pace::Closed(inside) => {
                for slot in 0..inside {
                    flying.push(self.start(slot, Instant::now()));
                }
            }
            Pace::Open(rate) => starts = Some(clock(rate, span.end)),
        }
        let mut slot = 0_usize;
        let mut next = span.begin;
        let mut bell = std::pin::pin!(tokio::time::sleep_until(next.into()));
        loop {
            tokio::select! {
                () = &mut bell => {
                    boundary();
                    if next == span.end {
                        break;
                    }
                    next = span.end;
                    bell.as_mut().reset(next.into());
                }
                Some(intended) = recv(&mut starts) => {
                    slot += 1;
                    flying.push(self.start(slot, intended));
                }
                Some(ended) = flying.next() => {
                    let (slot, ok) = (ended.0, ended.2.is_ok());
                    outcome.add(&self.work, span, Instant::now(), ended);
                    if !self.work.is_open() {
                        if !ok {
                            // A system that refuses is not hammered.
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        flying.push(self.start(slot, Instant::now()));
                    }
                }
            }
        }
        // Starts that were set and that this program was late for.
        if let Some(mut starts) = starts {
            while let Some(intended) = starts.recv().await {
                flying.push(self.start(slot, intended));
            }
        }
        let limit = tokio::time::sleep(GRACE);
        let mut limit = std::pin::pin!(limit);
        while !flying.is_empty() {
            tokio::select! {
                Some(ended) = flying.next() => {
                    outcome.add(&self.work, span, Instant::now(), ended);
                }
                () = &mut limit => break,
            }
        }
        outcome.unended = flying.len() as u64;
        outcome.doubtful += outcome.unended * self.work.tasks_per_operation() as u64;
        outcome
    }
}

impl Outcome {
    fn new() -> Self {
        let latency = Histogram::new_with_max(LATENCY_NS_MAX, 3);
        Self {
            done: 0,
            acknowledged: 0,
            doubtful: 0,
            errors: Vec::new(),
            unended: 0,
            // The bounds are constants that fit.
            latency: latency.unwrap_or_else(|e| unreachable!("{e}")),
        }
    }

    fn add(&mut self, work: &Work, span: Span, now: Instant, (_, intended, answer): Ended) {
        let tasks = work.tasks_per_operation() as u64;
        if let Err(error) = answer {
            self.doubtful += tasks;
            self.fail(error);
            return;
        }
        self.acknowledged += tasks;
        if span.has(now) {
            self.done += 1;
        }
        let counts = match work.is_open() {
            true => span.has(intended),
            false => span.has(now),
        };
        if counts {
            let ns = now.saturating_duration_since(intended).as_nanos();
            let ns = u64::try_from(ns).unwrap_or(LATENCY_NS_MAX);
            self.latency.saturating_record(ns);
        }
    }

    /// Notes an error.
    pub fn fail(&mut self, error: String) {
        match self.errors.iter_mut().find(|(known, _)| *known == error) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((error, 1)),
        }
    }
}

/// The times that are set for starts, each sent when it has come. A thread of its own
/// sleeps for them, because the runtime's timer is coarser than the latencies here.
fn clock(rate: f64, end: Instant) -> mpsc::UnboundedReceiver<Instant> {
    let (tell, told) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let begin = Instant::now();
        for n in 0_u32.. {
            let intended = begin + Duration::from_secs_f64(f64::from(n) / rate);
            if intended >= end {
                return;
            }
            thread::sleep(intended.saturating_duration_since(Instant::now()));
            if tell.send(intended).is_err() {
                return;
            }
        }
    });
    told
}

async fn recv(starts: &mut Option<mpsc::UnboundedReceiver<Instant>>) -> Option<Instant> {
    match starts {
        Some(starts) => starts.recv().await,
        None => None,
    }
}
