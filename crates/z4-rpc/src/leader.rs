//! Waiting for a leader without a timer for each waiter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures::channel::oneshot;
use z4_consensus::{Handle, Role, Status};
use z4_core::Outcome;

use crate::errors::Error;
use crate::limits;
use crate::network::Network;

/// Wakes those who wait for a leader. One task looks, while anyone waits.
#[derive(Clone)]
pub(crate) struct LeaderWatch {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle<Outcome>,
    network: Network,
    waiters: Mutex<Vec<Waiter>>,
    looking: AtomicBool,
}

struct Waiter {
    /// Leader and term that did not do.
    seen: (u64, u64),
    since: Instant,
    wake: oneshot::Sender<()>,
}

impl LeaderWatch {
    pub(crate) fn new(handle: Handle<Outcome>, network: Network) -> Self {
        Self {
            shared: Arc::new(Shared {
                handle,
                network,
                waiters: Mutex::default(),
                looking: AtomicBool::new(false),
            }),
        }
    }

    /// Ready when there is a leader other than the one that `seen` had, or when
    /// it is time to ask that one again.
    pub(crate) async fn changed(&self, seen: &Status) {
        let (wake, woken) = oneshot::channel();
        let waiter = Waiter {
            seen: (seen.leader, seen.term),
            since: Instant::now(),
            wake,
        };
        self.shared.lock().push(waiter);
        if !self.shared.looking.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(&self.shared);
            self.shared.network.spawn(shared.look());
        }
        // Gone means that this peer is shutting down.
        let _ = woken.await;
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(self: Arc<Self>) {
        loop {
            self.network.timer().sleep(limits::LEADER_POLL).await;
            let status = self.handle.status();
            let mut waiters = self.lock();
            let mut woken = Vec::new();
            waiters.retain_mut(|waiter| {
                let is_new = (status.leader, status.term) != waiter.seen;
                let rested = waiter.since.elapsed() >= limits::LEADER_RETRY;
                let done = (status.leader != 0 && is_new) || rested || waiter.wake.is_canceled();
                if done {
                    let (nobody, _) = oneshot::channel();
                    woken.push(std::mem::replace(&mut waiter.wake, nobody));
                }
                !done
            });
            let finished = waiters.is_empty();
            if finished {
                self.looking.store(false, Ordering::Release);
            }
            drop(waiters);
            for wake in woken {
                // The waiter may have left.
                let _ = wake.send(());
            }
            if finished {
                return;
            }
        }
    }
}

/// Why there is nobody to ask for a change, for a person: what is missing.
pub(crate) fn no_leader(status: &Status) -> Error {
    let text = missing(status);
    Error::Unavailable(match is_outside(status) {
        true => text,
        false => format!("{text}; nothing was done, retry"),
    })
}

/// Why there is nobody to ask, where nothing was to be done: of a read, or of how
/// the cluster is.
pub(crate) fn no_leader_to_read(status: &Status) -> Error {
    let text = missing(status);
    Error::Unavailable(match is_outside(status) {
        true => text,
        false => format!("{text}; retry"),
    })
}

/// Why a read was not confirmed in time.
pub(crate) fn unconfirmed(status: &Status, waited_ms: u64) -> Error {
    let Some(leader) = status.membership.members.get(&status.leader) else {
        return no_leader_to_read(status);
    };
    Error::Unavailable(format!(
        "the leader {} did not confirm the read within {waited_ms} ms: it, or most voters, may be \
         stopped or cut off; retry",
        leader.peer_id
    ))
}

fn is_outside(status: &Status) -> bool {
    matches!(status.role, Role::Waiting | Role::Removed)
}

fn missing(status: &Status) -> String {
    match status.role {
        Role::Waiting => {
            "this peer is not in a cluster yet; add it with add-peer at a member".into()
        }
        Role::Removed => {
            "this peer was removed from its cluster; erase its directories and add it anew".into()
        }
        _ => {
            let voters = status.membership.voter_count();
            let quorum = voters / 2 + 1;
            format!(
                "no leader is known: {quorum} of {voters} voters must be up and reach each other"
            )
        }
    }
}
