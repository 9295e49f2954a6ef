//! The pace of the producers of batches, which the runner sets while they work. First
//! they work in a closed loop, as fast as tasks are done, which shows the peak of a
//! cluster; then they keep a rate, whatever the cluster does: each batch has its time,
//! and what a create took counts from that time on. (Who waits for an answer before the
//! next request measures a cluster that stands still as one slow call: G. Tene's
//! "coordinated omission".)

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tasks of one batch.
pub const BATCH: usize = 50;
/// Tasks that wait or are held at most in the closed loop. Some are due in three
/// seconds, so that fewer would be the limit and not the cluster.
pub const OPEN_MAX: u64 = 10_000;
/// How far behind its times a producer may be: later batches are left out, so that a
/// long fault is not followed by a flood.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// The pace, which producers of batches and the runner share.
#[derive(Debug)]
pub struct Pace {
    producers: u64,
    start: Instant,
    /// Tasks a second of all together; 0: the closed loop.
    rate: AtomicU64,
    /// The time of the next batch of each producer, in nanoseconds since `start`.
    next_ns: Vec<AtomicU64>,
    /// Batches that were left out.
    left_out: AtomicU64,
    took: Mutex<Vec<Duration>>,
    /// The producers, as clients of the record.
    clients: Mutex<Vec<u32>>,
}

/// One batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its time is in so long.
    In(Duration),
    /// Its time was so long ago.
    Late(Duration),
    /// There are no times: the loop is closed.
    AtOnce,
}

impl Pace {
    /// The closed loop of so many producers.
    #[must_use]
    pub fn closed(producers: usize) -> Self {
        Self {
            producers: producers as u64,
            start: Instant::now(),
            rate: AtomicU64::new(0),
            next_ns: (0..producers).map(|_| AtomicU64::new(0)).collect(),
            left_out: AtomicU64::new(0),
            took: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    /// How many producers there are.
    #[must_use]
    pub fn producers(&self) -> usize {
        self.next_ns.len()
    }

    /// From now on so many tasks a second are made by all together, at least one.
    pub fn hold(&self, tasks_per_s: u64) {
        let now_ns = self.now_ns();
        let gap_ns = self.gap_ns(tasks_per_s.max(1));
        for (n, next_ns) in self.next_ns.iter().enumerate() {
            // One after the other, not all at once.
            let shift_ns = gap_ns * n as u64 / self.producers;
            next_ns.store(now_ns + shift_ns, Ordering::Relaxed);
        }
        self.rate.store(tasks_per_s.max(1), Ordering::Relaxed);
    }

    /// The next batch of a producer.
    pub(super) fn turn(&self, producer: usize) -> Turn {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return Turn::AtOnce;
        }
        let (now_ns, gap_ns) = (self.now_ns(), self.gap_ns(rate));
        let mut next_ns = self.next_ns[producer].load(Ordering::Relaxed);
        let behind_max_ns = BEHIND_MAX.as_nanos() as u64;
        let beyond_ns = now_ns.saturating_sub(next_ns + behind_max_ns);
        let left_out = beyond_ns.div_ceil(gap_ns);
        if left_out > 0 {
            next_ns += left_out * gap_ns;
            self.left_out.fetch_add(left_out, Ordering::Relaxed);
            self.next_ns[producer].store(next_ns, Ordering::Relaxed);
        }
        match next_ns.checked_sub(now_ns) {
            Some(wait_ns) if wait_ns > 0 => Turn::In(Duration::from_nanos(wait_ns)),
            _ => {
                self.next_ns[producer].store(next_ns + gap_ns, Ordering::Relaxed);
                Turn::Late(Duration::from_nanos(now_ns - next_ns))
            }
        }
    }

    /// A producer works under this number in the record.
    pub(super) fn joined(&self, client: u32) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.push(client);
    }

    /// The numbers of the producers in the record, of those that have begun.
    #[must_use]
    pub fn clients(&self) -> Vec<u32> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.clone()
    }

    /// A batch was acknowledged so long after its time.
    pub(super) fn took(&self, time: Duration) {
        self.lock().push(time);
    }

    /// The times that batches took which were acknowledged since this was asked last,
    /// from the time that each had.
    #[must_use]
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.lock())
    }

    /// How long ago the time of the oldest batch was that is to be made yet.
    #[must_use]
    pub fn behind(&self) -> Duration {
        let now_ns = self.now_ns();
        let next_ns = self.next_ns.iter().map(|n| n.load(Ordering::Relaxed)).min();
        Duration::from_nanos(now_ns.saturating_sub(next_ns.unwrap_or(now_ns)))
    }

    /// Tasks of the batches that were left out, because a producer was too far behind.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed) * BATCH as u64
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// From one batch of a producer to its next.
    fn gap_ns(&self, tasks_per_s: u64) -> u64 {
        (BATCH as u64 * self.producers * 1_000_000_000 / tasks_per_s).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_pace_gives_each_batch_its_time() {
        let pace = Pace::closed(2);
        assert_eq!(pace.turn(0), Turn::AtOnce);
        // Each of the two makes a batch in 100 s.
        pace.hold(1);
        pace.next_ns[0].store(0, Ordering::Relaxed);
        assert!(matches!(pace.turn(0), Turn::Late(_)));
        let Turn::In(wait) = pace.turn(0) else {
            panic!("the second batch is not due");
        };
        assert!(wait > Duration::from_secs(90) && wait <= Duration::from_secs(100));
        assert_eq!(pace.left_out(), 0);
    }

    #[test]
    fn who_is_far_behind_leaves_batches_out() {
        let mut pace = Pace::closed(1);
        // 100 batches a second.
        pace.hold(100 * BATCH as u64);
        pace.start -= Duration::from_secs(15);
        pace.next_ns[0].store(0, Ordering::Relaxed);
        assert!(pace.behind() >= Duration::from_secs(15));
        let Turn::Late(late) = pace.turn(0) else {
            panic!("the batch is late");
        };
        assert!(late <= BEHIND_MAX && late > BEHIND_MAX - Duration::from_secs(1));
        let batches = pace.left_out() / BATCH as u64;
        assert!((500..600).contains(&batches), "{batches}");
    }
}
