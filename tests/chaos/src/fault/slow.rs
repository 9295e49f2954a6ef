//! Consumers that take tasks and never read them. A peer writes to their streams
//! what was asked for at most, and holds no more than a part of it; memory stays
//! bounded, and one who works well gets all that the others may not have.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::SinkExt;
use grpcio::{CallOption, WriteFlags};
use z4_e2e::client::{option, Client};
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::request::create;
use z4_proto::generated::admin::DeleteNamespaceRequest;
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    ConsumeResponse_oneof_message as Heard, CreateTasksRequest, LeaseRef, StreamTasksRequest,
};

use super::{Done, Kind, Stage};
use z4_e2e::life::work::calls;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "consumers that never read",
    weight: 1,
    run,
}];

/// Tasks that are due, and bytes of each: 625 MiB.
const TASKS: usize = 6_400;
const TASK_LEN: usize = 100 * 1024;
/// Tasks of one create: 6 MiB.
const BATCH: usize = 60;
/// How long they may take to be made, and how many must be for the fault to
/// count: more than memory may grow by, and more than the others may have.
const MAKE_LIMIT: Duration = Duration::from_secs(45);
const TASKS_MIN: usize = 5_400;
/// Streams that acknowledge by themselves, and what one of them may hold: as many
/// as `z4_rpc` gives credit for.
const PLAIN: usize = 4;
const PLAIN_CREDIT: usize = 256;
/// Streams of conversations, and what one of them asks for, in tasks and bytes. All
/// that is asked for together is 520 MiB.
const TALKS: usize = 12;
const TALK_CREDIT: usize = 350;
const TALK_BYTES: u64 = 64 << 20;
/// How long the leases of these are: nobody else gets what they hold.
const LEASE: Duration = Duration::from_secs(120);
/// How much more memory a peer may hold meanwhile, in MiB: 4 for each stream, 128
/// for the cache of its stores, and room. Half of what is asked for.
const GROWTH_MAX_MIB: u64 = 270;
/// How long the one that reads may take for what is there for it.
const READ_LIMIT: Duration = Duration::from_secs(60);

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let leader = stage.cluster.leader()?;
    let from_ns = stage.now_ns();
    // A namespace of its own: nobody else is to wait for these tasks.
    let namespace = format!("never-read-{from_ns}");
    let client = stage.cluster.peers[leader].client().clone();
    let made = make(&client, &namespace);
    // What is stored is in caches and buffers by now; the streams come on top.
    let before = memory(stage);
    // A channel that is not read holds up all its streams: one each.
    let streams: Vec<_> = (0..PLAIN + TALKS)
        .map(|n| open(&client.address, &namespace, n))
        .collect();
    let opened = streams.iter().flatten().count();
    let theirs = PLAIN * PLAIN_CREDIT + TALKS * TALK_CREDIT;
    let due = made.saturating_sub(theirs);
    let (read, after) = watch(stage, &client.address, &namespace, due);
    drop(streams);
    let mut delete = DeleteNamespaceRequest::new();
    delete.set_name(namespace);
    let limit = option(Duration::from_secs(5));
    let _ = client.admin.delete_namespace_opt(&delete, limit);
    let growth = before.iter().zip(&after);
    let growth = growth.map(|(before, after)| after.saturating_sub(*before));
    let growth = growth.max().unwrap_or(0);
    let said = format!(
        "{made} tasks of {} KiB, {opened} streams not read, {read} tasks read by another, \
         {before:?} to {after:?} MiB",
        TASK_LEN / 1024
    );
    if growth > GROWTH_MAX_MIB {
        return Err(format!("consumers that do not read cost memory: {said}"));
    }
    if read < due {
        return Err(format!("the one that reads is to have {due}: {said}"));
    }
    let acts = opened == PLAIN + TALKS && made >= TASKS_MIN;
    Ok(Done::from_start(from_ns, acts.then_some(said)))
}

/// Makes the tasks; how many.
fn make(client: &Client, namespace: &str) -> usize {
    let end = Instant::now() + MAKE_LIMIT;
    let mut made = 0;
    while made < TASKS && Instant::now() < end {
        let mut batch = CreateTasksRequest::new();
        batch.set_namespace(namespace.to_owned());
        let task = |_| create(namespace, vec![b'x'; TASK_LEN]);
        batch.set_tasks((0..BATCH).map(task).collect());
        let limit = option(Duration::from_secs(5));
        match client.collection.create_tasks_opt(&batch, limit) {
            Ok(_) => made += BATCH,
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
    made
}

/// Resident memory of each member, in MiB.
fn memory(stage: &Stage<'_>) -> Vec<u64> {
    let members = stage.cluster.members().into_iter();
    members
        .map(|n| stage.cluster.peers[n].memory_mib())
        .collect()
}

/// Reads `due` tasks while the others hold theirs, and looks at memory all the
/// time: how many were read, and the most that each member had.
fn watch(stage: &Stage<'_>, address: &str, namespace: &str, due: usize) -> (usize, Vec<u64>) {
    let is_over = AtomicBool::new(false);
    let mut most = memory(stage);
    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let read = read(address, namespace, due);
            // What the others asked for has come as far as it will.
            thread::sleep(Duration::from_secs(3));
            is_over.store(true, Ordering::Relaxed);
            read
        });
        while !is_over.load(Ordering::Relaxed) && !reader.is_finished() {
            for (most, now) in most.iter_mut().zip(memory(stage)) {
                *most = now.max(*most);
            }
            thread::sleep(Duration::from_millis(100));
        }
        reader.join().unwrap_or(0)
    });
    (read, most)
}

/// A consumer that takes a task, says that it is done, and takes the next; how
/// many it had.
fn read(address: &str, namespace: &str, due: usize) -> usize {
    let client = Client::new(address);
    let opened = Conversation::open(&client, namespace, "reads", 50, LEASE);
    let Ok(mut conversation) = opened else {
        return 0;
    };
    let mut had = BTreeSet::new();
    let end = Instant::now() + READ_LIMIT;
    while had.len() < due && Instant::now() < end {
        match conversation.listen(Duration::from_millis(200)) {
            Listened::Heard(Heard::delivery(delivery)) => {
                let id = delivery.get_task().get_id().to_owned();
                let mut lease = LeaseRef::new();
                lease.set_task_id(id.clone());
                lease.set_lease_token(delivery.get_lease_token());
                conversation.say(Say::ack(lease));
                had.insert(id);
            }
            Listened::Heard(_) | Listened::Nothing => {}
            Listened::Ended => break,
        }
    }
    conversation.hang_up();
    had.len()
}

/// What keeps a stream open.
type Stream = Box<dyn std::any::Any>;

fn open(address: &str, namespace: &str, n: usize) -> Option<Stream> {
    let client = Client::new(address);
    if n < PLAIN {
        let mut request = StreamTasksRequest::new();
        request.set_namespace(namespace.to_owned());
        let receiver = client
            .collection
            .get_task_stream_opt(&request, CallOption::default());
        return Some(Box::new((receiver.ok()?, client)));
    }
    let (mut sender, receiver) = client.collection.consume_opt(CallOption::default()).ok()?;
    let mut credit = ConsumeCredit::new();
    credit.set_max_in_flight(u32::try_from(TALK_CREDIT).ok()?);
    credit.set_max_in_flight_bytes(TALK_BYTES);
    let mut open = ConsumeOpen::new();
    open.set_namespace(namespace.to_owned());
    open.set_credit(credit);
    open.set_lease(calls::span(LEASE));
    let mut message = ConsumeRequest::new();
    message.message = Some(Say::open(open));
    block_on(sender.send((message, WriteFlags::default()))).ok()?;
    Some(Box::new((sender, receiver, client)))
}
