//! Raft messages of one other peer, on their way in.

use futures::StreamExt;
use grpcio::{ClientStreamingSink, RequestStream, RpcStatus, RpcStatusCode};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use z4_core::View;
use z4_delivery::ClockReading;
use z4_proto::generated::peer::{Opening, RaftBatch, RaftDone};

use super::{address, opening};
use crate::clock_sample;
use crate::levels;
use crate::limits;
use crate::node::Node;
use crate::tls::Caller;

/// Takes the messages of a stream until it ends or breaks a rule.
pub(super) async fn receive<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    caller: Caller,
    mut stream: RequestStream<RaftBatch>,
    sink: ClientStreamingSink<RaftDone>,
) {
    let ended = take_all(&node, &caller, &mut stream).await;
    // The other side has gone when these fail.
    let _ = match ended {
        Ok(()) => sink.success(RaftDone::default()).await,
        Err(status) => sink.fail(status).await,
    };
}

async fn take_all<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    caller: &Caller,
    stream: &mut RequestStream<RaftBatch>,
) -> Result<(), RpcStatus> {
    let mut from = None;
    let mut opening = Opening::default();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| invalid(format!("the batch does not decode: {e}")))?;
        let sender = match from {
            Some(sender) if !batch.has_opening() => sender,
            None if batch.has_opening() => {
                let said = batch.get_opening();
                let sender = opening::check(node, caller, said)?;
                address::reached(node, sender, said.get_to_address())?;
                sender
            }
            Some(_) => return Err(invalid("a second opening".into())),
            None => return Err(opening::missing()),
        };
        from = Some(sender);
        if batch.has_opening() {
            opening = batch.get_opening().clone();
        }
        if node.network().is_lost(sender) {
            // A newcomer has no other way to its leader than this: when it did
            // not get through to it the first time, it tries again.
            let (peer_id, at) = (opening.get_from_peer_id(), opening.get_from_address());
            address::heard(node, sender, peer_id, at);
        }
        take_batch(node, sender, &batch)?;
    }
    Ok(())
}

/// Takes a batch of the peer `from`, whichever way it came: all that is judged of raft
/// messages before the gate of consensus is judged here.
pub(crate) fn take_batch<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    from: u64,
    batch: &RaftBatch,
) -> Result<(), RpcStatus> {
    let status = node.handle().status();
    if status.membership.removed.contains(&from) {
        return Err(opening::refuse(opening::removed_text(from)));
    }
    if batch.has_levels() {
        // The sender says it again if the inbox is full now.
        let _ = node
            .handle()
            .said_levels(from, levels::read(batch.get_levels()));
    }
    // A stream may have been opened before the level was raised.
    levels::check_said(&status, from, node.network().own().levels()).map_err(opening::refuse)?;
    if batch.has_disk() {
        node.network()
            .disk_admission()
            .heard(from, batch.get_disk());
    }
    if batch.has_sample() {
        // Before the messages: who is elected by them has measured the clock of the voter.
        let (handle, sample) = (node.handle(), clock_sample::read(batch.get_sample()));
        let measured = node
            .network()
            .clock_heard(from, &sample, handle.monotonic_ns());
        if let Some(measured) = measured {
            handle.clock_measured(from, measured);
        }
    }
    if batch.has_clock() {
        node.delivery().clock_heard(ClockReading {
            leader: from,
            term: batch.get_clock().get_term(),
            at_ns: batch.get_clock().get_at_ns(),
        });
    }
    if !batch.get_from_address().is_empty() {
        if let Some(member) = status.membership.members.get(&from) {
            address::heard(node, from, &member.peer_id, batch.get_from_address());
        }
    }
    if batch.get_messages().len() > limits::RAFT_BATCH_LEN_MAX {
        return Err(invalid(format!(
            "a batch has at most {} messages",
            limits::RAFT_BATCH_LEN_MAX
        )));
    }
    let me = node
        .network()
        .identity()
        .map_or(0, |identity| identity.raft_id);
    for bytes in batch.get_messages() {
        let message = parse(bytes, from, me)?;
        let metrics = node.network().metrics();
        if node.handle().message(from, message) {
            metrics.received.inc();
        } else {
            metrics.dropped.with_label_values(&["inbox_full"]).inc();
        }
    }
    Ok(())
}

/// Parses a message and checks that it is what this stream is for. What it says
/// to Raft is for the gate of consensus to judge.
pub(crate) fn parse(bytes: &[u8], from: u64, me: u64) -> Result<Message, RpcStatus> {
    let message = Message::parse_from_bytes(bytes)
        .map_err(|_| invalid("a message does not decode".into()))?;
    if message.get_from() != from {
        return Err(invalid(format!(
            "a message says it is from {}, but {from} opened the stream",
            message.get_from()
        )));
    }
    if message.get_to() != me {
        return Err(invalid(format!(
            "a message is for {}, but this peer is {me}",
            message.get_to()
        )));
    }
    if message.get_msg_type() == MessageType::MsgSnapshot {
        return Err(invalid("snapshots have a stream of their own".into()));
    }
    Ok(message)
}

pub(crate) fn invalid(message: String) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(from: u64, to: u64, kind: MessageType) -> Vec<u8> {
        let mut message = Message::default();
        message.set_from(from);
        message.set_to(to);
        message.set_msg_type(kind);
        message.write_to_bytes().unwrap()
    }

    #[test]
    fn only_messages_of_the_sender_for_this_peer_pass() {
        let heartbeat = MessageType::MsgHeartbeat;
        assert!(parse(&bytes(1, 2, heartbeat), 1, 2).is_ok());
        for hostile in [
            bytes(3, 2, heartbeat),
            bytes(1, 3, heartbeat),
            bytes(1, 2, MessageType::MsgSnapshot),
            b"\xff\xff\xff".to_vec(),
        ] {
            let refused = parse(&hostile, 1, 2).err().map(|status| status.code());
            assert_eq!(refused, Some(RpcStatusCode::INVALID_ARGUMENT));
        }
    }
}
