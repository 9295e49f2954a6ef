//! No task dies without a cause, and none goes by itself that was not dead
//! (promises 1 and 2: at least once, up to its limits).
//!
//! A task is a dead letter because its time to live has passed, because it
//! failed as often as it may, or because a consumer gave it up for good. A dead
//! letter goes by itself only when a namespace keeps so many of them and more
//! were there. Failures are nacks that were done and leases that ran out; each
//! grant says how many there were.

use std::collections::BTreeMap;

use z4_core::command::{Ended, Grant, LeaseLost, NewTask};
use z4_core::state::NamespaceConfig;
use z4_core::task::DeathReason;
use z4_core::{Namespace, TaskId};

/// What a task went through.
#[derive(Default)]
struct Life {
    failures: u32,
    /// Failures that it kept when it was tried again: it has one more.
    kept: u32,
    max_attempts: u32,
    given_up: bool,
    /// The deadline of a lease that nobody ended.
    lease_ns: Option<u64>,
    /// When it was certainly there.
    seen_ns: u64,
}

impl Life {
    /// A lease that nobody ended and that is over is a failure.
    fn look(&mut self, now_ns: u64) {
        if self
            .lease_ns
            .take_if(|until_ns| *until_ns <= now_ns)
            .is_some()
        {
            self.failures += 1;
        }
    }
}

/// What is known of a namespace.
#[derive(Default)]
struct Space {
    /// The fewest failures that it ever allowed; 0: it never limited them.
    max_attempts: u32,
    dead_keep_count: u64,
    /// When dead letters were tried again or purged.
    taken_ns: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Deaths {
    lives: BTreeMap<TaskId, Life>,
    spaces: BTreeMap<Namespace, Space>,
}

impl Deaths {
    /// A namespace has these settings.
    pub(crate) fn set(&mut self, name: &Namespace, config: &NamespaceConfig) {
        let space = self.spaces.entry(name.clone()).or_default();
        space.max_attempts = match (space.max_attempts, config.max_attempts) {
            (0, most) | (most, 0) => most,
            (one, other) => one.min(other),
        };
        space.dead_keep_count = config.dead_keep_count;
    }

    /// A task was created.
    pub(crate) fn created(&mut self, new: &NewTask, id: TaskId, now_ns: u64) {
        let life = Life {
            max_attempts: new.max_attempts,
            seen_ns: now_ns,
            ..Life::default()
        };
        self.lives.insert(id, life);
    }

    /// A task was leased.
    pub(crate) fn granted(&mut self, grant: &Grant, now_ns: u64) -> Result<(), String> {
        let life = self.lives.entry(grant.id).or_default();
        life.look(now_ns);
        life.seen_ns = now_ns;
        life.lease_ns = Some(grant.deadline_ns);
        if grant.attempt == life.failures.saturating_add(1) {
            return Ok(());
        }
        Err(format!(
            "promise 2: task {} is at attempt {}, and failed {} times",
            grant.id, grant.attempt, life.failures
        ))
    }

    /// A lease lasts until another time.
    pub(crate) fn extended(&mut self, id: TaskId, until_ns: u64) {
        self.lives.entry(id).or_default().lease_ns = Some(until_ns);
    }

    /// A lease was ended, by a nack that gives the task up for good or not, or,
    /// with `None`, without a failure.
    pub(crate) fn ended(
        &mut self,
        name: &Namespace,
        id: TaskId,
        nack: Option<bool>,
        result: &Result<Ended, LeaseLost>,
        (now_ns, too_old): (u64, bool),
    ) -> Result<(), String> {
        let Ok(ended) = result else {
            return Ok(());
        };
        let life = self.lives.entry(id).or_default();
        life.seen_ns = now_ns;
        life.lease_ns = None;
        life.failures += u32::from(nack.is_some());
        life.given_up |= nack == Some(true);
        match ended {
            Ended::Dead(reason) => self.dead(name, id, Some(*reason), (now_ns, too_old)),
            _ if life.given_up => Err(format!(
                "promise 2: task {id} was given up for good and is {ended:?}"
            )),
            _ => Ok(()),
        }
    }

    /// A dead letter is tried again, with its failures or without.
    pub(crate) fn redriven(
        &mut self,
        name: &Namespace,
        id: TaskId,
        keeps: bool,
        (now_ns, too_old): (u64, bool),
    ) -> Result<(), String> {
        self.purged(name, id, (now_ns, too_old))?;
        let life = self.lives.entry(id).or_default();
        if !keeps {
            life.failures = 0;
        }
        life.seen_ns = now_ns;
        life.kept = life.failures;
        life.given_up = false;
        Ok(())
    }

    /// A dead letter is taken away.
    pub(crate) fn purged(
        &mut self,
        name: &Namespace,
        id: TaskId,
        (now_ns, too_old): (u64, bool),
    ) -> Result<(), String> {
        self.dead(name, id, None, (now_ns, too_old))?;
        let space = self.spaces.entry(name.clone()).or_default();
        space.taken_ns.push(now_ns);
        Ok(())
    }

    /// A task is dead, for this reason if it is known, since this time at most;
    /// whether it was too old by then.
    pub(crate) fn dead(
        &mut self,
        name: &Namespace,
        id: TaskId,
        reason: Option<DeathReason>,
        (at_ns, too_old): (u64, bool),
    ) -> Result<(), String> {
        let life = self.lives.entry(id).or_default();
        life.look(at_ns);
        let most = match life.max_attempts {
            0 => self.spaces.get(name).map_or(0, |space| space.max_attempts),
            own => own,
        };
        let used_up = most > 0 && life.failures >= most && life.failures > life.kept;
        let cause = match reason {
            Some(DeathReason::Ttl) => too_old,
            Some(DeathReason::Attempts) => used_up,
            Some(DeathReason::Permanent) => life.given_up,
            None => too_old || used_up || life.given_up,
        };
        if cause {
            return Ok(());
        }
        Err(format!(
            "promise 1: task {id} of {name} died without a cause, {reason:?}: it failed {} times \
             and may {most} times, it was given up: {}, it was too old: {too_old}",
            life.failures, life.given_up
        ))
    }

    /// A task that nobody ended is not there, and so many dead letters are. It
    /// must have been dead, and one too many: so many as are kept were there when
    /// it went, which was later than it was last seen.
    pub(crate) fn missing(
        &mut self,
        name: &Namespace,
        id: TaskId,
        dead: u64,
        (now_ns, too_old): (u64, bool),
    ) -> Result<(), String> {
        let lease_ns = self.lives.get(&id).and_then(|life| life.lease_ns);
        let seen_ns = self.lives.get(&id).map_or(0, |life| life.seen_ns);
        let seen_ns = seen_ns.max(lease_ns.unwrap_or_default());
        let space = self.spaces.entry(name.clone()).or_default();
        let kept = space.dead_keep_count;
        let taken = space.taken_ns.iter().filter(|at_ns| **at_ns >= seen_ns);
        let were = dead + taken.count() as u64;
        if kept == 0 {
            return Err(format!("promise 1: task {id} of {name} is lost"));
        }
        if were < kept {
            return Err(format!(
                "promise 1: task {id} of {name} is gone, and of the {kept} dead letters that are \
                 kept at most {were} were there"
            ));
        }
        self.dead(name, id, None, (now_ns, too_old))
    }
}
