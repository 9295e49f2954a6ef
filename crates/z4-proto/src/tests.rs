//! The encoding, held by golden bytes; and bytes that are not messages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_core::command::{
    Command, CreateTasks, CreatedTask, Due, Grant, LeaseRefs, LeaseTasks, NewTask, Outcome, Taker,
};
use z4_core::state::{
    MetaRow, NamespaceConfig, NamespaceCounts, NamespaceRow, QueueHead, RequestRow, Row, RowKey,
};
use z4_core::task::{LeaseToken, Phase, Priority, TaskBody, TaskStatus, WallTime};
use z4_core::{Code, Namespace, NamespaceId, Refusal, TaskId};

use crate::{
    decode_command, decode_outcome, decode_row, encode_command, encode_outcome, encode_row,
    DecodeError,
};

mod golden;
mod hostile;

fn id() -> TaskId {
    TaskId::new(0x0102_0304_0506_0708, 9, 10)
}

fn space() -> Namespace {
    Namespace::new("a").unwrap()
}

fn commands() -> Vec<Command> {
    let task = |due, priority| NewTask {
        metadata: vec![("k".into(), "v".into()), ("l".into(), String::new())],
        payload: vec![0, 255],
        due,
        priority: Priority::new(priority).unwrap(),
    };
    let refs = LeaseRefs {
        namespace: space(),
        leases: vec![(id(), LeaseToken(300)), (TaskId::default(), LeaseToken(0))],
    };
    let at = Due::At(WallTime {
        seconds: -1,
        nanos: 999_999_999,
    });
    vec![
        Command::CreateTasks(CreateTasks {
            namespace: space(),
            request_id: "r".into(),
            tasks: vec![
                task(at, 0),
                task(Due::AfterSeconds(300), 9),
                NewTask::default(),
            ],
        }),
        Command::LeaseTasks(LeaseTasks {
            namespace: space(),
            takers: vec![Taker {
                consumer: "c".into(),
                room: 300,
            }],
            lease_ms: 1_000,
        }),
        Command::AckTasks(refs.clone()),
        Command::ReleaseTasks(refs),
        Command::ExpireLeases,
    ]
}

fn outcomes() -> Vec<Outcome> {
    let created = CreatedTask {
        id: id(),
        deliver_at: WallTime {
            seconds: 5,
            nanos: 6,
        },
    };
    let grant = Grant {
        consumer: "c".into(),
        id: id(),
        token: LeaseToken(1),
        deadline_ns: 2,
        due_at_ns: 3,
        attempt: 4,
    };
    let mut outcomes = vec![
        Outcome::Created(vec![created]),
        Outcome::Leased {
            grants: vec![grant],
            more: true,
        },
        Outcome::Ended(vec![true, false, true]),
        Outcome::Expired { count: 7 },
    ];
    let refused = |code| Outcome::Refused(Refusal::new(code, "no"));
    outcomes.extend(Code::ALL.map(refused));
    outcomes
}

fn rows() -> Vec<(RowKey, Row)> {
    let space_id = NamespaceId(7);
    let head = |rank: usize| match rank {
        0 => QueueHead::default(),
        _ => QueueHead {
            count: rank as u64,
            cursor: (rank as u64, id()),
            consumed_ns: 10 + rank as u64,
        },
    };
    let namespace = NamespaceRow {
        id: space_id,
        config: NamespaceConfig {
            lease_ms: 1,
            dedupe_ms: 2,
        },
        counts: NamespaceCounts {
            created: 3,
            pending: 4,
            leased: 5,
            done: 6,
            deliveries: 7,
            bytes: 8,
        },
        queues: std::array::from_fn(head),
    };
    let body = TaskBody {
        metadata: vec![("k".into(), "v".into())],
        payload: vec![0, 255],
        deliver_at: WallTime {
            seconds: 5,
            nanos: 6,
        },
        due_at_ns: 7,
        created_at_ns: 8,
        priority: Priority::new(9).unwrap(),
    };
    let status = |phase| {
        Row::Status(TaskStatus {
            phase,
            deliveries: 1,
            failures: 2,
            first_due_at_ns: 6,
            priority: Priority::new(7).unwrap(),
            bytes: 300,
        })
    };
    let leased = Phase::Leased {
        consumer: "c".into(),
        token: LeaseToken(4),
        deadline_ns: 5,
    };
    let meta = MetaRow {
        stamp_ns: 1,
        namespace_next: 2,
        forget_from_ns: 3,
    };
    let request = RequestRow {
        content_hash: 0x0102,
        tasks: vec![CreatedTask {
            id: id(),
            deliver_at: WallTime::default(),
        }],
        expires_at_ns: 9,
    };
    let due = RowKey::due(space_id, Priority::default(), 3, id());
    let due_row = |touched| Row::Due {
        touched,
        bytes: 300,
    };
    let lease = RowKey::Lease {
        deadline_ns: 5,
        namespace: space_id,
        id: id(),
    };
    let request_key = RowKey::Request {
        namespace: space_id,
        request_id: "r".into(),
    };
    let expiry = RowKey::RequestExpiry {
        expires_at_ns: 9,
        namespace: space_id,
        request_id: "r".into(),
    };
    vec![
        (RowKey::Meta, Row::Meta(meta)),
        (RowKey::Namespace(space()), Row::Namespace(namespace)),
        (RowKey::Body(space_id, id()), Row::Body(body)),
        (
            RowKey::Status(space_id, id()),
            status(Phase::Waiting { due_at_ns: 3 }),
        ),
        (RowKey::Status(space_id, id()), status(leased)),
        (due.clone(), due_row(false)),
        (due, due_row(true)),
        (lease, Row::Lease),
        (request_key, Row::Request(request)),
        (expiry, Row::RequestExpiry),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_written_reads_back() {
    for command in commands() {
        let bytes = encode_command(&command);
        assert_eq!(decode_command(&bytes).unwrap(), command);
    }
    for outcome in outcomes() {
        let bytes = encode_outcome(&outcome);
        assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
    }
    for (key, row) in rows() {
        let bytes = encode_row(&row);
        assert_eq!(decode_row(&key, &bytes).unwrap(), row, "{key:?}");
    }
}

#[test]
fn extreme_numbers_read_back() {
    let meta = Row::Meta(MetaRow {
        stamp_ns: u64::MAX,
        namespace_next: u32::MAX,
        forget_from_ns: u64::MAX,
    });
    assert_eq!(decode_row(&RowKey::Meta, &encode_row(&meta)).unwrap(), meta);
    let empty = Outcome::Ended(Vec::new());
    assert_eq!(decode_outcome(&encode_outcome(&empty)).unwrap(), empty);
    for seconds in [i64::MIN, i64::MAX] {
        for nanos in [i32::MIN, i32::MAX] {
            let task = NewTask {
                due: Due::At(WallTime { seconds, nanos }),
                ..NewTask::default()
            };
            let command = Command::CreateTasks(CreateTasks {
                namespace: space(),
                request_id: String::new(),
                tasks: vec![task],
            });
            assert_eq!(decode_command(&encode_command(&command)).unwrap(), command);
        }
    }
}
