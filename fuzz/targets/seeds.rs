//! Writes the corpus that the targets begin with, into the folder named by
//! `Z4_FUZZ_SEEDS`: a few good inputs for each, made by the encoders. Not fuzzed
//! itself; a target like the others because it is linked like them.
//! `scripts/fuzz seeds` runs it.
#![no_main]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use protobuf::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use z4_backup::{Header, Writer};
use z4_consensus::proposals::Envelope;
use z4_consensus::{Change, Identity, Levels, Membership};
use z4_core::state::RowKey;
use z4_core::walk::Walk;
use z4_core::{Machine, MemState, Outcome, State, TaskId, View};
use z4_proto::generated::{collection as wire, peer};
use z4_proto::{encode_command, encode_outcome, encode_row, keys};

/// Inputs of one target that the walk gives, at most.
const EACH_MAX: usize = 24;

fuzz_target!(
    init: {
        if let Some(root) = std::env::var_os("Z4_FUZZ_SEEDS") {
            write_all(Path::new(&root));
            std::process::exit(0);
        }
    },
    |_bytes: &[u8]| {}
);

fn put(root: &Path, target: &str, name: &str, bytes: &[u8]) {
    let dir = root.join(target);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(name), bytes).unwrap();
}

fn write_all(root: &Path) {
    walk(root);
    members(root);
    frames(root);
    requests(root);
    consumers(root);
    texts(root);
    // Decisions: long enough to get somewhere.
    for seed in 1..=12_u32 {
        let mut state = seed.wrapping_mul(0x9e37_79b9);
        let bytes: Vec<u8> = (0..600)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as u8
            })
            .collect();
        for target in ["machine", "replica"] {
            let mut bytes = bytes.clone();
            // One for each seat.
            bytes[0] = (seed * 43) as u8;
            put(root, target, &format!("chance-{seed}"), &bytes);
        }
    }
}

/// Commands, outcomes, entries and rows of a random walk: one of each kind.
fn walk(root: &Path) {
    let mut walk = Walk::new(3);
    let mut machine = Machine::open(MemState::new()).unwrap();
    let mut entries = Vec::new();
    let mut kinds = std::collections::BTreeSet::new();
    for index in 2..600 {
        let (stamp_ns, commands) = walk.step();
        let outcomes = machine
            .apply_entry(index, stamp_ns, commands.clone(), &mut Vec::new())
            .unwrap();
        walk.learn(&commands, &outcomes);
        for (command, outcome) in commands.iter().zip(&outcomes) {
            let kind = (
                format!("{:?}", std::mem::discriminant(command)),
                matches!(outcome, Outcome::Refused(_)),
            );
            let bytes = encode_command(command);
            if kinds.insert(kind) && bytes.len() < 2_000 {
                put(root, "command", &format!("walk-{index}"), &bytes);
                put(
                    root,
                    "outcome",
                    &format!("walk-{index}"),
                    &encode_outcome(outcome),
                );
            }
        }
        let commands: Vec<_> = commands.iter().map(encode_command).collect();
        let envelope = Envelope { stamp_ns, commands }.encode();
        if envelope.len() < 1_000 {
            entries.push(envelope);
        }
    }
    for (at, run) in entries.chunks(8).take(EACH_MAX).enumerate() {
        put(root, "envelope", &format!("walk-{at}"), &run[0]);
        let behind = |bytes: &Vec<u8>| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let bytes: Vec<u8> = run.iter().flat_map(behind).collect();
        put(root, "entry", &format!("walk-{at}"), &bytes);
    }
    let log_entry = Entry {
        index: 7,
        term: 3,
        ..Entry::default()
    };
    put(
        root,
        "entry",
        "log-entry",
        &log_entry.write_to_bytes().unwrap(),
    );
    rows(root, machine.state());
}

fn rows(root: &Path, state: &(impl State + View)) {
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    let mut before = Vec::new();
    let header = Header {
        level: 2,
        ..Header::default()
    };
    let mut backup = Writer::new(Vec::new(), header).unwrap();
    let mut visit = |key: RowKey, row| {
        let count = seen
            .entry(format!("{:?}", std::mem::discriminant(&key)))
            .or_default();
        *count += 1;
        if *count <= 3 {
            backup.row(&key, &row).unwrap();
            let bytes = keys::encode(&key);
            let len = [bytes.len() as u8];
            let name = format!("{:02x}-{count}", bytes[0]);
            put(
                root,
                "row",
                &name,
                &[&len[..], &bytes, &encode_row(&row)].concat(),
            );
            let two = [&[before.len() as u8][..], &before, &bytes].concat();
            put(root, "key", &name, &two);
            before = bytes;
        }
        true
    };
    state.scan(&RowKey::Meta, &RowKey::End, &mut visit).unwrap();
    let (file, _) = backup.finish().unwrap();
    assert!(z4_backup::fuzzing::file(&file, false).is_ok());
    put(root, "backup", "file", &[&[0][..], &file].concat());
    let sealed = z4_backup::fuzzing::unsealed(&file);
    assert!(z4_backup::fuzzing::file(&sealed, true).is_ok());
    put(root, "backup", "sealed", &[&[1][..], &sealed].concat());
}

fn members(root: &Path) {
    let identity = Identity {
        cluster_id: [7; 16],
        raft_id: 1,
        peer_id: "a".into(),
    };
    let mut members = Membership::bootstrap(&identity, "a:1");
    let add = |raft_id, levels| Change::AddLearner {
        raft_id,
        peer_id: format!("b{raft_id}"),
        address: format!("b{raft_id}:1"),
        levels,
    };
    let changes = [
        add(2, None),
        Change::Promote { raft_id: 2 },
        Change::SetAddresses([(1, "b:1".into()), (2, "a:1".into())].into()),
        Change::Remove { raft_id: 2 },
        Change::SetLevel(2),
        add(3, Some(Levels { min: 1, max: 2 })),
    ];
    for (at, change) in changes.iter().enumerate() {
        let first = members.encode();
        let bytes = [
            &[first.len() as u8][..],
            &first,
            &change.encode(members.level),
        ]
        .concat();
        put(root, "membership", &format!("change-{at}"), &bytes);
        members.change(change).unwrap();
    }
    // Version, cluster, then numbers; the checksum is put by the target.
    let bound = [&[1, 1, 5][..], &[7; 16], &[1, 3, 2, 40, 3]].concat();
    let identity = [&[1, 1][..], &[7; 16], &[1, 1, b'a', 1, 3], b"a:1"].concat();
    let list = vec![1, 1, 5, 60];
    for (name, bytes) in [("bound", bound), ("identity", identity), ("list", list)] {
        put(root, "small_file", name, &bytes);
    }
    put(root, "small_file", "state", b"\0state-40-3-2");
    put(
        root,
        "small_file",
        "cut",
        &[&[0][..], &[0; 7], &[40], &[0; 7], &[3]].concat(),
    );
}

fn frames(root: &Path) {
    let mut opening = peer::Opening::default();
    opening.set_cluster_id(vec![7; 16]);
    opening.set_from_raft_id(2);
    opening.set_from_peer_id("b".into());
    opening.set_to_raft_id(1);
    opening.set_protocol_version(2);
    opening.set_from_address("b:1".into());
    for kind in [
        MessageType::MsgAppend,
        MessageType::MsgHeartbeat,
        MessageType::MsgRequestVote,
        MessageType::MsgReadIndex,
        MessageType::MsgAppendResponse,
    ] {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.from, message.to, message.term) = (2, 1, 3);
        (message.index, message.log_term, message.commit) = (20, 3, 20);
        let entry = Entry {
            index: 21,
            term: 3,
            ..Entry::default()
        };
        message.set_entries(vec![entry].into());
        let mut batch = peer::RaftBatch::default();
        batch.set_opening(opening.clone());
        batch.mut_messages().push(message.write_to_bytes().unwrap());
        let bytes = batch.write_to_bytes().unwrap();
        put(root, "peer_frame", &format!("{kind:?}"), &bytes);
        // As the body of a frame, and as a frame with more behind it.
        put(root, "lane", &format!("{kind:?}"), &bytes);
        let frame = z4_rpc::fuzzing::lane_batch(&bytes).unwrap();
        put(root, "lane", &format!("frame-{kind:?}"), &frame.repeat(2));
    }
    let mut reply = peer::ProbeReply::default();
    reply.set_peer_id("b".into());
    reply.set_address("b:1".into());
    reply.set_join(vec!["a:1".to_owned(), "b:1".to_owned()].into());
    reply.set_expect(2);
    put(root, "peer_frame", "probe", &reply.write_to_bytes().unwrap());
    let mut request = peer::ForwardRequest::default();
    request.set_id(1);
    let mut asks = vec![("opening", request.clone()), ("proposal", request.clone())];
    asks[0].1.set_opening(opening.clone());
    asks[1]
        .1
        .mut_proposal()
        .set_command(encode_command(&z4_core::Command::Pulse));
    for (name, ask) in asks {
        put(root, "peer_frame", name, &ask.write_to_bytes().unwrap());
    }
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgSnapshot);
    (message.from, message.to, message.term) = (2, 1, 3);
    let metadata = message.mut_snapshot().mut_metadata();
    (metadata.index, metadata.term) = (40, 3);
    let mut header = peer::SnapshotHeader::default();
    header.set_opening(opening);
    header.set_message(message.write_to_bytes().unwrap());
    let mut parts = Vec::new();
    for (name, size_bytes) in [("empty", 0), ("CURRENT", 5), ("a.sst", 3)] {
        let mut file = peer::SnapshotFile::default();
        file.set_name(name.into());
        file.set_size_bytes(size_bytes);
        header.mut_files().push(file);
    }
    let mut part = peer::SnapshotPart::default();
    part.set_header(header);
    parts.push(part);
    for (file, offset_bytes, data) in [(1, 0, &b"he"[..]), (1, 2, b"llo"), (2, 0, b"abc")] {
        let mut part = peer::SnapshotPart::default();
        part.mut_chunk().set_file(file);
        part.mut_chunk().set_offset_bytes(offset_bytes);
        part.mut_chunk().set_data(data.to_vec());
        part.mut_chunk().set_crc32c(1);
        parts.push(part);
    }
    for count in 1..=parts.len() {
        let mut bytes = Vec::new();
        for part in &parts[..count] {
            part.write_length_delimited_to_vec(&mut bytes).unwrap();
        }
        put(root, "snapshot", &format!("parts-{count}"), &bytes);
    }
}

fn requests(root: &Path) {
    let id = TaskId::new(1_700_000_000_000_000_000, 7, 3).to_string();
    let kind = |kind: u8, message: &dyn protobuf::Message| {
        let bytes = message.write_to_bytes().unwrap();
        put(
            root,
            "request",
            &format!("kind-{kind}"),
            &[&[kind][..], &bytes].concat(),
        );
    };
    let mut create = wire::CreateTaskRequest::default();
    create.set_namespace("jobs".into());
    create.set_request_id("r-1".into());
    create.mut_metadata().insert("k".into(), "v".into());
    create.set_payload(b"body".to_vec());
    create.mut_deliver_at().set_seconds(1_900_000_000);
    create.mut_priority().set_value(7);
    create.mut_ttl().set_seconds(60);
    kind(0, &create);
    let mut batch = wire::CreateTasksRequest::default();
    batch.set_namespace("jobs".into());
    create.clear_request_id();
    batch.mut_tasks().push(create);
    kind(1, &batch);
    let mut get = wire::GetTaskRequest::default();
    get.set_namespace("jobs".into());
    get.set_task_id(id.clone());
    kind(2, &get);
    let mut list = wire::ListTasksRequest::default();
    list.set_namespace("jobs".into());
    list.set_page_size(10);
    kind(3, &list);
    put(root, "page_token", "list", &list.write_to_bytes().unwrap());
    let mut redrive = wire::RedriveTasksRequest::default();
    redrive.set_namespace("jobs".into());
    redrive.mut_task_ids().push(id.clone());
    kind(4, &redrive);
    let mut purge = wire::PurgeTasksRequest::default();
    purge.set_namespace("jobs".into());
    purge.set_limit(5);
    kind(5, &purge);
    let mut moved = wire::RescheduleTaskRequest::default();
    moved.set_namespace("jobs".into());
    moved.set_task_id(id.clone());
    moved.mut_tts().set_seconds(5);
    kind(6, &moved);
    let mut update = z4_proto::generated::admin::UpdateNamespaceRequest::default();
    update.set_name("jobs".into());
    update.mut_update_mask().push("lease".into());
    update.mut_settings().mut_lease().set_seconds(30);
    kind(7, &update);
    let mut lease = wire::LeaseRef::default();
    lease.set_task_id(id.clone());
    lease.set_lease_token(7);
    let mut ack = wire::AckTasksRequest::default();
    ack.mut_leases().push(lease);
    kind(8, &ack);
    let mut nacks = wire::NackTasksRequest::default();
    let mut nack = wire::Nack::default();
    nack.set_task_id(id.clone());
    nack.set_lease_token(7);
    nack.set_error("no".into());
    nack.mut_delay().set_seconds(1);
    nacks.mut_nacks().push(nack);
    kind(9, &nacks);
    let mut extends = wire::ExtendLeasesRequest::default();
    let mut extend = wire::Extend::default();
    extend.set_task_id(id);
    extend.set_lease_token(7);
    extend.mut_lease().set_seconds(1);
    extends.mut_extends().push(extend);
    kind(10, &extends);
}

/// Messages of consumers: a request for leases, and streams.
fn consumers(root: &Path) {
    let mut leases = wire::LeaseTasksRequest::default();
    leases.set_namespace("jobs".into());
    leases.set_consumer_id("c-1".into());
    leases.set_max_tasks(10);
    leases.set_max_bytes(1 << 20);
    leases.mut_lease().set_seconds(30);
    leases.mut_wait().set_seconds(5);
    let bytes = leases.write_to_bytes().unwrap();
    put(root, "consume", "leases", &[&[1][..], &bytes].concat());

    let id = TaskId::new(1_700_000_000_000_000_000, 7, 3).to_string();
    let mut said = vec![wire::ConsumeRequest::default(); 8];
    let open = said[0].mut_open();
    open.set_namespace("jobs".into());
    open.set_consumer_id("c-1".into());
    open.mut_credit().set_max_in_flight(10);
    open.mut_credit().set_max_in_flight_bytes(1 << 20);
    open.mut_lease().set_seconds(30);
    said[1].mut_ack().set_task_id(id.clone());
    said[1].mut_ack().set_lease_token(7);
    said[2].mut_nack().set_task_id(id.clone());
    said[2].mut_nack().set_lease_token(7);
    said[2].mut_nack().mut_delay().set_seconds(1);
    said[2].mut_nack().set_error("no".into());
    said[3].mut_extend().set_task_id(id.clone());
    said[3].mut_extend().set_lease_token(7);
    said[3].mut_extend().mut_lease().set_seconds(1);
    said[4].mut_credit().set_max_in_flight(20);
    said[5].mut_drain();
    said[6].mut_release().set_task_id(id);
    said[6].mut_release().set_lease_token(7);
    // The last is empty: one that this version does not know.
    let behind = |messages: &[&wire::ConsumeRequest]| {
        let mut bytes = vec![0];
        for message in messages {
            message.write_length_delimited_to_vec(&mut bytes).unwrap();
        }
        bytes
    };
    for (at, message) in said.iter().enumerate() {
        let bytes = behind(&[&said[0], message]);
        put(root, "consume", &format!("said-{at}"), &bytes);
    }
    let all: Vec<_> = said.iter().collect();
    put(root, "consume", "all", &behind(&all));
}

fn texts(root: &Path) {
    for (at, head) in [
        "GET /metrics HTTP/1.1\r\nHost: a:1\r\n\r\n",
        "HEAD /healthz HTTP/1.0\r\n\r\n",
        "PUT /failpoints/flush?return(x) HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n",
        "GET /readyz?a=b HTTP/1.1\r\nA: b\r\nC",
        "GET http://a/metrics HTTP/1.1\n\n",
        "\u{16}\u{3}\u{1}\u{2}",
    ]
    .iter()
    .enumerate()
    {
        let piece = [0, 7, 255][at % 3];
        let bytes = [&[piece][..], head.as_bytes()].concat();
        put(root, "http_head", &format!("head-{at}"), &bytes);
    }

    let ids = [
        TaskId::from_bytes([0; 16]),
        TaskId::new(1 << 60, 7, 3),
        TaskId::from_bytes([0xff; 16]),
    ];
    for (at, id) in ids.iter().enumerate() {
        put(
            root,
            "task_id",
            &format!("text-{at}"),
            id.to_string().as_bytes(),
        );
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    put(root, "task_id", "bytes", &bytes);
    put(root, "task_id", "name", b"jobs.mail_2-a");
    for (at, text) in [
        "2030-01-31T08:00:00Z",
        "2030-01-31T08:00:00.25+01:00",
        "1969-12-31T23:59:59.5-23:59",
        "1h 30m",
        "250ms",
        "forever",
        "2months 3days",
    ]
    .iter()
    .enumerate()
    {
        put(root, "moment", &format!("text-{at}"), text.as_bytes());
    }
    put(root, "page_token", "text", b"01a2b3c4d50000000000000000");
    for (at, line) in [
        "create n - --at 2026-11-28 --tz Europe/Paris -m a=b",
        "create n -- -5 --in 10m --priority 9 --ttl 1h --max-attempts 3",
        "list n --body --sort due --where a=b --page-token 01a2 -o json",
        "lease n --consumer-id c --resume --max 4 --lease 30s --wait 5s",
        "consume n --exec true --max-in-flight 4 --count 2 --timeout 3s",
        "ns set n --rate 100/h --backoff-min 10ms --max-leased 5",
        "dead redrive n 01a2b3c4d50000000000000000",
        "set-address p1 10.0.0.1:6356 -t 127.0.0.1:6355",
        "add-peer p2 10.0.0.2:6356 --help",
    ]
    .iter()
    .enumerate()
    {
        let args = line.replace(' ', "\0");
        put(root, "arguments", &format!("line-{at}"), args.as_bytes());
    }
    let mut task = wire::Task::default();
    task.set_id("01a2b3c4d50000000000000000".into());
    task.set_payload(b"\x1b[2Jpayload\n".to_vec());
    task.mut_metadata().insert("k\t".into(), "\u{202e}v".into());
    let mut delivery = wire::Delivery::default();
    delivery.set_task(task);
    delivery.set_lease_token(7);
    let delivery = delivery.write_to_bytes().unwrap();
    put(root, "shown", "delivery", &[&[0], &delivery[..]].concat());
}
