//! One thread that wakes futures: gRPC has no timers, and the caller's executor
//! is not known here.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Wakes futures at given times. Cheap to clone; the thread ends with the last
/// clone.
#[derive(Clone)]
pub(crate) struct Timer {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

struct Shared {
    due: Mutex<Due>,
    changed: Condvar,
}

#[derive(Default)]
struct Due {
    wakers: BTreeMap<(Instant, u64), Waker>,
    seq: u64,
    /// When the thread wakes by itself; `None`: not before it is told.
    wakes_at: Option<Instant>,
    stopped: bool,
}

struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Due> {
        // Holders only insert and remove; a panic between leaves a map whole.
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut due = self.lock();
        while !due.stopped {
            let now = Instant::now();
            let next = due.wakers.first_key_value().map(|((at, _), _)| *at);
            due.wakes_at = next;
            due = match next {
                Some(at) if at <= now => {
                    let later = due.wakers.split_off(&(now, u64::MAX));
                    let ready = std::mem::replace(&mut due.wakers, later);
                    // A waker may take locks of its own.
                    drop(due);
                    ready.into_values().for_each(Waker::wake);
                    self.lock()
                }
                Some(at) => {
                    let waited = self.changed.wait_timeout(due, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(due);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl Timer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            due: Mutex::default(),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("z4-client-timer".into())
            .spawn(move || of_thread.run())?;
        Ok(Self {
            _alive: Arc::new(Alive(Arc::clone(&shared))),
            shared,
        })
    }

    /// Ready after `duration`.
    #[must_use]
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(Instant::now() + duration)
    }

    /// Ready at `at`.
    #[must_use]
    pub(crate) fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep {
            timer: self.clone(),
            at,
            key: None,
        }
    }
}

/// See [`Timer::sleep`].
pub(crate) struct Sleep {
    timer: Timer,
    at: Instant,
    key: Option<(Instant, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let shared = Arc::clone(&self.timer.shared);
        let mut due = shared.lock();
        let key = match self.key {
            Some(key) => key,
            None => {
                due.seq += 1;
                (self.at, due.seq)
            }
        };
        self.key = Some(key);
        due.wakers.insert(key, cx.waker().clone());
        // A time-out that is dropped again and again must not wake the thread
        // each time: it wakes by itself before this one is due.
        let is_sooner = due.wakes_at.is_none_or(|at| key.0 < at);
        drop(due);
        if is_sooner {
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timer.shared.lock().wakers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn sleeps_end_in_order_and_dropped_ones_leave_nothing() {
        let timer = Timer::start().unwrap();
        let start = Instant::now();
        let long = timer.sleep(Duration::from_secs(3_600));
        let short = timer.sleep(Duration::from_millis(20));
        let raced = futures::future::select(long, short);
        let ended = futures::executor::block_on(raced);
        assert!(matches!(&ended, futures::future::Either::Right(_)));
        drop(ended);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(timer.shared.lock().wakers.is_empty());
    }
}
