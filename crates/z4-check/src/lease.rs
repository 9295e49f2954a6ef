//! One live lease per task, by tokens that rise; an old token ends nothing; an
//! ack is final.
//!
//! Source: promise 3 of z4; fencing tokens (M. Kleppmann, "How to do distributed
//! locking", 2016). Fed in the order of the log, by who sees the entries: the
//! simulator (`check/leases`). What clients alone can tell is in [`delivery`](crate::delivery).
//! Times are machine time, the stamp of the entry.

use std::collections::HashMap;

use z4_core::TaskId;

use crate::violation::{Rule, Violation};

/// How a lease ended that was live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Acknowledged: the task is gone.
    Acked,
    /// Nacked or released: the task waits.
    Returned,
    /// The task is a dead letter.
    Died,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The greatest token so far.
    token: u64,
    /// The deadline of its lease, while that lives.
    deadline_ns: Option<u64>,
    /// It was acknowledged, cancelled or purged.
    gone: Option<&'static str>,
}

/// What is known of all leases.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    tasks: HashMap<TaskId, Known>,
    granted: u64,
    refused: u64,
}

impl Leases {
    /// A lease was granted.
    ///
    /// # Errors
    ///
    /// [`Rule::AfterEnd`], [`Rule::TokenFell`], [`Rule::LeaseOverlap`].
    pub fn granted(
        &mut self,
        task: TaskId,
        token: u64,
        now_ns: u64,
        deadline_ns: u64,
    ) -> Result<(), Violation> {
        self.granted += 1;
        let known = self.tasks.entry(task).or_default();
        let before = *known;
        known.token = token;
        known.deadline_ns = Some(deadline_ns);
        if let Some(how) = before.gone {
            let text = format!("task {task} was leased with token {token} after it was {how}");
            return Err(Violation::new(Rule::AfterEnd, text));
        }
        if token <= before.token {
            let text = format!("task {task}: token {token} follows {}", before.token);
            return Err(Violation::new(Rule::TokenFell, text));
        }
        match before.deadline_ns {
            Some(until_ns) if until_ns > now_ns => Err(Violation::new(
                Rule::LeaseOverlap,
                format!(
                    "task {task} was leased with token {token} at {now_ns}, the lease with token \
                     {} lasts until {until_ns}",
                    before.token
                ),
            )),
            _ => Ok(()),
        }
    }

    /// An ack, nack or release was done.
    ///
    /// # Errors
    ///
    /// [`Rule::EndedTwice`]: the task is gone. [`Rule::OldTokenTaken`]: the token
    /// is not that of a live lease.
    pub fn ended(
        &mut self,
        task: TaskId,
        token: u64,
        now_ns: u64,
        how: Ended,
    ) -> Result<(), Violation> {
        let is_live = self.is_live(task, token, now_ns, "ended");
        let known = self.tasks.entry(task).or_default();
        known.deadline_ns = None;
        if how == Ended::Acked {
            known.gone = Some("acknowledged");
        }
        is_live
    }

    /// A lease got another deadline.
    ///
    /// # Errors
    ///
    /// As [`ended`](Self::ended).
    pub fn extended(
        &mut self,
        task: TaskId,
        token: u64,
        now_ns: u64,
        deadline_ns: u64,
    ) -> Result<(), Violation> {
        self.is_live(task, token, now_ns, "extended")?;
        self.tasks.entry(task).or_default().deadline_ns = Some(deadline_ns);
        Ok(())
    }

    /// An ack, nack, extend or release was refused: there was no such lease.
    ///
    /// # Errors
    ///
    /// [`Rule::LiveLeaseRefused`]: there was.
    pub fn refused(&mut self, task: TaskId, token: u64, now_ns: u64) -> Result<(), Violation> {
        self.refused += 1;
        match self.is_live(task, token, now_ns, "refused") {
            Err(_) => Ok(()),
            Ok(()) => Err(Violation::new(
                Rule::LiveLeaseRefused,
                format!("task {task}: token {token} was refused at {now_ns}, and its lease lives"),
            )),
        }
    }

    /// A task that was not leased was removed: cancelled, purged.
    ///
    /// # Errors
    ///
    /// [`Rule::EndedTwice`]: it was gone. [`Rule::LeaseOverlap`]: a consumer holds
    /// it.
    pub fn removed(
        &mut self,
        task: TaskId,
        now_ns: u64,
        how: &'static str,
    ) -> Result<(), Violation> {
        let known = self.tasks.entry(task).or_default();
        if let Some(before) = known.gone {
            let text = format!("task {task} was {how} after it was {before}");
            return Err(Violation::new(Rule::EndedTwice, text));
        }
        known.gone = Some(how);
        match known.deadline_ns.take() {
            Some(until_ns) if until_ns > now_ns => Err(Violation::new(
                Rule::LeaseOverlap,
                format!("task {task} was {how} at {now_ns}, it is leased until {until_ns}"),
            )),
            _ => Ok(()),
        }
    }

    /// How many leases were granted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.granted
    }

    /// How many ends of leases were refused.
    #[must_use]
    pub fn count_refused(&self) -> u64 {
        self.refused
    }

    /// The token and deadline of the lease of a task that was granted last and
    /// not ended; it may have expired.
    #[must_use]
    pub fn live(&self, task: TaskId) -> Option<(u64, u64)> {
        let known = self.tasks.get(&task)?;
        Some((known.token, known.deadline_ns?))
    }

    /// How a task went, if it did: "acknowledged", or what
    /// [`removed`](Self::removed) was told.
    #[must_use]
    pub fn gone(&self, task: TaskId) -> Option<&'static str> {
        self.tasks.get(&task)?.gone
    }

    fn is_live(&self, task: TaskId, token: u64, now_ns: u64, what: &str) -> Result<(), Violation> {
        let known = self.tasks.get(&task).copied().unwrap_or_default();
        if let Some(how) = known.gone {
            let text = format!("task {task}: token {token} {what} it after it was {how}");
            return Err(Violation::new(Rule::EndedTwice, text));
        }
        match known.deadline_ns {
            Some(until_ns) if known.token == token && until_ns > now_ns => Ok(()),
            until_ns => Err(Violation::new(
                Rule::OldTokenTaken,
                format!(
                    "task {task}: token {token} {what} a lease at {now_ns}; the last token is {}, \
                     its lease lasts until {until_ns:?}",
                    known.token
                ),
            )),
        }
    }
}
