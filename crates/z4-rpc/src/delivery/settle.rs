//! Ends leases through the leader, wherever it is: acknowledged when written,
//! released when not.

use std::time::Duration;

use futures::channel::oneshot;
use futures::future::join_all;
use futures::{Future, FutureExt};
use z4_core::command::{Command, Grant, LeaseRefs};
use z4_core::{Namespace, View};
use z4_proto::encode_command;

use super::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{Request, Until};

/// Wait between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// Gives leases back, those of tasks that the consumer never had, and those that
/// it had in hand; whether or not the future is waited for. Ready when that is
/// applied, or when the leases have ended.
pub(super) fn released<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    untouched: &[Grant],
    in_hand: &[Grant],
) -> oneshot::Receiver<()> {
    let command = |make: fn(LeaseRefs) -> Command| {
        move |batch: &[Grant]| {
            let command = make(refs(namespace, batch));
            end(node.clone(), command, last(batch))
        }
    };
    let untouched = untouched.chunks(limits::ACK_BATCH_MAX);
    let in_hand = in_hand.chunks(limits::ACK_BATCH_MAX);
    let batches = untouched
        .map(command(Command::ReleaseTasks))
        .chain(in_hand.map(command(Command::ReturnTasks)));
    let all = join_all(batches.collect::<Vec<_>>());
    let (tx, rx) = oneshot::channel();
    node.network().spawn(all.map(move |_| {
        // Nobody waits any longer when this fails.
        let _ = tx.send(());
    }));
    rx
}

/// Gives back leases of tasks that the consumer never had; returns at once.
pub(super) fn release<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: Namespace,
    grants: Vec<Grant>,
) {
    for batch in grants.chunks(limits::ACK_BATCH_MAX) {
        let refs = refs(&namespace, batch);
        let releasing = end(node.clone(), Command::ReleaseTasks(refs), last(batch));
        node.network().spawn(releasing);
    }
}

/// Acknowledges what was written; ready when that is applied, or when the
/// leases have ended.
pub(super) fn ack<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    grants: &[Grant],
) -> impl Future<Output = ()> + Send + 'static {
    let refs = refs(namespace, grants);
    end(node.clone(), Command::AckTasks(refs), last(grants))
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

async fn end<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    command: Command,
    until_ns: u64,
) {
    let node = node.without_caller();
    let request = Request {
        command: encode_command(&command),
        units: 0,
        // A lease that has ended is not ended again.
        idempotent: true,
        until: Until::Applied,
    };
    loop {
        match node.propose(request.clone(), limits::UNARY_TIMEOUT).await {
            Ok(_) => return,
            Err(Error::Unavailable(_) | Error::Unknown { .. } | Error::Busy { .. }) => {}
            Err(Error::Remote { .. }) => {}
            Err(error) => {
                slog::warn!(node.network().logger(), "leases could not be ended";
                    "reason" => %error);
                return;
            }
        }
        // After their deadline leases end by themselves.
        if wall_ns() >= until_ns {
            return;
        }
        node.timer().sleep(RETRY).await;
    }
}
