//! Makes a run that fails smaller while it fails in the same kind of words: a shorter
//! one, with fewer peers, clients and consumers, without faults that it does not need.
//!
//! A run that is made smaller is another run from the first draw on that differs. So
//! each candidate is run, and is kept only when it fails; nothing is inferred. Two
//! changes leave all before the failure as it was: time behind the failure, and faults
//! that are left out and had not acted (`faults/mod.rs`). They shrink what hardly ever
//! fails; the others need a failure that several runs show.

use std::time::{Duration, Instant};

use crate::failure::{at_ms, is_alike};
use crate::options::Options;

/// Bounds on shrinking. The run that is under way when the time is over
/// comes to its end.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Most runs.
    pub runs: u32,
    /// Longest time.
    pub time: Duration,
}

/// A run that fails, and what it took to find it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest run that was found.
    pub options: Options,
    /// How it fails.
    pub failure: String,
    /// Runs that were made.
    pub runs: u32,
    /// True when the budget was spent, so that a smaller run may be left to be found.
    pub is_cut_short: bool,
}

/// Makes the run of `options`, which fails with `failure`, smaller. `fails` makes a
/// run and returns its failure, if it has one. Without a smaller run that fails
/// alike, the one that was given comes back.
#[must_use]
pub fn shrink(
    options: &Options,
    failure: &str,
    budget: Budget,
    fails: impl FnMut(&Options) -> Option<String>,
) -> Shrunk {
    let mut search = Search {
        best: options.clone(),
        failure: failure.to_owned(),
        tried: Vec::new(),
        budget,
        began: Instant::now(),
        fails,
    };
    loop {
        let before = search.best.clone();
        search.pass();
        if search.best == before || search.is_spent() {
            break;
        }
    }
    Shrunk {
        runs: search.runs(),
        is_cut_short: search.is_spent(),
        options: search.best,
        failure: search.failure,
    }
}

struct Search<F> {
    /// The smallest run that fails so far, and how.
    best: Options,
    failure: String,
    /// One run of some options says all about them.
    tried: Vec<Options>,
    budget: Budget,
    began: Instant,
    fails: F,
}

impl<F: FnMut(&Options) -> Option<String>> Search<F> {
    fn pass(&mut self) {
        // Time first: all other candidates take the less.
        if let Some(at_ms) = at_ms(&self.failure) {
            let seconds = at_ms / 1_000 + 1;
            if seconds * 1_000 < self.best.work_ms {
                self.keeps(|options| options.work_ms = seconds * 1_000);
            }
        }
        self.least(self.best.work_ms / 1_000, |options, seconds| {
            options.work_ms = seconds * 1_000;
        });
        self.keeps(|options| options.hours = false);
        self.least(self.best.peers, |options, peers| options.peers = peers);
        self.least(self.best.clients, |options, clients| {
            options.clients = clients;
        });
        self.least(self.best.consumers, |options, consumers| {
            options.consumers = consumers;
        });
        self.leave_out();
    }

    /// Leaves out all faults, then halves of those that are left, and at last one kind
    /// at a time.
    fn leave_out(&mut self) {
        let mut size = self.best.faults.names().count();
        while size > 0 {
            let names: Vec<_> = self.best.faults.names().collect();
            for some in names.chunks(size) {
                self.keeps(|options| some.iter().for_each(|name| options.faults.remove(name)));
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Looks for the least number with which the run fails, by halves, up to a tenth of
    /// it: `whole` is the number now.
    fn least(&mut self, whole: u64, set: impl Fn(&mut Options, u64)) {
        let (mut enough, mut too_few) = (whole, 0);
        while enough - too_few > (enough / 10).max(1) {
            let middle = too_few + (enough - too_few) / 2;
            match self.keeps(|options| set(options, middle)) {
                true => enough = middle,
                false => too_few = middle,
            }
        }
    }

    /// Runs the best one with a change, and keeps the change if that fails alike.
    fn keeps(&mut self, change: impl FnOnce(&mut Options)) -> bool {
        let mut options = self.best.clone();
        change(&mut options);
        if options == self.best || self.tried.contains(&options) || self.is_spent() {
            return false;
        }
        let failure = (self.fails)(&options);
        self.tried.push(options.clone());
        match failure.filter(|failure| is_alike(failure, &self.failure)) {
            Some(failure) => {
                (self.best, self.failure) = (options, failure);
                true
            }
            None => false,
        }
    }

    fn runs(&self) -> u32 {
        self.tried.len() as u32
    }

    fn is_spent(&self) -> bool {
        self.runs() >= self.budget.runs || self.began.elapsed() >= self.budget.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, Faults};

    const PLENTY: Budget = Budget {
        runs: 1_000,
        time: Duration::from_secs(60),
    };

    /// A failure of a run of so many seconds that comes after so many milliseconds.
    fn lost(at_ms: u64) -> String {
        format!("at {at_ms} ms: promise 1: task {at_ms} is lost")
    }

    fn only(faults: &[&str]) -> Faults {
        let mut all = Faults::all();
        for (_, name) in Fault::ALL {
            if !faults.contains(&name) {
                all.remove(name);
            }
        }
        all
    }

    #[test]
    fn what_a_failure_does_not_need_goes_and_nothing_runs_twice() {
        let whole = Options::of_seed(60, 300);
        assert!(whole.hours && whole.peers == 3);
        let mut seen = Vec::new();
        let fails = |options: &Options| {
            assert!(!seen.contains(options), "twice: {options:?}");
            seen.push(options.clone());
            let needs = [Fault::Crash, Fault::Wipe].map(|fault| options.faults.has(fault));
            let is_enough = options.work_ms >= 47_000
                && options.peers >= 2
                && options.clients >= 3
                && options.consumers >= 4;
            (is_enough && needs == [true, true]).then(|| lost(46_500))
        };
        let shrunk = shrink(&whole, &lost(280_000), PLENTY, fails);
        let least = Options {
            work_ms: 47_000,
            peers: 2,
            clients: 3,
            consumers: 4,
            hours: false,
            faults: only(&["crash", "wipe"]),
            ..whole
        };
        assert_eq!(shrunk.options, least);
        assert_eq!(shrunk.failure, lost(46_500));
        assert_eq!(
            (shrunk.runs as usize, shrunk.is_cut_short),
            (seen.len(), false)
        );
        // Halves: few runs are enough.
        assert!(shrunk.runs <= 80, "{} runs", shrunk.runs);
    }

    #[test]
    fn another_failure_is_not_taken_for_it() {
        let whole = Options::of_seed(1, 300);
        let fails = |_: &Options| Some("at 9 ms: liveness: no peer leads".to_owned());
        let shrunk = shrink(&whole, &lost(299_999), PLENTY, fails);
        assert_eq!(shrunk.options, whole);
        assert_eq!(shrunk.failure, lost(299_999));
        assert!(shrunk.runs > 10 && !shrunk.is_cut_short, "{shrunk:?}");
    }

    /// Members that come and go need three peers to begin with; without them one will do.
    #[test]
    fn what_can_go_only_after_something_else_goes_too() {
        let whole = Options::of_seed(1, 300);
        let shrunk = shrink(&whole, &lost(299_999), PLENTY, |options| {
            let is_enough = options.peers >= 3 || !options.faults.has(Fault::Members);
            is_enough.then(|| lost(1))
        });
        assert_eq!((shrunk.options.peers, shrunk.options.work_ms), (1, 1_000));
        assert_eq!(shrunk.options.faults, Faults::none());
    }

    #[test]
    fn time_behind_the_failure_goes_with_one_run() {
        let whole = Options::of_seed(1, 300);
        let mut seconds = Vec::new();
        let _ = shrink(&whole, &lost(41_007), PLENTY, |options| {
            seconds.push(options.work_ms / 1_000);
            (options.work_ms >= 42_000).then(|| lost(41_007))
        });
        assert_eq!(seconds.first(), Some(&42));
        assert!(seconds.iter().all(|seconds| *seconds <= 42), "{seconds:?}");
    }

    #[test]
    fn no_more_is_run_than_the_budget_allows() {
        let whole = Options::of_seed(1, 300);
        let budget = Budget { runs: 7, ..PLENTY };
        let mut runs = 0;
        let shrunk = shrink(&whole, &lost(299_999), budget, |_| {
            runs += 1;
            None
        });
        assert_eq!((runs, shrunk.runs, shrunk.is_cut_short), (7, 7, true));
        let time = Duration::ZERO;
        let shrunk = shrink(&whole, &lost(1), Budget { time, ..PLENTY }, |_| {
            Some(lost(1))
        });
        assert_eq!((shrunk.runs, shrunk.is_cut_short), (0, true));
    }
}
