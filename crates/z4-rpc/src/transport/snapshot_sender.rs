//! A snapshot on its way out, on a thread of its own: it reads files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use futures::executor::block_on;
use futures::SinkExt;
use grpcio::{ClientCStreamSender, WriteFlags};
use protobuf::Message as _;
use raft::eraftpb::Message;
use z4_consensus::fault::point;
use z4_consensus::level::LEVEL_FIRST;
use z4_consensus::log::Position;
use z4_consensus::Handle;
use z4_core::Outcome;
use z4_proto::generated::peer::{SnapshotChunk, SnapshotFile, SnapshotHeader, SnapshotPart};
use z4_proto::generated::peer_grpc::PeerClient;

use super::SnapshotDir;
use crate::limits;
use crate::network::Network;

/// Reports how the transfer ended, once, whatever happens: a follower whose
/// snapshot is not reported stays paused for good.
pub(super) struct UnderWay {
    handle: Handle<Outcome>,
    to: u64,
    ok: bool,
    flag: Arc<AtomicBool>,
}

impl UnderWay {
    pub(super) fn new(handle: Handle<Outcome>, to: u64, flag: Arc<AtomicBool>) -> Self {
        Self {
            handle,
            to,
            ok: false,
            flag,
        }
    }

    /// Says why the receiver cannot read the snapshot, if so: its binary may be older than the
    /// level of the cluster, and it may say nothing about that where the stream is opened.
    fn is_read(&self) -> Result<(), String> {
        let (status, to) = (self.handle.status(), self.to);
        let level = status.membership.level;
        match status.said_levels.get(&to) {
            Some(said) if said.levels.max >= level => Ok(()),
            Some(said) => Err(format!(
                "raft id {to} knows the levels {} and the cluster has level {level}",
                said.levels
            )),
            None if level <= LEVEL_FIRST => Ok(()),
            None => Err(format!("raft id {to} has not said which levels it knows")),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.flag.store(false, Ordering::Release);
        self.handle.snapshot_sent(self.to, self.ok);
    }
}

/// Starts to send.
pub(super) fn start(
    network: Network,
    under_way: UnderWay,
    address: String,
    dir: SnapshotDir,
    message: Message,
) {
    let spawned = std::thread::Builder::new()
        .name("z4-snap-out".into())
        .spawn(move || {
            // The closure takes it whole: if it took single fields, the rest would be
            // dropped here and report a failure.
            let mut under_way = under_way;
            let metadata = message.get_snapshot().get_metadata();
            let position = Position {
                index: metadata.get_index(),
                term: metadata.get_term(),
            };
            let result = under_way
                .is_read()
                .and_then(|()| send(&network, under_way.to, &address, &dir(position), &message));
            under_way.ok = result.is_ok();
            let label = if result.is_ok() { "ok" } else { "failed" };
            network
                .metrics()
                .snapshots_sent
                .with_label_values(&[label])
                .inc();
            match result {
                Ok(()) => slog::info!(network.logger(), "snapshot sent";
                    "to" => under_way.to, "index" => position.index),
                Err(why) => slog::warn!(network.logger(), "snapshot not sent";
                    "to" => under_way.to, "index" => position.index, "reason" => why),
            }
        });
    // Without a thread the closure is dropped, which reports the failure.
    drop(spawned);
}

type Sender = ClientCStreamSender<SnapshotPart>;

fn send(
    network: &Network,
    to: u64,
    address: &str,
    dir: &Path,
    message: &Message,
) -> Result<(), String> {
    point("snapshot.send").map_err(|fault| fault.0)?;
    let files = list(dir)?;
    let mut header = SnapshotHeader::default();
    header.set_opening(
        network
            .opening(to, address)
            .ok_or("this peer is in no cluster")?,
    );
    header.set_message(message.write_to_bytes().map_err(|e| e.to_string())?);
    header.set_files(files.clone().into());
    let client = PeerClient::new(network.channel(address));
    let (mut sender, receiver) = client.snapshot().map_err(|e| e.to_string())?;
    let sent = send_parts(network, &mut sender, header, dir, &files);
    // The status says more than a broken stream does.
    let answer = block_on(network.timer().within(limits::SNAPSHOT_STALL, receiver));
    match (sent, answer) {
        (Ok(()), Some(Ok(_))) => Ok(()),
        (_, Some(Err(error))) => Err(error.to_string()),
        (Err(why), _) => Err(why),
        (Ok(()), None) => Err("the receiver did not answer in time".into()),
    }
}

fn send_parts(
    network: &Network,
    sender: &mut Sender,
    header: SnapshotHeader,
    dir: &Path,
    files: &[SnapshotFile],
) -> Result<(), String> {
    let mut part = SnapshotPart::default();
    part.set_header(header);
    write(network, sender, part)?;
    let bytes = network
        .metrics()
        .snapshot_bytes
        .with_label_values(&["sent"]);
    for (place, file) in files.iter().enumerate() {
        let path = dir.join(file.get_name());
        let mut open = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut offset = 0;
        while offset < file.get_size_bytes() {
            let left = file.get_size_bytes() - offset;
            let len = left.min(limits::SNAPSHOT_CHUNK_LEN as u64) as usize;
            let mut data = vec![0; len];
            open.read_exact(&mut data)
                .map_err(|e| format!("{}: {e}", path.display()))?;
            let mut chunk = SnapshotChunk::default();
            chunk.set_file(place as u32);
            chunk.set_offset_bytes(offset);
            chunk.set_crc32c(crc32c::crc32c(&data));
            chunk.set_data(data);
            let mut part = SnapshotPart::default();
            part.set_chunk(chunk);
            write(network, sender, part)?;
            offset += len as u64;
            bytes.inc_by(len as u64);
        }
    }
    let closed = block_on(
        network
            .timer()
            .within(limits::SNAPSHOT_STALL, sender.close()),
    );
    match closed {
        Some(closed) => closed.map_err(|e| e.to_string()),
        None => Err("the receiver took nothing for too long".into()),
    }
}

fn write(network: &Network, sender: &mut Sender, part: SnapshotPart) -> Result<(), String> {
    let sending = sender.send((part, WriteFlags::default()));
    match block_on(network.timer().within(limits::SNAPSHOT_STALL, sending)) {
        Some(sent) => sent.map_err(|e| e.to_string()),
        None => Err("the receiver took nothing for too long".into()),
    }
}

/// The files of the snapshot, by name. What is not a plain file has no place in
/// one.
fn list(dir: &Path) -> Result<Vec<SnapshotFile>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|n| format!("{}: {n:?} is not a plain name", dir.display()))?;
        if !metadata.is_file() {
            return Err(format!("{}: {name} is not a file", dir.display()));
        }
        let mut file = SnapshotFile::default();
        file.set_name(name);
        file.set_size_bytes(metadata.len());
        files.push(file);
    }
    files.sort_by(|a, b| a.get_name().cmp(b.get_name()));
    Ok(files)
}
