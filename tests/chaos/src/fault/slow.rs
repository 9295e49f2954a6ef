//! Consumers that take tasks and never read them: their streams are not written
//! beyond what was asked for, memory stays bounded, and the others get theirs.

use std::time::Duration;

use futures::executor::block_on;
use futures::SinkExt;
use grpcio::{CallOption, WriteFlags};
use z4_e2e::client::{option, Client};
use z4_e2e::request::{create, Edit};
use z4_proto::generated::admin::DeleteNamespaceRequest;
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    CreateTasksRequest, StreamTasksRequest,
};

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "consumers that never read",
    weight: 1,
    run,
}];

/// A namespace of its own: nobody else is to wait for these tasks.
const NAMESPACE: &str = "never-read";
/// Streams that are not read.
const STREAMS: usize = 60;
/// Tasks, and bytes of each.
const TASKS: usize = 400;
const TASK_LEN: usize = 100 * 1024;
/// How much more memory a peer may hold meanwhile, in MiB: what the streams may
/// have in flight, caches of the stores, and room.
const GROWTH_MAX_MIB: u64 = 700;

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let leader = stage.cluster.leader()?;
    let from_ns = stage.now_ns();
    let client = stage.cluster.peers[leader].client().clone();
    let memory = |stage: &Stage<'_>| stage.cluster.peers[leader].memory_mib();
    let before = memory(stage);
    // A channel that is not read holds up all its streams: one each.
    let streams: Vec<_> = (0..STREAMS).map(|n| open(&client.address, n)).collect();
    let opened = streams.iter().flatten().count();
    let mut made = 0;
    for first in (0..TASKS).step_by(20) {
        let task = |n| create(NAMESPACE, vec![b'x'; TASK_LEN]).label("n", format!("{n}"));
        let mut batch = CreateTasksRequest::new();
        batch.set_namespace(NAMESPACE.to_owned());
        batch.set_tasks((first..first + 20).map(task).collect());
        let limit = option(Duration::from_secs(5));
        let answer = client.collection.create_tasks_opt(&batch, limit);
        made += if answer.is_ok() { 20 } else { 0 };
    }
    stage.hold(3_000..6_000);
    let after = memory(stage);
    drop(streams);
    let mut delete = DeleteNamespaceRequest::new();
    delete.set_name(NAMESPACE.to_owned());
    let _ = client
        .admin
        .delete_namespace_opt(&delete, option(Duration::from_secs(5)));
    let id = stage.cluster.peers[leader].id();
    if after > before + GROWTH_MAX_MIB {
        return Err(format!(
            "slow consumers took {id} from {before} to {after} MiB"
        ));
    }
    let seen = format!("{opened} streams not read, {made} tasks, {before} to {after} MiB at {id}");
    Ok(Done::from_start(
        from_ns,
        (opened > 0 && made > 0).then_some(seen),
    ))
}

/// What keeps a stream open.
type Stream = Box<dyn std::any::Any>;

fn open(address: &str, n: usize) -> Option<Stream> {
    let client = Client::new(address);
    if n.is_multiple_of(2) {
        let mut request = StreamTasksRequest::new();
        request.set_namespace(NAMESPACE.to_owned());
        let receiver = client
            .collection
            .get_task_stream_opt(&request, CallOption::default());
        return Some(Box::new((receiver.ok()?, client)));
    }
    let (mut sender, receiver) = client.collection.consume_opt(CallOption::default()).ok()?;
    let mut credit = ConsumeCredit::new();
    credit.set_max_in_flight(10_000);
    credit.set_max_in_flight_bytes(64 << 20);
    let mut open = ConsumeOpen::new();
    open.set_namespace(NAMESPACE.to_owned());
    open.set_credit(credit);
    let mut message = ConsumeRequest::new();
    message.message = Some(Say::open(open));
    block_on(sender.send((message, WriteFlags::default()))).ok()?;
    Some(Box::new((sender, receiver, client)))
}
