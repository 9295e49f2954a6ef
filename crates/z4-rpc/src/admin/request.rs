//! A peer that is in no cluster asks to be added: any member takes the request and has the
//! leader see to it.

use futures::FutureExt;
use grpcio::{RpcContext, UnarySink};
use z4_consensus::Role;
use z4_core::View;
use z4_proto::generated::peer::{MembershipReply, MembershipRequest};

use super::{check_address, check_peer_id, Work};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::node::Node;
use crate::tls::Caller;

/// Answers a request. `caller` is the other end, as its certificate names it.
pub(crate) fn answer<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    ctx: &RpcContext<'_>,
    caller: &Caller,
    request: MembershipRequest,
    sink: UnarySink<MembershipReply>,
) {
    if let Err(status) = caller.check_peer_id(request.get_peer_id()) {
        return ctx.spawn(sink.fail(status).map(|_| ()));
    }
    let (node, from) = (node.of_peer_call(ctx), ctx.peer());
    ctx.spawn(async move {
        let result = add(&node, &request).await;
        let outcome = match &result {
            Ok(()) => "OK".to_owned(),
            Err(error) => error.to_string(),
        };
        // What strangers may have written is bounded, and only what was asked rightly is
        // noted: an audit is of what may have changed something.
        if check_peer_id(request.get_peer_id()).is_ok() {
            slog::info!(node.network().logger(), "audit";
                "who" => format!("peer {}", request.get_peer_id()), "from" => from,
                "method" => "RequestMembership",
                "on" => shown(request.get_address()), "outcome" => outcome);
        }
        // The asker may have left.
        let _ = match result {
            Ok(()) => sink.success(MembershipReply::default()).await,
            Err(error) => sink.fail(error.status()).await,
        };
    });
}

async fn add<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &MembershipRequest,
) -> Result<(), Error> {
    check_peer_id(request.get_peer_id())?;
    let address = check_address(request.get_address())?;
    let status = node.handle().status();
    if matches!(status.role, Role::Waiting | Role::Removed) {
        return Err(no_leader(&status));
    }
    let work = Work::Add {
        peer_id: request.get_peer_id().to_owned(),
        address,
        is_own_request: true,
    };
    node.administer(work).await.map(drop)
}

fn shown(address: &str) -> String {
    address
        .chars()
        .take(z4_core::limits::ADDRESS_SHOWN_LEN_MAX)
        .collect()
}
