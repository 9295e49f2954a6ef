//! How a Consume stream begins: who comes, what it wants, and which leases it
//! has from before.

use futures::StreamExt;
use grpcio::{RequestStream, RpcStatus};
use z4_core::command::Grant;
use z4_core::{Namespace, Refusal, View};
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Message,
};

use std::future::poll_fn;

use crate::collection::undecodable;
use crate::delivery::asks;
use crate::delivery::find::{leases_of, Whose};
use crate::delivery::inbox::Told;
use crate::delivery::lease::id_or_new;
use crate::delivery::seat::{Seat, Wish};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;

/// A consumer that was let in.
pub(super) struct Opened<V: View + Clone + Send + Sync + 'static> {
    pub(super) seat: Seat<V>,
    pub(super) consumer_id: String,
    pub(super) in_flight_max: u64,
    pub(super) bytes_max: u64,
    /// Its live leases from before.
    pub(super) leases: Vec<Grant>,
}

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
pub(crate) struct Asks {
    pub(crate) namespace: Namespace,
    pub(crate) lease_ms: u64,
    pub(crate) in_flight_max: u64,
    pub(crate) bytes_max: u64,
}

/// Checks all but the name of the consumer.
pub(crate) fn asks_of(open: &ConsumeOpen) -> Result<Asks, Refusal> {
    let namespace = Namespace::new(open.get_namespace())?;
    let lease_ms = asks::lease_ms(open.lease.as_ref())?;
    let (in_flight_max, bytes_max) = credit(open.get_credit())?;
    Ok(Asks {
        namespace,
        lease_ms,
        in_flight_max: in_flight_max.unwrap_or(u64::from(limits::CONSUME_IN_FLIGHT_DEFAULT)),
        bytes_max: bytes_max.unwrap_or(limits::CONSUME_BYTES_DEFAULT),
    })
}

/// Checks what the consumer wants, gives it a place, and finds its leases.
pub(super) async fn open<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    open: ConsumeOpen,
) -> Result<Opened<V>, Error> {
    let asks = asks_of(&open)?;
    let status = node.handle().status();
    if status.raft_id == 0 {
        return Err(no_leader(&status));
    }
    // Nobody can have leases under a name that is made up now.
    let is_new = open.get_consumer_id().is_empty();
    let consumer_id = id_or_new(node, status.raft_id, open.consumer_id)?;
    let wish = Wish {
        namespace: asks.namespace,
        consumer_id: consumer_id.clone(),
        lease_ms: asks.lease_ms,
        // None until it is known what it has already.
        window: 0,
        step: 1,
        follows: true,
        // A made-up name is that of one stream.
        keeps: !is_new,
    };
    let mut seat = Seat::take(node, wish)?;
    // What an earlier stream at this peer is granted from here on comes to this
    // one; what it was granted before is found below.
    match poll_fn(|cx| seat.poll_told(cx)).await {
        Some(Told::Opened) => {}
        _ => return Err(Error::Unavailable("this peer is shutting down".into())),
    }
    let leases = if is_new {
        Vec::new()
    } else {
        let whose = Whose::ConsumerId(consumer_id.clone());
        leases_of(node, &seat.namespace, whose).await?
    };
    Ok(Opened {
        seat,
        consumer_id,
        in_flight_max: asks.in_flight_max,
        bytes_max: asks.bytes_max,
        leases,
    })
}

/// What a consumer says of its credit, tasks and bytes; `None`: nothing.
pub(super) fn credit(credit: &ConsumeCredit) -> Result<(Option<u64>, Option<u64>), Refusal> {
    let given = |value: u64| (value > 0).then_some(value);
    let tasks = credit.get_max_in_flight();
    if tasks > limits::CONSUME_IN_FLIGHT_MAX {
        let rule = format!(
            "is {tasks}; it must be 0 (not given) to {}",
            limits::CONSUME_IN_FLIGHT_MAX
        );
        return Err(Refusal::invalid("max_in_flight", rule));
    }
    let bytes = credit.get_max_in_flight_bytes();
    Ok((given(tasks.into()), given(bytes)))
}
