//! LeaseTasks: leases without a stream.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::{select, Either};
use futures::StreamExt;
use grpcio::{RpcStatus, RpcStatusCode};
use z4_core::{limits as core_limits, Namespace, Refusal, View};
use z4_delivery::{consumer_id, Delivered, Delivery, End, Key, Method, Open, Taking, Told};
use z4_proto::generated::collection::{LeaseTasksRequest, LeaseTasksResponse};

use super::caller::Caller;
use super::line::{status_of, Line};
use super::{bodies, deliver, lease_asks};
use crate::access::{self, About};
use crate::answer::{field_len, AnswerBudget};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::validate::span_ms;

/// What a request wants of its answer.
struct Want {
    namespace: Namespace,
    consumer_id: String,
    bytes: u64,
    /// See [`AnswerBudget::new`].
    answer_bytes_max: u32,
}

/// Why a call is answered.
enum Answered {
    Deliver(Vec<Delivery>),
    Close(End<Error>),
    /// The caller is not known any more.
    Refused(Error),
    /// The caller has left.
    Left,
}

/// Leases tasks and answers with them. What the caller does not get is given
/// back, without a failure; whether it got it is what gRPC says. An answer that is
/// lost on its way nobody can know of: a repeat with `resume` has it again.
pub(super) async fn respond<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    request: LeaseTasksRequest,
    mut caller: Caller,
) -> RpcStatus {
    let answered = match open(&node, request) {
        Ok((want, mut line)) => match told(&node, &want.namespace, &mut line, &mut caller).await {
            Answered::Left => return RpcStatus::new(RpcStatusCode::CANCELLED),
            Answered::Deliver(deliveries) => match fill(&node, &want, &line, deliveries).await {
                Ok(filled) => return answer(&node, want, filled, caller, &line).await,
                Err(error) => error.status(),
            },
            Answered::Refused(error) => error.status(),
            Answered::Close(end) => status_of(end, "", "", &node.handle().status()),
        },
        Err(error) => error.status(),
    };
    caller.refuse(answered.clone()).await;
    answered
}

/// Waits for what the session says, for as long as the caller does.
async fn told<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    line: &mut Line<V>,
    caller: &mut Caller,
) -> Answered {
    loop {
        // A deadline is looked at now and then, and what the caller may do; one that hangs up
        // is told of.
        let interval = match node.caller() {
            Some(_) => limits::WAITING_LOOK,
            None => 2 * limits::WAITING_LOOK,
        };
        let look_at = Instant::now() + interval;
        let about = About::Namespace(namespace.as_str());
        if let Err(error) = node.authorize(access::Method::LeaseTasks, about) {
            return Answered::Refused(error);
        }
        let told = poll_fn(|cx| match caller.poll_left(cx) {
            Poll::Ready(()) => Poll::Ready(Answered::Left),
            Poll::Pending => loop {
                break match futures::ready!(line.told.poll_next_unpin(cx)) {
                    Some(Told::Deliver(deliveries)) => Poll::Ready(Answered::Deliver(deliveries)),
                    Some(Told::Close(end)) => Poll::Ready(Answered::Close(end)),
                    // These are of other methods.
                    Some(
                        Told::Hello { .. }
                        | Told::Expect(_)
                        | Told::Withdraw
                        | Told::Taken
                        | Told::Answer(_)
                        | Told::Flush,
                    ) => continue,
                    None => Poll::Ready(Answered::Close(End::Stopping)),
                };
            },
        });
        if let Either::Left((told, _)) = select(told, node.timer().sleep_until(look_at)).await {
            return told;
        }
    }
}

/// Answers, and says what became of the leases.
async fn answer<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: Want,
    filled: Filled,
    caller: Caller,
    line: &Line<V>,
) -> RpcStatus {
    let mut response = LeaseTasksResponse::default();
    response.set_deliveries(filled.messages.into());
    response.set_consumer_id(want.consumer_id);
    let sent: Vec<Key> = filled.sent.iter().map(Delivery::key).collect();
    let mut delivered = filled.delivered;
    if !caller.answer(response).await {
        delivered.left.extend(sent);
        line.delivered(delivered);
        return RpcStatus::new(RpcStatusCode::CANCELLED);
    }
    delivered.sent = sent;
    line.delivered(delivered);
    let metrics = node.network().metrics();
    let new = filled.sent.iter().filter(|delivery| !delivery.is_resumed);
    new.for_each(|delivery| deliver::count(metrics, &delivery.grant));
    RpcStatus::ok()
}

/// What a request asks, of the fields that have limits.
pub(crate) struct TakeFields {
    pub(crate) namespace: Namespace,
    pub(crate) tasks: u32,
    pub(crate) wait_ms: u64,
    pub(crate) lease_ms: u64,
}

/// Checks all but the name of the consumer.
pub(crate) fn fields_of(request: &LeaseTasksRequest) -> Result<TakeFields, Refusal> {
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
    Ok(TakeFields {
        namespace,
        tasks: request.max_tasks.max(1),
        wait_ms,
        lease_ms: lease_asks::lease_ms(request.lease.as_ref())?,
    })
}

fn open<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: LeaseTasksRequest,
) -> Result<(Want, Line<V>), Error> {
    let about = About::Namespace(request.get_namespace());
    node.authorize(access::Method::LeaseTasks, about)?;
    let fields = fields_of(&request)?;
    if request.resume && request.consumer_id.is_empty() {
        return Err(Error::invalid("consumer_id", "must be given with resume"));
    }
    let status = node.handle().status();
    if status.raft_id == 0 {
        return Err(no_leader(&status));
    }
    let consumer_id = id_or_new(node, status.raft_id, request.consumer_id)?;
    let wait = node.patience(Duration::from_millis(fields.wait_ms));
    // Who waits may have to be answered after that time, with what was proposed in it.
    let patience = node.patience(limits::UNARY_TIMEOUT.max(wait));
    let open = Open {
        namespace: fields.namespace.clone(),
        consumer_id: consumer_id.clone(),
        lease_ms: fields.lease_ms,
        method: Method::Take(Taking {
            tasks: fields.tasks,
            wait_ns: wait.as_nanos() as u64,
            patience_ns: patience.as_nanos() as u64,
            resume: request.resume,
        }),
    };
    let line = node.delivery().open(node.clone(), open)?;
    let want = Want {
        namespace: fields.namespace,
        consumer_id,
        bytes: match request.max_bytes {
            0 => limits::LEASE_BYTES_DEFAULT,
            bytes => bytes,
        },
        answer_bytes_max: request.answer_bytes_max,
    };
    Ok((want, line))
}

/// The consumer id of a request, or one that is made up.
pub(super) fn id_or_new<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    raft_id: u64,
    id: String,
) -> Result<String, Refusal> {
    if id.is_empty() {
        return Ok(node.delivery().id_next(raft_id));
    }
    consumer_id::check(&id)?;
    Ok(id)
}

/// What an answer holds, and what became of the others.
#[derive(Default)]
struct Filled {
    sent: Vec<Delivery>,
    messages: Vec<z4_proto::generated::collection::Delivery>,
    delivered: Delivered,
}

/// Reads the tasks of leases, up to what the answer may hold.
async fn fill<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    want: &Want,
    line: &Line<V>,
    mut deliveries: Vec<Delivery>,
) -> Result<Filled, Error> {
    let mut filled = Filled::default();
    let (mut bytes, mut is_full) = (0, false);
    let mut budget = AnswerBudget::new(
        want.answer_bytes_max,
        field_len(want.consumer_id.len() as u32),
    );
    while !deliveries.is_empty() && !is_full {
        let len = deliveries.len().min(limits::STREAM_READ_BATCH);
        let behind = deliveries.split_off(len);
        let (namespace, batch) = (want.namespace.clone(), deliveries.clone());
        let read = match bodies::read(node.clone(), namespace, batch, deliver::delivery).await {
            Ok(read) => read,
            Err(error) => {
                let all = filled.sent.iter().chain(&deliveries).chain(&behind);
                filled.delivered.left.extend(all.map(Delivery::key));
                line.delivered(filled.delivered);
                return Err(error);
            }
        };
        for (delivery, message) in read.found {
            let Some(message) = message else {
                filled.delivered.over.push(delivery.key());
                continue;
            };
            let is_over = bytes + delivery.grant.bytes > want.bytes && !filled.sent.is_empty();
            is_full |= is_over || !budget.take(&message);
            if is_full {
                filled.delivered.left.push(delivery.key());
                continue;
            }
            bytes += delivery.grant.bytes;
            filled.sent.push(delivery);
            filled.messages.push(message);
        }
        deliveries = read.left.into_iter().chain(behind).collect();
    }
    filled
        .delivered
        .left
        .extend(deliveries.iter().map(Delivery::key));
    Ok(filled)
}
