//! Ends leases through the leader, wherever it is: acknowledged when written,
//! released when not.

use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use futures::{Future, FutureExt};
use z4_core::command::{Command, Grant, LeaseRefs};
use z4_core::{Namespace, View};

use super::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::RetryPolicy;

/// Gives leases back, those of tasks that the consumer never had, and those that
/// it had in hand; whether or not the future is waited for. Ready when that is
/// applied, or when the leases have ended.
pub(super) fn released<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    untouched: &[Grant],
    in_hand: &[Grant],
) -> impl Future<Output = ()> + Send + 'static {
    let command = |make: fn(LeaseRefs) -> Command| {
        move |batch: &[Grant]| end(node, &make(refs(namespace, batch)), last(batch))
    };
    let untouched = untouched.chunks(limits::ACK_BATCH_MAX);
    let in_hand = in_hand.chunks(limits::ACK_BATCH_MAX);
    let batches = untouched
        .map(command(Command::ReleaseTasks))
        .chain(in_hand.map(command(Command::ReturnTasks)));
    join_all(batches.collect::<Vec<_>>()).map(|_| ())
}

/// Gives back leases of tasks that the consumer never had; returns at once.
pub(super) fn release<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: Namespace,
    grants: Vec<Grant>,
) {
    drop(released(node, &namespace, &grants, &[]));
}

/// Acknowledges what was written; ready when that is applied, or when the
/// leases have ended.
pub(super) fn ack<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    grants: &[Grant],
) -> impl Future<Output = ()> + Send + 'static {
    let refs = refs(namespace, grants);
    end(node, &Command::AckTasks(refs), last(grants))
}

fn refs(namespace: &Namespace, grants: &[Grant]) -> LeaseRefs {
    LeaseRefs {
        namespace: namespace.clone(),
        leases: grants.iter().map(|g| (g.id, g.token)).collect(),
    }
}

fn last(grants: &[Grant]) -> u64 {
    let deadlines = grants.iter().map(|grant| grant.deadline_ns);
    deadlines.max().unwrap_or(0)
}

/// Begins at once; nobody need wait for it.
fn end<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    command: &Command,
    until_ns: u64,
) -> impl Future<Output = ()> + Send + 'static {
    // After their deadline leases end by themselves.
    let timeout = Duration::from_nanos(until_ns.saturating_sub(wall_ns()));
    let policy = RetryPolicy::of(command, timeout).persisting();
    let (tx, rx) = oneshot::channel();
    let logger = node.network().logger().clone();
    let node = node.without_caller();
    node.propose_then(command, policy, move |ended| {
        if let Err(error @ (Error::Internal(_) | Error::Precondition(_))) = ended {
            slog::warn!(logger, "leases could not be ended"; "reason" => %error);
        }
        // Nobody waits any longer when this fails.
        let _ = tx.send(());
    });
    rx.map(|_| ())
}
