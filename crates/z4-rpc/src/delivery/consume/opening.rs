//! How a Consume stream begins: who comes, and what it wants.

use futures::StreamExt;
use grpcio::{RequestStream, RpcStatus};
use z4_core::{Namespace, Refusal, View};
use z4_delivery::limits::IN_FLIGHT_MAX;
use z4_delivery::{Method, Open};
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Message,
};

use crate::access::{self, About};
use crate::collection::undecodable;
use crate::delivery::lease::id_or_new;
use crate::delivery::lease_asks;
use crate::delivery::line::Line;
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;

/// Takes the first message. `None`: the client has gone.
pub(super) async fn first<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    requests: &mut RequestStream<ConsumeRequest>,
) -> Option<Result<ConsumeOpen, RpcStatus>> {
    let missing = || {
        let rule = "must be the first message, and come at once";
        Err(Error::invalid("open", rule).status())
    };
    let first = node
        .timer()
        .within(limits::CONSUME_OPEN_TIMEOUT, requests.next());
    match first.await {
        Some(Some(Ok(request))) => match request.message {
            Some(Message::open(open)) => Some(Ok(open)),
            _ => Some(missing()),
        },
        None => Some(missing()),
        Some(Some(Err(error @ grpcio::Error::Codec(_)))) => Some(Err(undecodable(&error))),
        Some(Some(Err(_)) | None) => None,
    }
}

/// What an opening asks.
pub(crate) struct OpenFields {
    pub(crate) namespace: Namespace,
    pub(crate) lease_ms: u64,
    pub(crate) in_flight_max: u64,
    pub(crate) bytes_max: u64,
}

/// Checks all but the name of the consumer.
pub(crate) fn fields_of(open: &ConsumeOpen) -> Result<OpenFields, Refusal> {
    let namespace = Namespace::new(open.get_namespace())?;
    let lease_ms = lease_asks::lease_ms(open.lease.as_ref())?;
    let (in_flight_max, bytes_max) = credit(open.get_credit())?;
    Ok(OpenFields {
        namespace,
        lease_ms,
        in_flight_max: in_flight_max.unwrap_or(u64::from(limits::CONSUME_IN_FLIGHT_DEFAULT)),
        bytes_max: bytes_max.unwrap_or(limits::CONSUME_BYTES_DEFAULT),
    })
}

/// Checks what the consumer wants, and opens its session.
pub(super) fn open<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    open: ConsumeOpen,
) -> Result<(Open, Line<V>), Error> {
    let about = About::Namespace(open.get_namespace());
    node.authorize(access::Method::Consume, about)?;
    let fields = fields_of(&open)?;
    let status = node.handle().status();
    if status.raft_id == 0 {
        return Err(no_leader(&status));
    }
    // Nobody can have leases under a name that is made up now.
    let is_named = !open.get_consumer_id().is_empty();
    let open = Open {
        namespace: fields.namespace,
        consumer_id: id_or_new(node, status.raft_id, open.consumer_id)?,
        lease_ms: fields.lease_ms,
        method: Method::Consume {
            in_flight_max: fields.in_flight_max,
            bytes_max: fields.bytes_max,
            is_named,
        },
    };
    let line = node.delivery().open(node.clone(), open.clone())?;
    Ok((open, line))
}

/// What a consumer says of its credit, tasks and bytes; `None`: nothing.
pub(super) fn credit(credit: &ConsumeCredit) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let given = |value: u64| (value > 0).then_some(value);
    let tasks = credit.get_max_in_flight();
    if tasks > IN_FLIGHT_MAX {
        let rule = format!("is {tasks}; it must be 0 (not given) to {}", IN_FLIGHT_MAX);
        return Err(Refusal::invalid("max_in_flight", rule));
    }
    let bytes = credit.get_max_in_flight_bytes();
    Ok((given(tasks.into()), given(bytes)))
}
