//! What this peer found at marks of the log, until somebody asks for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::Event;

use crate::limits;
use crate::timer::Timer;

/// What a peer found when it checked its state at a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The index of the mark.
    pub index: u64,
    /// Fingerprint of all rows, the same on every peer.
    pub state_hash: u128,
    /// How many rows there are.
    pub rows: u64,
    /// Invariants that do not hold.
    pub violations: Vec<String>,
}

/// The last verdicts of this peer, by mark. Cheap to clone.
#[derive(Clone, Default)]
pub struct Verdicts(Arc<Shared>);

#[derive(Default)]
struct Shared {
    kept: Mutex<VecDeque<Kept>>,
    /// Wakes those who wait for one.
    put: Event,
}

/// A mark's id, and the verdict on it or why there is none.
type Kept = (u64, Result<Verdict, String>);

impl Verdicts {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state at a mark was checked, or could not be, and why.
    pub fn put(&self, mark_id: u64, verdict: Result<Verdict, String>) {
        let mut kept = self.kept();
        kept.push_back((mark_id, verdict));
        if kept.len() > limits::VERDICTS_MAX {
            kept.pop_front();
        }
        drop(kept);
        self.0.put.notify(usize::MAX);
    }

    fn find(&self, mark_id: u64) -> Option<Result<Verdict, String>> {
        let kept = self.kept();
        let found = kept.iter().find(|(id, _)| *id == mark_id);
        found.map(|(_, verdict)| verdict.clone())
    }

    /// The verdict on a mark, when it is there; `Err`: why there is none.
    pub(crate) async fn wait(
        &self,
        timer: &Timer,
        mark_id: u64,
        limit: Duration,
    ) -> Result<Verdict, String> {
        let found = async {
            loop {
                // One that is put between the look and the wait ends the wait.
                let put = self.0.put.listen();
                if let Some(verdict) = self.find(mark_id) {
                    return verdict;
                }
                put.await;
            }
        };
        let found = timer.within(limit, Box::pin(found)).await;
        found.unwrap_or_else(|| {
            Err(format!(
                "no verdict within {} s; the peer lags, or was started meanwhile",
                limit.as_secs()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verdict(index: u64) -> Verdict {
        Verdict {
            index,
            state_hash: 1,
            rows: 2,
            violations: Vec::new(),
        }
    }

    #[test]
    fn verdicts_are_found_by_mark_and_few_are_kept() {
        let (verdicts, timer) = (Verdicts::default(), Timer::start().unwrap());
        let wait = |id, limit| futures::executor::block_on(verdicts.wait(&timer, id, limit));
        assert!(wait(1, Duration::ZERO).is_err());
        for id in 1..=20 {
            verdicts.put(id, Ok(verdict(id)));
        }
        assert!(wait(4, Duration::ZERO).is_err(), "forgotten");
        assert_eq!(wait(5, Duration::ZERO), Ok(verdict(5)));
        verdicts.put(21, Err("busy".into()));
        assert_eq!(wait(21, Duration::ZERO), Err("busy".into()));
        let later = verdicts.clone();
        let put = std::thread::spawn(move || later.put(22, Ok(verdict(22))));
        assert_eq!(wait(22, Duration::from_secs(60)), Ok(verdict(22)));
        put.join().unwrap();
    }
}
