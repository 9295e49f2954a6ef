//! LeaseTasks: leases without a stream.

use std::time::Duration;

use grpcio::RpcStatus;
use z4_core::command::Grant;
use z4_core::{limits as core_limits, Namespace, Refusal, View};
use z4_proto::generated::collection::{Delivery, LeaseTasksRequest, LeaseTasksResponse};

use super::bodies;
use super::caller::Caller;
use super::find::{leases_of, Whose};
use super::take::take;
use super::{asks, consumer_id, deliver, settle};
use crate::answer::{field_len, Room};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::validate::span_ms;

/// What a request asks.
pub(super) struct Want {
    pub(super) namespace: Namespace,
    pub(super) consumer_id: String,
    pub(super) tasks: u32,
    pub(super) lease_ms: u64,
    pub(super) wait: Duration,
    pub(super) bytes: u64,
    /// See [`Room::new`].
    pub(super) answer_bytes_max: u32,
    /// What the consumer holds already comes first.
    pub(super) resume: bool,
}

/// Leases tasks and answers with them. What the caller does not get is given
/// back, without a failure; whether it got it is what gRPC says. An answer that is
/// lost on its way nobody can know of: a repeat with `resume` has it again.
pub(super) async fn respond<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    request: LeaseTasksRequest,
    mut caller: Caller,
) -> RpcStatus {
    match answer(&node, request, &mut caller).await {
        Ok((response, leased)) => {
            if caller.answer(response).await {
                if !leased.resumed {
                    let metrics = node.network().metrics();
                    leased
                        .grants
                        .iter()
                        .for_each(|g| deliver::count(metrics, g));
                }
                return RpcStatus::ok();
            }
            leased.give_back(&node);
            RpcStatus::new(grpcio::RpcStatusCode::CANCELLED)
        }
        Err(error) => {
            let status = error.status();
            caller.refuse(status.clone()).await;
            status
        }
    }
}

/// Leases for an answer.
struct Leased {
    namespace: Namespace,
    grants: Vec<Grant>,
    /// The consumer held them before this call, and may work on them.
    resumed: bool,
}

impl Leased {
    /// Ends those that nobody else can have heard of.
    fn give_back<V: View + Clone + Send + Sync + 'static>(self, node: &Node<V>) {
        if !self.resumed {
            settle::release(node, self.namespace, self.grants);
        }
    }
}

async fn answer<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: LeaseTasksRequest,
    caller: &mut Caller,
) -> Result<(LeaseTasksResponse, Leased), Error> {
    let want = check(node, request)?;
    let mut leased = Leased {
        namespace: want.namespace.clone(),
        grants: Vec::new(),
        resumed: false,
    };
    if want.resume {
        let whose = Whose::ConsumerId(want.consumer_id.clone());
        leased.grants = leases_of(node, &want.namespace, whose).await?;
        leased.grants.truncate(want.tasks as usize);
        leased.resumed = !leased.grants.is_empty();
    }
    if !leased.resumed {
        leased.grants = take(node, &want, caller).await?;
    }
    let deliveries = fill(node, &want, &mut leased).await?;
    let mut response = LeaseTasksResponse::default();
    response.set_deliveries(deliveries.into());
    response.set_consumer_id(want.consumer_id);
    Ok((response, leased))
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
) -> Result<Want, Error> {
    let asks = asks_of(&request)?;
    if request.resume && request.consumer_id.is_empty() {
        return Err(Error::invalid("consumer_id", "must be given with resume"));
    }
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
        resume: request.resume,
        consumer_id: id_or_new(node, status.raft_id, request.consumer_id)?,
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

/// Reads the tasks of leases, up to what the answer may hold, and leaves those
/// leases; what it may not hold is given back.
async fn fill<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
    leased: &mut Leased,
) -> Result<Vec<Delivery>, Error> {
    let (mut deliveries, mut taken) = (Vec::new(), Vec::new());
    let (mut bytes, mut is_full) = (0, false);
    let mut room = Room::new(
        want.answer_bytes_max,
        field_len(want.consumer_id.len() as u32),
    );
    let resumed = leased.resumed;
    let of_namespace = |grants| Leased {
        namespace: want.namespace.clone(),
        grants,
        resumed,
    };
    let mut left = std::mem::take(&mut leased.grants);
    while !left.is_empty() && !is_full {
        let batch: Vec<Grant> = left
            .drain(..left.len().min(limits::STREAM_READ_BATCH))
            .collect();
        let make = move |namespace: &Namespace, grant: &Grant, body, status| {
            deliver::delivery(namespace, grant, body, status, resumed)
        };
        let reading = bodies::read(node.clone(), want.namespace.clone(), batch.clone(), make);
        let read = match reading.await {
            Ok(read) => read,
            Err(error) => {
                taken.extend(batch);
                taken.append(&mut left);
                of_namespace(taken).give_back(node);
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
    of_namespace(left).give_back(node);
    leased.grants = taken;
    Ok(deliveries)
}
