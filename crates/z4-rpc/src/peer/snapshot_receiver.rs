//! A snapshot on its way in, on a thread of its own: it writes and syncs files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use grpcio::{ClientStreamingSink, RequestStream, RpcContext, RpcStatus, RpcStatusCode};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use z4_consensus::log::Position;
use z4_core::View;
use z4_proto::generated::peer::{
    SnapshotDone, SnapshotFile, SnapshotHeader, SnapshotPart, SnapshotPart_oneof_part as Part,
};

use super::opening;
use super::service::DirHook;
use super::snapshot_files::Incoming;
use crate::limits;
use crate::node::Node;
use crate::tls::Caller;

/// Starts to receive, unless another snapshot is being received.
pub(super) fn start<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    caller: Caller,
    incoming_dir: DirHook,
    receiving: Arc<AtomicBool>,
    ctx: &RpcContext<'_>,
    stream: RequestStream<SnapshotPart>,
    sink: ClientStreamingSink<SnapshotDone>,
) {
    let busy = |message: &str| {
        RpcStatus::with_message(RpcStatusCode::RESOURCE_EXHAUSTED, message.to_owned())
    };
    if receiving.swap(true, Ordering::AcqRel) {
        let failing = sink.fail(busy("this peer is receiving another snapshot"));
        return ctx.spawn(failing.map(move |_| drop(stream)));
    }
    let one = OneAtATime(receiving);
    // When the system gives no thread, stream and sink are dropped with the
    // closure, which cancels the call.
    let spawned = std::thread::Builder::new()
        .name("z4-snap-in".into())
        .spawn(move || receive(&node, &caller, &incoming_dir, stream, sink, one));
    drop(spawned);
}

/// Lets the next snapshot in when dropped.
struct OneAtATime(Arc<AtomicBool>);

impl Drop for OneAtATime {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn receive<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    caller: &Caller,
    incoming_dir: &DirHook,
    mut stream: RequestStream<SnapshotPart>,
    sink: ClientStreamingSink<SnapshotDone>,
    one: OneAtATime,
) {
    let result = take(node, caller, incoming_dir, &mut stream);
    drop(one);
    let label = if result.is_ok() { "ok" } else { "failed" };
    let metrics = node.network().metrics();
    metrics.snapshots_received.with_label_values(&[label]).inc();
    if let Err(status) = &result {
        slog::warn!(node.network().logger(), "incoming snapshot refused"; "reason" => %status);
    }
    // The other side has gone when these fail.
    let _ = match result {
        Ok(()) => block_on(sink.success(SnapshotDone::default())),
        Err(status) => block_on(sink.fail(status)),
    };
}

fn take<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    caller: &Caller,
    incoming_dir: &DirHook,
    stream: &mut RequestStream<SnapshotPart>,
) -> Result<(), RpcStatus> {
    let Some(Part::header(mut header)) = next(node, stream)? else {
        return Err(opening::missing());
    };
    let from = opening::check(node, caller, header.get_opening())?;
    let me = node
        .network()
        .identity()
        .map_or(0, |identity| identity.raft_id);
    let message = message_of(&header, from, me)?;
    let metadata = message.get_snapshot().get_metadata();
    let position = Position {
        index: metadata.get_index(),
        term: metadata.get_term(),
    };
    if position.index <= node.handle().status().applied_index {
        return Err(opening::refuse(
            "this peer has applied more than that".into(),
        ));
    }
    let files = header.take_files().into_vec();
    let size_bytes = files.iter().map(SnapshotFile::get_size_bytes);
    let size_bytes = size_bytes.fold(0, u64::saturating_add);
    if !node.network().disk_admission().fits(size_bytes) {
        return Err(RpcStatus::with_message(
            RpcStatusCode::RESOURCE_EXHAUSTED,
            format!("no room on the disk for a snapshot of {size_bytes} bytes"),
        ));
    }
    slog::info!(node.network().logger(), "receiving a snapshot";
        "from" => from, "index" => position.index, "files" => files.len());
    let mut incoming = Incoming::begin(incoming_dir(position), files)?;
    let bytes = node
        .network()
        .metrics()
        .snapshot_bytes
        .with_label_values(&["received"]);
    loop {
        match next(node, stream)? {
            Some(Part::chunk(chunk)) => {
                incoming.chunk(&chunk)?;
                bytes.inc_by(chunk.get_data().len() as u64);
            }
            Some(Part::header(_)) => {
                let status = RpcStatusCode::INVALID_ARGUMENT;
                return Err(RpcStatus::with_message(status, "a second header".into()));
            }
            None => break,
        }
    }
    incoming.finish()?;
    if !node.handle().snapshot_received(from, message) {
        return Err(RpcStatus::with_message(
            RpcStatusCode::RESOURCE_EXHAUSTED,
            "the raft inbox is full".into(),
        ));
    }
    Ok(())
}

/// The next part; gives up when nothing moves.
fn next<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    stream: &mut RequestStream<SnapshotPart>,
) -> Result<Option<Part>, RpcStatus> {
    let next = block_on(node.timer().within(limits::SNAPSHOT_STALL, stream.next()));
    match next {
        Some(Some(Ok(part))) => match part.part {
            Some(part) => Ok(Some(part)),
            None => Err(RpcStatus::with_message(
                RpcStatusCode::INVALID_ARGUMENT,
                "an empty part".into(),
            )),
        },
        Some(None) => Ok(None),
        Some(Some(Err(error))) => Err(RpcStatus::with_message(
            RpcStatusCode::CANCELLED,
            format!("the stream broke: {error}"),
        )),
        None => Err(RpcStatus::with_message(
            RpcStatusCode::DEADLINE_EXCEEDED,
            "nothing came for too long".into(),
        )),
    }
}

pub(crate) fn message_of(
    header: &SnapshotHeader,
    from: u64,
    me: u64,
) -> Result<Message, RpcStatus> {
    let invalid = |m: &str| RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, m.to_owned());
    let message = Message::parse_from_bytes(header.get_message())
        .map_err(|_| invalid("the message does not decode"))?;
    let metadata = message.get_snapshot().get_metadata();
    if message.get_msg_type() != MessageType::MsgSnapshot {
        return Err(invalid("the message is not a snapshot"));
    }
    if message.get_from() != from || message.get_to() != me {
        return Err(invalid("the message is not from the sender to this peer"));
    }
    if metadata.get_index() == 0 || metadata.get_term() == 0 {
        return Err(invalid("a snapshot of nothing"));
    }
    Ok(message)
}
