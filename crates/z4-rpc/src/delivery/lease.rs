//! LeaseTasks: leases without a stream.

use std::future::{poll_fn, Future};
use std::time::{Duration, Instant};

use futures::future::{select, Either};
use grpcio::{RpcStatus, UnarySink};
use z4_consensus::fault::mark;
use z4_core::command::{Command, Grant, LeaseTasks, Taker};
use z4_core::state::due_next_after;
use z4_core::{limits as core_limits, Namespace, Outcome, Refusal, View};
use z4_proto::encode_command;
use z4_proto::generated::collection::{Delivery, LeaseTasksRequest, LeaseTasksResponse};

use super::bodies::{self, unreadable};
use super::call_deadline::CallDeadline;
use super::find::{leases_of, Whose};
use super::inbox::Told;
use super::seat::{Seat, Wish};
use super::{asks, consumer_id, deliver, settle, wall_ns};
use crate::answer::{field_len, Room};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::propose::{Proposed, Request, Until};
use crate::reading::catch_up;
use crate::validate::span_ms;

/// What a request asks.
struct Want {
    namespace: Namespace,
    consumer_id: String,
    tasks: u32,
    lease_ms: u64,
    wait: Duration,
    bytes: u64,
    /// See [`Room::new`].
    answer_bytes_max: u32,
    /// The caller waits no longer than this.
    deadline: CallDeadline,
}

/// Leases tasks and answers with them. What the caller does not get is given
/// back; whether it got it is what gRPC says, which ends calls by a clock that
/// does not jump.
pub(crate) async fn respond<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    request: LeaseTasksRequest,
    deadline: CallDeadline,
    sink: UnarySink<LeaseTasksResponse>,
) -> RpcStatus {
    match answer(&node, request, deadline).await {
        Ok((response, namespace, grants)) => {
            if sink.success(response).await.is_ok() {
                let metrics = node.network().metrics();
                grants.iter().for_each(|g| deliver::count(metrics, g));
                return RpcStatus::ok();
            }
            settle::release(&node, namespace, grants);
            RpcStatus::new(grpcio::RpcStatusCode::CANCELLED)
        }
        Err(error) => {
            let status = error.status();
            // The caller has gone when this fails.
            let _ = sink.fail(status.clone()).await;
            status
        }
    }
}

async fn answer<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: LeaseTasksRequest,
    deadline: CallDeadline,
) -> Result<(LeaseTasksResponse, Namespace, Vec<Grant>), Error> {
    let want = check(node, request, deadline)?;
    let grants = take(node, &want).await?;
    let namespace = want.namespace.clone();
    let (deliveries, grants) = fill(node, &want, grants).await?;
    let mut response = LeaseTasksResponse::default();
    response.set_deliveries(deliveries.into());
    response.set_consumer_id(want.consumer_id);
    Ok((response, namespace, grants))
}

/// What a request asks, of the fields that have limits.
pub(crate) struct Asks {
    pub(crate) namespace: Namespace,
    pub(crate) tasks: u32,
    pub(crate) wait_ms: u64,
    pub(crate) lease_ms: u64,
}

/// Checks all but the name of the consumer.
pub(crate) fn asks_of(request: &LeaseTasksRequest) -> Result<Asks, Refusal> {
    let namespace = Namespace::new(request.get_namespace())?;
    let tasks_max = core_limits::LEASE_COUNT_MAX as u32;
    if request.max_tasks > tasks_max {
        let rule = format!(
            "is {}; it must be 0 (1 task) to {tasks_max}",
            request.max_tasks
        );
        return Err(Refusal::invalid("max_tasks", rule));
    }
    let wait_ms = match request.wait.as_ref() {
        None => 0,
        Some(wait) => span_ms("wait", wait, 0, limits::LEASE_WAIT_MAX.as_millis() as u64)?,
    };
    Ok(Asks {
        namespace,
        tasks: request.max_tasks.max(1),
        wait_ms,
        lease_ms: asks::lease_ms(request.lease.as_ref())?,
    })
}

fn check<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: LeaseTasksRequest,
    deadline: CallDeadline,
) -> Result<Want, Error> {
    let asks = asks_of(&request)?;
    let status = node.handle().status();
    if status.raft_id == 0 {
        return Err(no_leader(&status));
    }
    Ok(Want {
        lease_ms: asks.lease_ms,
        namespace: asks.namespace,
        tasks: asks.tasks,
        wait: Duration::from_millis(asks.wait_ms),
        bytes: match request.max_bytes {
            0 => limits::LEASE_BYTES_DEFAULT,
            bytes => bytes,
        },
        answer_bytes_max: request.answer_bytes_max,
        consumer_id: id_or_new(node, status.raft_id, request.consumer_id)?,
        deadline,
    })
}

/// The consumer id of a request, or one that is made up.
pub(super) fn id_or_new<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    raft_id: u64,
    id: String,
) -> Result<String, Refusal> {
    if id.is_empty() {
        let session = node.delivery().name_next(raft_id);
        return Ok(format!("auto-{}", session.trim_start_matches('~')));
    }
    consumer_id::check(&id)?;
    Ok(id)
}

/// Leases what is due, or waits for it.
async fn take<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
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
    take_later(node, want).await
}

async fn take_now<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
) -> Result<Vec<Grant>, Error> {
    let raft_id = node.handle().status().raft_id;
    let consumer = node.delivery().name_once(&want.consumer_id, raft_id);
    let command = Command::LeaseTasks(LeaseTasks {
        namespace: want.namespace.clone(),
        takers: vec![Taker {
            consumer: consumer.clone(),
            room: want.tasks,
        }],
        lease_ms: want.lease_ms,
    });
    let request = Request {
        command: encode_command(&command),
        units: 0,
        idempotent: false,
        until: Until::Applied,
    };
    mark("lease.grant");
    let done = match node.propose(request, limits::UNARY_TIMEOUT).await {
        Ok(done) => done,
        // The name was used this once: what it holds was granted by this.
        Err(Error::Unknown { .. }) => {
            let found = leases_of(node, &want.namespace, Whose::Name(consumer)).await;
            // What cannot be found may have been leased all the same.
            return found.map_err(|error| match error {
                Error::Unavailable(_) => Error::Unknown { idempotent: true },
                error => error,
            });
        }
        Err(error) => return Err(error),
    };
    let grants = match done.proposed {
        Proposed::Applied(Outcome::Leased { grants, .. }) => grants,
        Proposed::Applied(Outcome::Refused(refusal)) => return Err(refusal.into()),
        other => return Err(Error::Internal(format!("the log answered {other:?}"))),
    };
    // Another peer has applied it; this one may be behind.
    if !done.forwarded_to.is_empty() && !grants.is_empty() {
        if let Err(error) = catch_up(node).await {
            settle::release(node, want.namespace.clone(), grants);
            return Err(error);
        }
    }
    Ok(grants)
}

/// Stands in line as a consumer until something comes.
async fn take_later<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
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
        // A caller that gave up is noticed by its deadline.
        let look_at = until.min(Instant::now() + Duration::from_secs(1));
        let told = poll_fn(|cx| seat.poll_told(cx));
        match until_then(node, look_at, told).await {
            Some(Some(Told::Grant(grant))) => {
                grants.push(grant);
                until = until.min(Instant::now() + limits::LEASE_GATHER);
            }
            Some(Some(_)) => {}
            Some(None) if grants.is_empty() => {
                return Err(Error::Unavailable("this peer is shutting down".into()));
            }
            Some(None) => break,
            None if Instant::now() >= until || want.deadline.is_over() => break,
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

/// Reads the tasks of grants, up to what the answer may hold; what it may not is
/// given back.
async fn fill<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
    grants: Vec<Grant>,
) -> Result<(Vec<Delivery>, Vec<Grant>), Error> {
    let (mut deliveries, mut taken) = (Vec::new(), Vec::new());
    let (mut bytes, mut is_full) = (0, false);
    let mut room = Room::new(
        want.answer_bytes_max,
        field_len(want.consumer_id.len() as u32),
    );
    let mut left = grants;
    while !left.is_empty() && !is_full {
        let batch: Vec<Grant> = left
            .drain(..left.len().min(limits::STREAM_READ_BATCH))
            .collect();
        let make = |namespace: &Namespace, grant: &Grant, body, status| {
            deliver::delivery(namespace, grant, body, status, false)
        };
        let reading = bodies::read(node.clone(), want.namespace.clone(), batch.clone(), make);
        let read = match reading.await {
            Ok(read) => read,
            Err(error) => {
                taken.extend(batch);
                taken.append(&mut left);
                settle::release(node, want.namespace.clone(), taken);
                return Err(error);
            }
        };
        let mut surplus = Vec::new();
        for (grant, delivery) in read.found {
            // Without one, the lease is over already.
            let Some(delivery) = delivery else { continue };
            let is_over = bytes + grant.bytes > want.bytes && !taken.is_empty();
            is_full |= is_over || !room.take(&delivery);
            if is_full {
                surplus.push(grant);
                continue;
            }
            bytes += grant.bytes;
            deliveries.push(delivery);
            taken.push(grant);
        }
        surplus.extend(read.left);
        surplus.append(&mut left);
        left = surplus;
    }
    settle::release(node, want.namespace.clone(), left);
    Ok((deliveries, taken))
}
