//! The way to other peers: one stream per direction with batches of messages,
//! a bounded queue per peer, a lane for messages where there is one, and snapshots
//! beside it.

mod lane;
mod link;
mod snapshot_sender;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use raft::eraftpb::{Message, MessageType};
use z4_consensus::log::Position;
use z4_consensus::{Handle, Membership, Transport};
use z4_core::Outcome;

pub(crate) use self::link::Link;
use crate::network::Network;

/// Names the directory that holds the files of a snapshot that this peer made.
pub type SnapshotDir = Arc<dyn Fn(Position) -> PathBuf + Send + Sync>;

/// Sends raft messages over lanes and gRPC. Never blocks; drops and counts what
/// does not fit.
pub struct GrpcTransport {
    network: Network,
    handle: Handle<Outcome>,
    snapshot_dir: SnapshotDir,
    membership: Membership,
    links: HashMap<u64, Peer>,
}

struct Peer {
    link: Arc<Link>,
    /// Set while a snapshot is on its way there.
    snapshot: Arc<AtomicBool>,
}

impl GrpcTransport {
    /// A transport that knows no members yet.
    #[must_use]
    pub fn new(network: Network, handle: Handle<Outcome>, snapshot_dir: SnapshotDir) -> Self {
        Self {
            network,
            handle,
            snapshot_dir,
            membership: Membership::default(),
            links: HashMap::new(),
        }
    }

    /// The connection to a peer; `None` when nobody knows its address.
    fn peer(&mut self, to: u64) -> Option<&Peer> {
        let address = self.network.address(&self.membership, to)?;
        let moved = |peer: &Peer| peer.link.address() != address;
        if self.links.get(&to).is_some_and(moved) {
            self.drop_link(to);
        }
        let (network, handle) = (&self.network, &self.handle);
        Some(self.links.entry(to).or_insert_with(|| Peer {
            link: Link::open(network, handle, to, &address),
            snapshot: Arc::default(),
        }))
    }

    fn drop_link(&mut self, to: u64) {
        if let Some(peer) = self.links.remove(&to) {
            peer.link.close();
        }
    }

    /// Sends messages to one peer, in order.
    fn send_to(&mut self, to: u64, messages: Vec<Message>) {
        let Some(peer) = self.peer(to) else {
            for _ in messages {
                drop_counted(&self.network, "no_address");
            }
            return self.handle.unreachable(to);
        };
        peer.link.send(messages);
    }

    fn send_snapshot(&mut self, message: Message) {
        let to = message.get_to();
        let network = self.network.clone();
        let (handle, dir) = (self.handle.clone(), Arc::clone(&self.snapshot_dir));
        let Some(peer) = self.peer(to) else {
            drop_counted(&network, "no_address");
            handle.unreachable(to);
            return report_later(handle, to);
        };
        if peer.snapshot.swap(true, Ordering::AcqRel) {
            drop_counted(&network, "snapshot_under_way");
            return report_later(handle, to);
        }
        let address = peer.link.address().to_owned();
        let under_way = snapshot_sender::UnderWay::new(handle, to, Arc::clone(&peer.snapshot));
        snapshot_sender::start(network, under_way, address, dir, message);
    }
}

fn drop_counted(network: &Network, reason: &str) {
    network.metrics().dropped.with_label_values(&[reason]).inc();
}

/// Reports a snapshot that was not even begun. Not from the raft thread itself,
/// which would wait for room in its own inbox.
fn report_later(handle: Handle<Outcome>, to: u64) {
    let reporting = std::thread::Builder::new()
        .name("z4-snap-report".into())
        .spawn(move || handle.snapshot_sent(to, false));
    // Without a thread nothing is reported: that follower is asked again when
    // the leader changes.
    drop(reporting);
}

impl Transport for GrpcTransport {
    fn send(&mut self, messages: Vec<Message>) {
        // What goes to one peer in one round goes together.
        let mut by_peer: Vec<(u64, Vec<Message>)> = Vec::new();
        for message in messages {
            let to = message.get_to();
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.send_snapshot(message);
                continue;
            }
            match by_peer.iter_mut().find(|(peer, _)| *peer == to) {
                Some((_, together)) => together.push(message),
                None => by_peer.push((to, vec![message])),
            }
        }
        for (to, messages) in by_peer {
            self.send_to(to, messages);
        }
    }

    fn members(&mut self, membership: &Membership) {
        self.membership = membership.clone();
        self.network.members(membership);
        let me = self
            .network
            .identity()
            .map_or(0, |identity| identity.raft_id);
        // A peer that was removed learns of it from the end of its own streams.
        let gone: Vec<u64> = self
            .links
            .keys()
            .filter(|id| !membership.members.contains_key(id) && membership.removed.contains(id))
            .copied()
            .collect();
        for id in gone {
            self.drop_link(id);
        }
        for id in membership.members.keys().filter(|id| **id != me) {
            // Connects ahead of the first message.
            let _ = self.peer(*id);
        }
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        for peer in self.links.values() {
            peer.link.close();
        }
    }
}
