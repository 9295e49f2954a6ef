//! Consume: a consumer's conversation. Deliveries one way; acks, nacks, extends,
//! releases and credit the other, each of the first four answered once it is
//! committed and applied.
//!
//! | file | what |
//! |---|---|
//! | `opening` | who comes, and which leases it has from before |
//! | `said` | the messages behind the first, checked |
//! | `talk` | the stream itself |
//! | `flow` | credit by count and bytes, and what waits for it |
//! | `ledger` | the leases in hand |
//! | `batches` | what was asked and is not answered yet |

mod batches;
mod flow;
mod ledger;
pub(crate) mod opening;
pub(crate) mod said;
mod talk;

use std::future::poll_fn;

use futures::SinkExt;
use grpcio::{DuplexSink, RequestStream, RpcStatus, RpcStatusCode};
use z4_core::View;
use z4_proto::generated::collection::{ConsumeRequest, ConsumeResponse};

use self::talk::Talk;
use crate::errors::Error;
use crate::node::Node;

/// Why a conversation ended.
enum End {
    /// Both sides are done.
    Closed,
    /// The client went without a word: one with a name may come back.
    Gone,
    /// This peer ends it.
    Status(RpcStatus),
}

/// Runs a conversation to its end.
pub(crate) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    mut requests: RequestStream<ConsumeRequest>,
    mut sink: DuplexSink<ConsumeResponse>,
) -> RpcStatus {
    let gone = || RpcStatus::new(RpcStatusCode::CANCELLED);
    let opened = match opening::first(&node, &mut requests).await {
        Some(Ok(open)) => opening::open(&node, open).await.map_err(|e| e.status()),
        Some(Err(status)) => Err(status),
        None => return gone(),
    };
    let mut talk = match opened {
        Ok(opened) => Talk::new(opened),
        Err(status) => {
            // The client has gone when this fails.
            let _ = sink.fail(status.clone()).await;
            return status;
        }
    };
    sink.enhance_batch(true);
    let end = poll_fn(|cx| talk.poll(&mut requests, &mut sink, cx)).await;
    let status = match end {
        End::Closed => {
            if talk.finish().await {
                let _ = sink.close().await;
                return RpcStatus::ok();
            }
            let message = "what was in hand is not given back yet";
            Error::Unavailable(message.into()).status()
        }
        End::Gone => {
            talk.break_off();
            return gone();
        }
        End::Status(status) => {
            talk.break_off();
            status
        }
    };
    let _ = sink.fail(status.clone()).await;
    status
}
