//! Private decoders of outside bytes, opened for the fuzz targets. Not part of
//! the API: built with the feature `fuzzing` alone.

use std::io::Read;
use std::path::PathBuf;

use grpcio::RpcStatus;
use raft::eraftpb::Message;
use z4_consensus::assembly::Answer;
use z4_consensus::{Identity, Levels, Membership};
use z4_core::command::{Due, NamespacePatch};
use z4_core::{Namespace, Refusal, TaskId};
use z4_delivery::Said;
use z4_proto::generated::admin::NamespaceSettings;
use z4_proto::generated::collection::{
    ConsumeOpen, ConsumeRequest, Extend, LeaseRef, LeaseTasksRequest, ListTasksRequest, Nack,
    PurgeTasksRequest, RedriveTasksRequest, RescheduleTaskRequest,
};
use z4_proto::generated::peer::{Opening, ProbeReply, SnapshotChunk, SnapshotHeader};

use crate::delivery::consume::{messages, opening as consuming};
use crate::delivery::lease as leasing;
use crate::lane::frame::{self, Kind};
use crate::lane::frames::Frames;
use crate::levels;
use crate::peer::{assemble, opening, raft_stream, snapshot_files, snapshot_receiver};
use crate::validate::{self, Token};

/// Whether a stream may be opened so.
pub fn opening(
    opening: &Opening,
    identity: &Identity,
    membership: &Membership,
) -> Result<(), RpcStatus> {
    opening::check_against(opening, identity, membership)?;
    let own = Levels { min: 1, max: 2 };
    levels::check(opening, own, membership.level).map_err(opening::refuse)
}

/// The answer of a peer that was dialled, as the rules of assembly take it.
pub fn probe_answer(reply: &ProbeReply) -> Answer {
    assemble::answer_of(reply)
}

/// A message of a batch.
pub fn raft_message(bytes: &[u8], from: u64, me: u64) -> Result<Message, RpcStatus> {
    raft_stream::parse(bytes, from, me)
}

/// The frames that come on a lane whose bodies have at most so many bytes: the number of
/// the kind and the body of each, until the source ends or something is refused, and
/// why it ended.
pub fn lane_frames(source: impl Read, body_len_max: usize) -> (Vec<(u8, Vec<u8>)>, String) {
    let (mut frames, mut found) = (Frames::new(source), Vec::new());
    loop {
        match frames.next(body_len_max) {
            Ok((kind, body)) => found.push((kind as u8, body.to_owned())),
            Err(ended) => return (found, ended.to_string()),
        }
    }
}

/// A frame of a lane with a batch in it.
pub fn lane_batch(body: &[u8]) -> Option<Vec<u8>> {
    frame::encode(Kind::Batch, body)
}

/// The sender of a hello.
pub fn lane_hello(body: &[u8]) -> Option<u64> {
    crate::lane::read_hello(body).map(|(from, _)| from)
}

/// Receives a snapshot into `dir`: header, chunks, end.
pub fn snapshot(
    dir: PathBuf,
    mut header: SnapshotHeader,
    chunks: &[SnapshotChunk],
    (from, me): (u64, u64),
) -> Result<(), RpcStatus> {
    let message = snapshot_receiver::message_of(&header, from, me);
    let files = header.take_files().into_vec();
    let mut incoming = snapshot_files::Incoming::begin(dir, files)?;
    for chunk in chunks {
        incoming.chunk(chunk)?;
    }
    incoming.finish()?;
    message.map(drop)
}

/// A listing: the place where it begins, and the token of that place.
pub fn list(request: &ListTasksRequest) -> Result<((u64, TaskId), String), Refusal> {
    let ask = validate::list(request)?;
    Ok((ask.from, ask.token(ask.from)))
}

/// The token of a place, and what it reads back as.
pub fn token(listing: &[u8], place: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let token = Token::of(&[listing]);
    token.read(&token.write(place))
}

/// What a token is read as.
pub fn read_token(listing: &[u8], token: &str) -> Result<Option<Vec<u8>>, Refusal> {
    Token::of(&[listing]).read(token)
}

/// The ids of a redrive.
pub fn redrive(request: &RedriveTasksRequest) -> Result<Vec<TaskId>, Refusal> {
    validate::redrive(request).map(|ask| ask.ids)
}

/// The ids of a purge.
pub fn purge(request: &PurgeTasksRequest) -> Result<Vec<TaskId>, Refusal> {
    validate::purge(request).map(|ask| ask.ids)
}

/// A task, and the time it is moved to.
pub fn reschedule(request: &RescheduleTaskRequest) -> Result<(Namespace, TaskId, Due), Refusal> {
    let (namespace, id) = validate::task_of(&request.namespace, &request.task_id)?;
    Ok((namespace, id, validate::reschedule_due(request)?))
}

/// Whether an ack can be asked for.
pub fn ack(lease: LeaseRef) -> bool {
    crate::delivery::lease_asks::ack(lease).is_ok()
}

/// Whether a nack can be asked for.
pub fn nack(nack: Nack) -> bool {
    crate::delivery::lease_asks::nack(nack).is_ok()
}

/// Whether an extend can be asked for.
pub fn extend(extend: Extend) -> bool {
    crate::delivery::lease_asks::extend(extend).is_ok()
}

/// Whether a consumer may call itself so.
pub fn consumer_id(id: &str) -> Result<(), Refusal> {
    z4_delivery::consumer_id::check(id)
}

/// New settings of a namespace.
pub fn patch(settings: &NamespaceSettings, mask: &[String]) -> Result<NamespacePatch, Refusal> {
    crate::admin::namespaces::settings::patch(settings, mask)
}

/// What a request for leases asks: tasks, and spans in milliseconds.
pub fn lease_tasks(request: &LeaseTasksRequest) -> Result<(u32, u64, u64), Refusal> {
    let asks = leasing::fields_of(request)?;
    Ok((asks.tasks, asks.wait_ms, asks.lease_ms))
}

/// What an opening of Consume asks: tasks and bytes in flight, and the lease in
/// milliseconds.
pub fn consume_open(open: &ConsumeOpen) -> Result<(u64, u64, u64), Refusal> {
    let asks = consuming::fields_of(open)?;
    Ok((asks.in_flight_max, asks.bytes_max, asks.lease_ms))
}

/// A message of Consume behind the first: whether it can be asked, or why not.
pub fn consume_said(request: ConsumeRequest) -> Result<bool, Refusal> {
    match messages::check(request) {
        messages::Heard::Said(Said::Credit(tasks, bytes)) => Ok(tasks.is_some() || bytes.is_some()),
        messages::Heard::Said(_) => Ok(true),
        messages::Heard::Invalid(..) => Ok(false),
        messages::Heard::Refused(refusal) => Err(refusal),
    }
}
