//! Promise 3: at most one live lease of a task, and only its holder ends it. A
//! lease is live until its deadline by the machine's clock.

use std::collections::BTreeMap;

use z4_core::command::{Ended, Grant, LeaseLost, LeaseRefs};
use z4_core::task::LeaseToken;
use z4_core::{Namespace, TaskId};

/// A tick of a peer, by which a lease and an ack may miss each other.
const TICK_NS: u64 = 50_000_000;

/// A lease that was granted and not ended; it may be over by its deadline.
struct Lease {
    token: LeaseToken,
    deadline_ns: u64,
    namespace: Namespace,
}

#[derive(Default)]
pub(crate) struct Leases {
    open: BTreeMap<TaskId, Lease>,
    granted: u64,
}

impl Leases {
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    /// A task was leased at this machine time. Whether it had a lease before
    /// that ran out.
    pub(crate) fn granted_one(
        &mut self,
        namespace: &Namespace,
        grant: &Grant,
        now_ns: u64,
    ) -> Result<bool, String> {
        let id = grant.id;
        self.granted += 1;
        let lease = Lease {
            token: grant.token,
            deadline_ns: grant.deadline_ns,
            namespace: namespace.clone(),
        };
        let Some(old) = self.open.insert(id, lease) else {
            return Ok(false);
        };
        if old.deadline_ns > now_ns {
            return Err(format!(
                "promise 3: task {id} was leased again while lease {:?} lived",
                old.token
            ));
        }
        if old.token >= grant.token {
            return Err(format!(
                "promise 3: lease {:?} of task {id} does not follow {:?}",
                grant.token, old.token
            ));
        }
        Ok(true)
    }

    /// No more than so many leases of a namespace are live.
    pub(crate) fn within(
        &self,
        namespace: &Namespace,
        now_ns: u64,
        most: u64,
    ) -> Result<(), String> {
        let live = self
            .open
            .values()
            .filter(|lease| lease.namespace == *namespace && lease.deadline_ns > now_ns);
        let live = live.count() as u64;
        if live > most {
            return Err(format!(
                "{live} leases of namespace {namespace} are live, its limit is {most}"
            ));
        }
        Ok(())
    }

    /// An ack was applied. Returns the rare events that it was.
    pub(crate) fn acked(
        &mut self,
        refs: &LeaseRefs,
        ended: &[Result<Ended, LeaseLost>],
        now_ns: u64,
    ) -> Result<Vec<&'static str>, String> {
        let mut seen = Vec::new();
        for ((id, token), result) in refs.leases.iter().zip(ended) {
            let live = self.open.get(id);
            let same = live.is_some_and(|live| live.token == *token);
            match result {
                Ok(_) => self.end(*id, *token, now_ns, "an ack")?,
                Err(LeaseLost::Expired)
                    if same && live.is_some_and(|l| now_ns <= l.deadline_ns + TICK_NS) =>
                {
                    seen.push("a lease ran out in the tick of an ack");
                }
                Err(LeaseLost::Taken) => seen.push("a late ack found another's lease"),
                Err(_) => {}
            }
        }
        Ok(seen)
    }

    /// Leases were given back, with or without a failure.
    pub(crate) fn given_back(
        &mut self,
        leases: impl Iterator<Item = (TaskId, LeaseToken)>,
        ended: &[Result<Ended, LeaseLost>],
        now_ns: u64,
    ) -> Result<(), String> {
        for ((id, token), _) in leases.zip(ended).filter(|(_, ended)| ended.is_ok()) {
            self.end(id, token, now_ns, "a nack or release")?;
        }
        Ok(())
    }

    fn end(
        &mut self,
        id: TaskId,
        token: LeaseToken,
        now_ns: u64,
        what: &str,
    ) -> Result<(), String> {
        let live = self.open.remove(&id);
        let live = live.filter(|lease| lease.deadline_ns > now_ns);
        let live = live.map(|lease| lease.token);
        if live == Some(token) {
            return Ok(());
        }
        Err(format!(
            "promise 3: {what} with {token:?} ended lease {live:?} of task {id}"
        ))
    }

    /// A lease lasts until another time.
    pub(crate) fn extended(
        &mut self,
        (id, token): (TaskId, LeaseToken),
        until_ns: u64,
        now_ns: u64,
    ) -> Result<(), String> {
        match self.open.get_mut(&id) {
            Some(live) if live.token == token && live.deadline_ns > now_ns => {
                live.deadline_ns = until_ns;
                Ok(())
            }
            live => Err(format!(
                "promise 3: {token:?} extended lease {:?} of task {id}",
                live.map(|live| live.token)
            )),
        }
    }
}
