//! Consume: a consumer's conversation. Deliveries one way; acks, nacks, extends,
//! releases and credit the other, each of the first four answered once it is
//! committed and applied.
//!
//! | file | what |
//! |---|---|
//! | `opening` | who comes, and what it wants |
//! | `messages` | the messages behind the first, checked |
//! | `talk` | the task: requests in, responses out |

pub(crate) mod messages;
pub(crate) mod opening;
mod talk;

use std::future::poll_fn;

use futures::SinkExt;
use grpcio::{DuplexSink, RequestStream, RpcStatus, RpcStatusCode};
use z4_core::View;
use z4_delivery::End;
use z4_proto::generated::collection::{ConsumeRequest, ConsumeResponse};

use self::talk::{Over, Talk};
use super::line::status_of;
use crate::node::Node;

/// What a client is told to do when its peer stops.
const AGAIN: &str = "; reconnect with the same consumer_id";

/// Runs a conversation to its end.
pub(crate) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    mut requests: RequestStream<ConsumeRequest>,
    mut sink: DuplexSink<ConsumeResponse>,
) -> RpcStatus {
    let gone = || RpcStatus::new(RpcStatusCode::CANCELLED);
    let opened = match opening::first(&node, &mut requests).await {
        Some(Ok(open)) => opening::open(&node, open).map_err(|error| error.status()),
        Some(Err(status)) => Err(status),
        None => return gone(),
    };
    let mut talk = match opened {
        Ok((open, line)) => Talk::new(node.clone(), open, line),
        Err(status) => {
            // The client has gone when this fails.
            let _ = sink.fail(status.clone()).await;
            return status;
        }
    };
    sink.enhance_batch(true);
    let over = poll_fn(|cx| talk.poll(&mut requests, &mut sink, cx)).await;
    let consumer_id = talk.leave();
    let status = match over {
        Over::Gone => return gone(),
        Over::Status(status) => status,
        Over::Ended(End::Done) => {
            let _ = sink.close().await;
            return RpcStatus::ok();
        }
        Over::Ended(end) => status_of(end, &consumer_id, AGAIN, &node.handle().status()),
    };
    let _ = sink.fail(status.clone()).await;
    status
}
