//! The commands that run, and how to end them.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::process::{kill_process_group, Pid, Signal};

use crate::limits::{KILL_AFTER, OVER_AFTER};

/// Commands by the process group that each is the first process of. Its length is
/// bounded by the tasks in flight.
#[derive(Debug, Default)]
pub(crate) struct Running {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeSet<i32>,
    is_ending: bool,
    is_over: bool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Holders only set, insert and remove; a panic between leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().groups.len()
    }

    /// Whether commands are being ended: none is to be started.
    pub(crate) fn is_ending(&self) -> bool {
        self.lock().is_ending
    }

    /// Whether nobody waits for them any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over
    }

    pub(super) fn began(&self, group: Pid) {
        let mut state = self.lock();
        state.groups.insert(group.as_raw_nonzero().get());
        if state.is_ending {
            signal(group, Signal::TERM);
        }
    }

    /// The first process of the group has ended. To be called before that process
    /// is reaped: its number names the group for as long.
    pub(super) fn ended(&self, group: Pid) {
        let mut state = self.lock();
        state.groups.remove(&group.as_raw_nonzero().get());
        if state.is_ending {
            // What is left of it has nothing to say any more.
            signal(group, Signal::KILL);
        }
        self.changed.notify_all();
    }

    /// Ends all commands, as far as they do not end by themselves: SIGTERM to their
    /// process groups, then SIGKILL. Returns when none runs, and at the latest
    /// `KILL_AFTER` and `OVER_AFTER` later.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_ending = true;
        state.each(Signal::TERM);
        let some_run = |state: &mut State| !state.groups.is_empty();
        let waited = self.changed.wait_timeout_while(state, KILL_AFTER, some_run);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.each(Signal::KILL);
        let waited = self.changed.wait_timeout_while(state, OVER_AFTER, some_run);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_over = true;
    }
}

impl State {
    fn each(&self, which: Signal) {
        for group in self.groups.iter().filter_map(|raw| Pid::from_raw(*raw)) {
            signal(group, which);
        }
    }
}

fn signal(group: Pid, which: Signal) {
    // It may have ended meanwhile.
    let _ = kill_process_group(group, which);
}
