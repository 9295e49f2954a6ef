//! The trait of the way to other peers.

use raft::eraftpb::Message;

use crate::membership::Membership;

/// Sends raft messages. Never blocks, may drop: Raft repeats what matters.
///
/// A message of type `MsgSnapshot` carries metadata only; the transport streams
/// the snapshot of that position beside it and must report how it ended, by
/// [`Handle::snapshot_sent`](crate::Handle::snapshot_sent), or that follower
/// stays paused for good. Peers that cannot be reached are reported by
/// [`Handle::unreachable`](crate::Handle::unreachable).
pub trait Transport: Send + 'static {
    /// Queues messages, in order, each to the member `message.to`.
    fn send(&mut self, messages: Vec<Message>);

    /// The members changed: connect to these, drop all others.
    fn members(&mut self, membership: &Membership);
}
