//! Takes leases for LeaseTasks: at once, by a proposal of its own, or in line, as a
//! consumer that takes once.

use std::future::{poll_fn, Future};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::future::{select, Either};
use z4_consensus::fault::mark;
use z4_core::command::{Command, Grant, LeaseTasks, Taker};
use z4_core::state::due_next_after;
use z4_core::{Outcome, View};

use super::bodies::unreadable;
use super::caller::Caller;
use super::find::{leases_of, Whose};
use super::inbox::Told;
use super::lease::Want;
use super::seat::{Seat, Wish};
use super::{settle, wall_ns};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy};
use crate::reading::catch_up;

const STOPPING: &str = "this peer is shutting down";

/// Leases what is due, or waits for it.
pub(super) async fn take<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
    caller: &mut Caller,
) -> Result<Vec<Grant>, Error> {
    if want.wait.is_zero() {
        return take_now(node, want).await;
    }
    // A look at this peer's own state saves an entry of the log; who waits is
    // told of what it did not see.
    let (view, namespace) = (node.view().clone(), want.namespace.clone());
    let due = move || due_next_after(&view, &namespace, None);
    let due = node.readers().run(due).await?.map_err(unreadable)?;
    if due.is_some_and(|at_ns| at_ns <= wall_ns()) {
        let grants = take_now(node, want).await?;
        if !grants.is_empty() {
            return Ok(grants);
        }
    }
    take_later(node, want, caller).await
}

/// Leases what is due, for as long as the caller waits. The proposal goes on when
/// the caller has to be answered before it is decided; what it leases then is given
/// back.
async fn take_now<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
) -> Result<Vec<Grant>, Error> {
    let patience = node.patience(limits::UNARY_TIMEOUT);
    let node = node.without_caller();
    let raft_id = node.handle().status().raft_id;
    let lease = LeaseTasks {
        namespace: want.namespace.clone(),
        takers: vec![Taker {
            consumer: node.delivery().name_once(&want.consumer_id, raft_id),
            room: want.tasks,
        }],
        lease_ms: want.lease_ms,
    };
    let (tx, mut rx) = oneshot::channel();
    let (leasing, namespace) = (node.clone(), want.namespace.clone());
    node.network().spawn(async move {
        let taken = lease_once(&leasing, lease).await;
        if let Err(Ok(grants)) = tx.send(taken) {
            settle::release(&leasing, namespace, grants);
        }
    });
    if let Some(taken) = node.timer().within(patience, &mut rx).await {
        return taken.unwrap_or_else(|_| Err(Error::Unavailable(STOPPING.into())));
    }
    // It may have come just now.
    rx.close();
    if let Ok(Some(taken)) = rx.try_recv() {
        return taken;
    }
    let status = node.handle().status();
    Err(match status.leader {
        0 => no_leader(&status),
        _ => Error::Unavailable(
            "the lease was not confirmed in time, and what it leases is given back; retry".into(),
        ),
    })
}

/// Proposes a lease for one taker, whose name is used this once.
async fn lease_once<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    lease: LeaseTasks,
) -> Result<Vec<Grant>, Error> {
    let namespace = lease.namespace.clone();
    let consumer = lease.takers.first().map(|taker| taker.consumer.clone());
    let command = Command::LeaseTasks(lease);
    let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
    mark("lease.grant");
    let done = match node.propose(&command, policy).await {
        Ok(done) => done,
        // The name was used this once: what it holds was granted by this.
        Err(Error::Unknown { .. }) => {
            let whose = Whose::Name(consumer.unwrap_or_default());
            let found = leases_of(node, &namespace, whose).await;
            // What cannot be found may have been leased all the same.
            return found.map_err(|error| match error {
                Error::Unavailable(_) => Error::Unknown { idempotent: true },
                error => error,
            });
        }
        Err(error) => return Err(error),
    };
    let grants = match done.outcome {
        Outcome::Leased { grants, .. } => grants,
        other => return Err(unexpected(other)),
    };
    // Another peer has applied it; this one may be behind.
    if !done.forwarded_to.is_empty() && !grants.is_empty() {
        if let Err(error) = catch_up(node).await {
            settle::release(node, namespace, grants);
            return Err(error);
        }
    }
    Ok(grants)
}

/// Why somebody who stands in line looks.
enum Woken {
    Told(Option<Told>),
    /// The caller has left.
    Left,
}

/// Stands in line as a consumer until something comes.
async fn take_later<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
    caller: &mut Caller,
) -> Result<Vec<Grant>, Error> {
    let mut seat = Seat::take(
        node,
        Wish {
            namespace: want.namespace.clone(),
            consumer_id: want.consumer_id.clone(),
            lease_ms: want.lease_ms,
            window: want.tasks.into(),
            step: 1,
            follows: false,
            keeps: false,
        },
    )?;
    // An answer without tasks says more than a deadline that is exceeded.
    let mut until = Instant::now() + node.patience(want.wait);
    let mut grants = Vec::new();
    while grants.len() < want.tasks as usize {
        // A deadline is looked at now and then; a caller that hangs up is told of.
        let look_at = until.min(Instant::now() + Duration::from_secs(1));
        let told = poll_fn(|cx| match caller.poll_left(cx) {
            Poll::Ready(()) => Poll::Ready(Woken::Left),
            Poll::Pending => seat.poll_told(cx).map(Woken::Told),
        });
        match until_then(node, look_at, told).await {
            Some(Woken::Told(Some(Told::Grant(grant)))) => {
                grants.push(grant);
                until = until.min(Instant::now() + limits::LEASE_GATHER);
            }
            Some(Woken::Told(Some(_))) => {}
            Some(Woken::Told(None)) if grants.is_empty() => {
                return Err(Error::Unavailable(STOPPING.into()));
            }
            // The answer will find nobody, and what is granted is given back.
            Some(Woken::Told(None) | Woken::Left) => break,
            None if Instant::now() >= until => break,
            None => {}
        }
    }
    grants.extend(seat.leave());
    let status = node.handle().status();
    if grants.is_empty() && status.leader == 0 {
        return Err(no_leader(&status));
    }
    Ok(grants)
}

async fn until_then<V: View + Clone + Send + Sync + 'static, F: Future + Unpin>(
    node: &Node<V>,
    at: Instant,
    future: F,
) -> Option<F::Output> {
    match select(future, node.timer().sleep_until(at)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
