//! One thread that wakes futures: gRPC has no timers, and a library does not know
//! its caller's executor.
//!
//! The crate `futures-timer` would do it, but it wakes its thread when a time-out is
//! made and again when it is dropped, and each proposal and each event of a consumer
//! has one. Measured with one after the other, a time-out costs 11 µs of processor
//! time there, and less than 1 µs here, where it is an entry in a map.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures::future::{self, Either};

/// Wakes futures at given times. Cheap to clone; the thread ends with the last
/// clone.
#[derive(Clone)]
pub struct Timer {
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

    /// Has `waker` woken at `key`, whose number is 0 when it is new. Gives the key.
    fn wake_at(&self, (at, number): (Instant, u64), waker: Waker) -> (Instant, u64) {
        let mut due = self.lock();
        let key = match number {
            0 => {
                due.seq += 1;
                (at, due.seq)
            }
            _ => (at, number),
        };
        due.wakers.insert(key, waker);
        // A time-out that is dropped again and again must not wake the thread
        // each time: it wakes by itself before this one is due.
        let is_sooner = due.wakes_at.is_none_or(|wakes_at| at < wakes_at);
        drop(due);
        if is_sooner {
            self.changed.notify_one();
        }
        key
    }

    fn forget(&self, key: (Instant, u64)) {
        let waker = self.lock().wakers.remove(&key);
        // What goes with it may use the timer.
        drop(waker);
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
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            due: Mutex::default(),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("z4-timer".into())
            .spawn(move || of_thread.run())?;
        Ok(Self {
            _alive: Arc::new(Alive(Arc::clone(&shared))),
            shared,
        })
    }

    /// Ready after `duration`.
    #[must_use]
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(Instant::now() + duration)
    }

    /// Ready at `at`.
    #[must_use]
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep {
            timer: self.clone(),
            at,
            key: None,
        }
    }

    /// What `future` gives, or `None` when it takes longer than `duration`.
    pub async fn within<F: Future + Unpin>(
        &self,
        duration: Duration,
        future: F,
    ) -> Option<F::Output> {
        match future::select(future, self.sleep(duration)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }

    /// The same for an answer that comes by a callback. `answered` is called once:
    /// with what is handed to the callback that is returned, or at `at` with `None`,
    /// by the thread of the timer, which it must not block.
    pub fn in_time<T: Send + 'static>(
        &self,
        at: Instant,
        answered: impl FnOnce(Option<T>) + Send + 'static,
    ) -> impl FnOnce(T) + Send + 'static {
        let owed = Arc::new(Owed {
            answered: Mutex::new(Some(answered)),
            _answer: PhantomData,
        });
        let late = Waker::from(Arc::clone(&owed));
        let key = self.shared.wake_at((at, 0), late);
        let timer = self.clone();
        move |answer| {
            timer.shared.forget(key);
            owed.answer(Some(answer));
        }
    }
}

/// An answer that is owed to `answered`, and comes once. To wake it is to say that
/// it is late.
struct Owed<T, F> {
    answered: Mutex<Option<F>>,
    _answer: PhantomData<fn(T)>,
}

impl<T, F: FnOnce(Option<T>)> Owed<T, F> {
    fn answer(&self, answer: Option<T>) {
        let mut owed = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = owed.take();
        drop(owed);
        if let Some(answered) = answered {
            answered(answer);
        }
    }
}

impl<T: 'static, F: FnOnce(Option<T>) + Send + 'static> Wake for Owed<T, F> {
    fn wake(self: Arc<Self>) {
        self.answer(None);
    }
}

/// See [`Timer::sleep`].
pub struct Sleep {
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
        let key = self.key.unwrap_or((self.at, 0));
        let key = self.timer.shared.wake_at(key, cx.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.timer.shared.forget(key);
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
        let raced = timer.within(Duration::from_millis(20), long);
        assert!(futures::executor::block_on(raced).is_none());
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(timer.shared.lock().wakers.is_empty());
    }

    #[test]
    fn an_answer_comes_once_in_time_or_not_at_all() {
        let timer = Timer::start().unwrap();
        let (tx, told) = std::sync::mpsc::channel();
        let owed = |at| {
            let tx = tx.clone();
            timer.in_time(at, move |answer| tx.send(answer).unwrap())
        };
        let now = Instant::now();
        let in_time = owed(now + Duration::from_secs(3_600));
        in_time(1);
        assert_eq!(told.recv(), Ok(Some(1)));
        assert!(timer.shared.lock().wakers.is_empty(), "it is forgotten");
        let late = owed(now + Duration::from_millis(20));
        assert_eq!(told.recv(), Ok(None));
        assert!(now.elapsed() >= Duration::from_millis(20));
        late(2);
        drop(owed(now));
        assert_eq!(told.recv(), Ok(None), "nobody answered");
        assert!(told.try_recv().is_err());
    }
}
