//! The service of `peer.proto`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use futures::FutureExt;
use grpcio::{
    ClientStreamingSink, DuplexSink, RequestStream, RpcContext, RpcStatus, RpcStatusCode, UnarySink,
};
use z4_consensus::log::Position;
use z4_consensus::{Identity, Role};
use z4_core::View;
use z4_proto::generated::peer::{
    ForwardReply, ForwardRequest, JoinReply, JoinRequest, LaneOffer, MembershipReply,
    MembershipRequest, Opening, ProbeReply, ProbeRequest, RaftBatch, RaftDone, SnapshotDone,
    SnapshotPart,
};
use z4_proto::generated::peer_grpc::Peer;

use super::{dial, opening, raft_stream, snapshot_receiver};
use crate::admin;
use crate::forward;
use crate::limits;
use crate::node::Node;
use crate::tls::Caller;

/// Stores an identity durably and starts the runtime; see [`PeerHooks::join`].
pub type JoinHook = Arc<dyn Fn(Identity) -> Result<(), String> + Send + Sync>;
/// Names a directory; see [`PeerHooks::incoming_dir`].
pub type DirHook = Arc<dyn Fn(Position) -> PathBuf + Send + Sync>;

/// What the server does for its peer port.
#[derive(Clone)]
pub struct PeerHooks {
    /// Makes a waiting peer a member-to-be: stores the identity durably, sets it
    /// for the [`Network`](crate::network::Network), starts the runtime. Called
    /// from a thread of its own, one call at a time. Fails, for a person to
    /// read, when this peer has an identity or data already, unless it is the
    /// same identity.
    pub join: JoinHook,
    /// The directory into which the files of an incoming snapshot go. Its parent
    /// exists.
    pub incoming_dir: DirHook,
}

/// The service between peers.
pub struct PeerService<V> {
    node: Node<V>,
    hooks: PeerHooks,
    /// One snapshot at a time: set while one is received.
    receiving: Arc<AtomicBool>,
    joining: Arc<std::sync::Mutex<()>>,
    /// One round of dialling at a time: set while others are dialled.
    dialling: Arc<AtomicBool>,
}

impl<V: Clone> Clone for PeerService<V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            hooks: self.hooks.clone(),
            receiving: Arc::clone(&self.receiving),
            joining: Arc::clone(&self.joining),
            dialling: Arc::clone(&self.dialling),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> PeerService<V> {
    /// The service of this peer.
    #[must_use]
    pub fn new(node: Node<V>, hooks: PeerHooks) -> Self {
        Self {
            node,
            hooks,
            receiving: Arc::default(),
            joining: Arc::default(),
            dialling: Arc::default(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> PeerService<V> {
    /// Offers a lane to a peer that may open streams here.
    fn offer(&self, caller: &Caller, opening: &Opening) -> Result<LaneOffer, RpcStatus> {
        let from = opening::check(&self.node, caller, opening)?;
        let (lanes, mut offer) = (self.node.network().lanes(), LaneOffer::default());
        let Some(port) = lanes.port() else {
            return Ok(offer);
        };
        let Some(secret) = lanes.hand_out(from) else {
            let message = "too many peers open lanes just now; messages go over gRPC meanwhile";
            let code = RpcStatusCode::RESOURCE_EXHAUSTED;
            return Err(RpcStatus::with_message(code, message.into()));
        };
        offer.set_port(port.into());
        offer.set_secret(secret.to_vec());
        Ok(offer)
    }
}

impl<V: View + Clone + Send + Sync + 'static> PeerService<V> {
    /// The caller of a method, if it is a peer.
    fn caller(&self, ctx: &RpcContext<'_>) -> Result<Caller, RpcStatus> {
        Caller::of(self.node.network().tls(), ctx)
    }
}

impl<V> PeerService<V> {
    /// Begins a round of dialling, or says why not.
    fn may_dial(&self, request: &ProbeRequest) -> Result<(), RpcStatus> {
        if request.get_dial().len() > limits::DIAL_COUNT_MAX {
            let message = format!("dial: at most {} at once", limits::DIAL_COUNT_MAX);
            let code = RpcStatusCode::INVALID_ARGUMENT;
            return Err(RpcStatus::with_message(code, message));
        }
        if self.dialling.swap(true, Ordering::AcqRel) {
            let message = "this peer dials the members already, for another addition; retry";
            let code = RpcStatusCode::RESOURCE_EXHAUSTED;
            return Err(RpcStatus::with_message(code, message.into()));
        }
        Ok(())
    }
}

impl<V: View + Clone + Send + Sync + 'static> Peer for PeerService<V> {
    fn raft(
        &mut self,
        ctx: RpcContext<'_>,
        stream: RequestStream<RaftBatch>,
        sink: ClientStreamingSink<RaftDone>,
    ) {
        match self.caller(&ctx) {
            Ok(caller) => ctx.spawn(raft_stream::receive(
                self.node.clone(),
                caller,
                stream,
                sink,
            )),
            Err(status) => ctx.spawn(sink.fail(status).map(|_| drop(stream))),
        }
    }

    fn snapshot(
        &mut self,
        ctx: RpcContext<'_>,
        stream: RequestStream<SnapshotPart>,
        sink: ClientStreamingSink<SnapshotDone>,
    ) {
        let caller = match self.caller(&ctx) {
            Ok(caller) => caller,
            Err(status) => return ctx.spawn(sink.fail(status).map(|_| drop(stream))),
        };
        let incoming_dir = Arc::clone(&self.hooks.incoming_dir);
        let receiving = Arc::clone(&self.receiving);
        let node = self.node.clone();
        snapshot_receiver::start(node, caller, incoming_dir, receiving, &ctx, stream, sink);
    }

    fn forward(
        &mut self,
        ctx: RpcContext<'_>,
        stream: RequestStream<ForwardRequest>,
        sink: DuplexSink<ForwardReply>,
    ) {
        match self.caller(&ctx) {
            Ok(caller) => ctx.spawn(forward::serve(self.node.clone(), caller, stream, sink)),
            Err(status) => ctx.spawn(sink.fail(status).map(|_| drop(stream))),
        }
    }

    fn probe(&mut self, ctx: RpcContext<'_>, request: ProbeRequest, sink: UnarySink<ProbeReply>) {
        if let Err(status) = self.caller(&ctx) {
            return ctx.spawn(sink.fail(status).map(|_| ()));
        }
        let mut reply = ProbeReply::default();
        reply.set_peer_id(self.node.network().peer_id().to_owned());
        reply.set_protocol_version(limits::PROTOCOL_VERSION);
        reply.set_address(self.node.network().advertise_addr().to_owned());
        reply.set_levels(self.node.network().own_levels());
        if let Some(identity) = self.node.network().identity() {
            reply.set_cluster_id(identity.cluster_id.to_vec());
            reply.set_raft_id(identity.raft_id);
            let status = self.node.handle().status();
            let has_data = status.applied_index > 0 || status.role == Role::Removed;
            reply.set_has_data(has_data);
        } else {
            self.node.network().assembling().describe(&mut reply);
        }
        if request.get_dial().is_empty() {
            return ctx.spawn(sink.success(reply).map(|_| ()));
        }
        if let Err(status) = self.may_dial(&request) {
            return ctx.spawn(sink.fail(status).map(|_| ()));
        }
        let network = self.node.network().clone();
        let dialling = Arc::clone(&self.dialling);
        ctx.spawn(async move {
            let unreached = dial::unreached(&network, request.get_dial()).await;
            dialling.store(false, Ordering::Release);
            reply.set_unreached(unreached.into());
            // The asker may have left.
            let _ = sink.success(reply).await;
        });
    }

    fn request_membership(
        &mut self,
        ctx: RpcContext<'_>,
        request: MembershipRequest,
        sink: UnarySink<MembershipReply>,
    ) {
        match self.caller(&ctx) {
            Ok(caller) => admin::answer_request(&self.node, &ctx, &caller, request, sink),
            Err(status) => ctx.spawn(sink.fail(status).map(|_| ())),
        }
    }

    fn open_lane(&mut self, ctx: RpcContext<'_>, opening: Opening, sink: UnarySink<LaneOffer>) {
        let offered = self.caller(&ctx);
        match offered.and_then(|caller| self.offer(&caller, &opening)) {
            Ok(offer) => ctx.spawn(sink.success(offer).map(|_| ())),
            Err(status) => ctx.spawn(sink.fail(status).map(|_| ())),
        }
    }

    fn join(&mut self, ctx: RpcContext<'_>, request: JoinRequest, sink: UnarySink<JoinReply>) {
        if let Err(status) = self.caller(&ctx) {
            return ctx.spawn(sink.fail(status).map(|_| ()));
        }
        let identity = match identity_of(&request, self.node.network().peer_id()) {
            Ok(identity) => identity,
            Err(status) => return ctx.spawn(sink.fail(status).map(|_| ())),
        };
        let (hook, joining) = (Arc::clone(&self.hooks.join), Arc::clone(&self.joining));
        // Joining writes and syncs files: not for a thread of gRPC.
        let (tx, rx) = futures::channel::oneshot::channel();
        let spawned = std::thread::Builder::new()
            .name("z4-join".into())
            .spawn(move || {
                let _one_at_a_time = joining.lock();
                // The asker may have left.
                let _ = tx.send(hook(identity));
            });
        ctx.spawn(async move {
            let result = match spawned {
                Ok(_) => rx
                    .await
                    .unwrap_or_else(|_| Err("joining ended early".into())),
                Err(error) => Err(error.to_string()),
            };
            // The other side has gone when these fail.
            let _ = match result {
                Ok(()) => sink.success(JoinReply::default()).await,
                Err(why) => sink.fail(opening::refuse(why)).await,
            };
        });
    }
}

fn identity_of(request: &JoinRequest, own_peer_id: &str) -> Result<Identity, RpcStatus> {
    let invalid = |m: String| RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, m);
    let cluster_id: [u8; 16] = request
        .get_cluster_id()
        .try_into()
        .map_err(|_| invalid("cluster_id must have 16 bytes".into()))?;
    if request.get_raft_id() == 0 {
        return Err(invalid("raft_id must not be 0".into()));
    }
    admin::check_peer_id(request.get_peer_id()).map_err(|e| e.status())?;
    if request.get_peer_id() != own_peer_id {
        return Err(opening::refuse(format!(
            "this peer is {own_peer_id}, not {}",
            request.get_peer_id()
        )));
    }
    Ok(Identity {
        cluster_id,
        raft_id: request.get_raft_id(),
        peer_id: request.get_peer_id().to_owned(),
    })
}
