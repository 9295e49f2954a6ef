//! The encoding, held by golden bytes; and bytes that are not messages.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_core::command::{
    Command, CreateTasks, CreatedTask, Due, Ended, Extend, ExtendLeases, Grant, HeldLeases,
    LeaseLost, LeaseRefs, LeaseTasks, Nack, NackTasks, NamespacePatch, NewTask, Outcome,
    RedriveTasks, RescheduleTasks, ResumeLeases, SetNamespace, Taker, TaskRefs, Unchanged,
};
use z4_core::state::{
    MetaRow, NamespaceConfig, NamespaceCounts, NamespaceRow, QueueHead, RateLimit, RateMark,
    RateWindow, RequestRow, Row, RowKey,
};
use z4_core::task::{DeathReason, LeaseToken, Phase, Priority, TaskBody, TaskStatus, WallTime};
use z4_core::{Code, Namespace, NamespaceId, Refusal, TaskId};

use crate::{
    decode_command, decode_outcome, decode_row, encode_command, encode_outcome, encode_row,
    DecodeError,
};

mod access;
mod golden;
mod hostile;
mod surface;

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
        max_attempts: 0,
        ttl_ms: 0,
    };
    let limited = NewTask {
        max_attempts: 300,
        ttl_ms: 301,
        ..NewTask::default()
    };
    let refs = LeaseRefs {
        namespace: space(),
        leases: vec![(id(), LeaseToken(300)), (TaskId::default(), LeaseToken(0))],
    };
    let held = |consumer: &str| HeldLeases {
        refs: refs.clone(),
        consumer: consumer.into(),
    };
    let ids = TaskRefs {
        namespace: space(),
        ids: vec![id(), TaskId::default()],
    };
    let at = Due::At(WallTime {
        seconds: -1,
        nanos: 999_999_999,
    });
    let mut commands = vec![
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
            ahead_ms: 0,
        }),
        Command::AckTasks(refs.clone()),
        Command::ReleaseTasks(held("")),
        Command::Pulse,
        Command::CreateTasks(CreateTasks {
            namespace: space(),
            request_id: String::new(),
            tasks: vec![limited],
        }),
        Command::NackTasks(NackTasks {
            namespace: space(),
            nacks: vec![
                nack(None, false),
                nack(Some(0), true),
                nack(Some(300), false),
            ],
        }),
        Command::ExtendLeases(ExtendLeases {
            namespace: space(),
            extends: vec![Extend {
                id: id(),
                token: LeaseToken(300),
                lease_ms: 301,
            }],
        }),
        Command::CancelTasks(ids.clone()),
        Command::RescheduleTasks(RescheduleTasks {
            namespace: space(),
            ids: vec![id()],
            due: at,
        }),
        Command::RescheduleTasks(RescheduleTasks {
            namespace: space(),
            ids: vec![id()],
            due: Due::AfterSeconds(300),
        }),
        Command::RescheduleTasks(RescheduleTasks {
            namespace: space(),
            ids: vec![id()],
            due: Due::Now,
        }),
        Command::RedriveTasks(RedriveTasks {
            namespace: space(),
            ids: vec![id()],
            keep_attempts: true,
        }),
        Command::PurgeTasks(ids),
        Command::SetNamespace(SetNamespace {
            namespace: space(),
            patch: patch(),
        }),
        Command::SetNamespace(SetNamespace {
            namespace: space(),
            patch: NamespacePatch::default(),
        }),
        Command::DeleteNamespace(space()),
        Command::Mark { id: u64::MAX },
        Command::SetNamespace(SetNamespace {
            namespace: space(),
            patch: NamespacePatch {
                rate: Some(a_minute()),
                ..NamespacePatch::default()
            },
        }),
        Command::ReturnTasks(held("")),
        Command::LeaseTasks(LeaseTasks {
            namespace: space(),
            takers: vec![Taker {
                consumer: "c".into(),
                room: 300,
            }],
            lease_ms: 1_000,
            ahead_ms: 16,
        }),
        Command::ReleaseTasks(held("c")),
        Command::ReturnTasks(held("c")),
        Command::ResumeLeases(ResumeLeases {
            held: held("c"),
            by: "d".into(),
        }),
    ];
    commands.extend(access::commands());
    commands
}

fn a_minute() -> RateLimit {
    RateLimit {
        count: 7,
        period_ms: 60_000,
    }
}

fn nack(delay_ms: Option<u64>, permanent: bool) -> Nack {
    Nack {
        id: id(),
        token: LeaseToken(300),
        delay_ms,
        error: "e".into(),
        permanent,
    }
}

/// Every setting, each with a value of its own.
fn patch() -> NamespacePatch {
    NamespacePatch {
        lease_ms: Some(1),
        dedupe_ms: Some(2),
        max_attempts: Some(3),
        backoff_min_ms: Some(4),
        backoff_max_ms: Some(5),
        pending_max: Some(6),
        bytes_max: Some(u64::MAX),
        leased_max: Some(8),
        rate: Some(RateLimit::per_s(9)),
        rate_burst: Some(u32::MAX),
        dead_keep_ms: Some(0),
        dead_keep_count: Some(12),
        paused: Some(false),
    }
}

fn config() -> NamespaceConfig {
    NamespaceConfig {
        lease_ms: 1,
        dedupe_ms: 2,
        max_attempts: 3,
        backoff_min_ms: 4,
        backoff_max_ms: 5,
        pending_max: 6,
        bytes_max: 7,
        leased_max: 8,
        rate: RateLimit::per_s(9),
        rate_burst: 10,
        dead_keep_ms: 11,
        dead_keep_count: 12,
    }
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
        deliveries: 0,
        bytes: 0,
    };
    let again = Grant {
        deliveries: 5,
        bytes: 300,
        ..grant.clone()
    };
    let mut ended = vec![Ok(Ended::Done), Ok(Ended::Waiting { due_at_ns: 300 })];
    ended.extend(DeathReason::ALL.map(|reason| Ok(Ended::Dead(reason))));
    ended.extend(LeaseLost::ALL.map(Err));
    let mut extended = vec![Ok(300)];
    extended.extend(LeaseLost::ALL.map(Err));
    let leased = Unchanged::Leased {
        consumer: "c".into(),
        deadline_ns: 300,
    };
    let changed = vec![
        Ok(()),
        Err(Unchanged::Gone),
        Err(leased),
        Err(Unchanged::Dead),
        Err(Unchanged::Waiting),
        Err(Unchanged::Full),
    ];
    let mut outcomes = vec![
        Outcome::Created(vec![created]),
        Outcome::Leased {
            grants: vec![grant],
            more: true,
        },
        Outcome::Pulsed { count: 7 },
        Outcome::Leased {
            grants: vec![again],
            more: false,
        },
        Outcome::Ended {
            stamp_ns: 1,
            results: ended,
        },
        Outcome::Extended {
            stamp_ns: 1,
            results: extended,
        },
        Outcome::Changed(changed),
        Outcome::NamespaceSet {
            config: config(),
            paused_at_ns: Some(300),
        },
        Outcome::NamespaceSet {
            config: NamespaceConfig::default(),
            paused_at_ns: None,
        },
        Outcome::NamespaceDeleting,
        Outcome::Marked { id: u64::MAX },
    ];
    let refused = |code| Outcome::Refused(Refusal::new(code, "no"));
    outcomes.extend(Code::ALL.map(refused));
    outcomes.extend(access::outcomes());
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
            ..NamespaceConfig::default()
        },
        counts: NamespaceCounts {
            created: 3,
            pending: 4,
            leased: 5,
            done: 6,
            deliveries: 7,
            bytes: 8,
            ..NamespaceCounts::default()
        },
        queues: std::array::from_fn(head),
        ..NamespaceRow::new(space_id)
    };
    let mark = |n| RateMark {
        at_ns: n,
        created: n + 1,
        deliveries: n + 2,
        done: n + 3,
    };
    let full = NamespaceRow {
        config: config(),
        counts: NamespaceCounts {
            dead: 9,
            cancelled: 10,
            purged: 11,
            failures: 12,
            ..namespace.counts.clone()
        },
        paused_at_ns: Some(300),
        deleting: Some(id()),
        dead_from: (301, id()),
        rate_tat_ns: 302,
        window: RateWindow {
            before: mark(1),
            last: mark(2),
        },
        lateness_mean_ns: 303,
        leased_at_ns: 304,
        ..namespace.clone()
    };
    let deleting = NamespaceRow {
        deleting: Some(TaskId::default()),
        ..NamespaceRow::new(space_id)
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
        max_attempts: 0,
        ttl_ms: 0,
    };
    let limited = TaskBody {
        max_attempts: 300,
        ttl_ms: 301,
        ..TaskBody::default()
    };
    let failed = |phase| match status(phase) {
        Row::Status(status) => Row::Status(TaskStatus {
            max_attempts: 300,
            ttl_ms: 301,
            last_error: "e".into(),
            ..status
        }),
        other => other,
    };
    let returned = match status(Phase::Waiting { due_at_ns: 3 }) {
        Row::Status(status) => Row::Status(TaskStatus {
            returns: 300,
            ..status
        }),
        other => other,
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
        timer_from_ns: 0,
    };
    let timed = MetaRow {
        timer_from_ns: 4,
        ..meta.clone()
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
        max_attempts: 0,
        ttl_ms: 0,
    };
    let due_limited = Row::Due {
        touched: true,
        bytes: 300,
        max_attempts: 301,
        ttl_ms: 302,
    };
    let lease_row = |consumer: &str, token| Row::Lease {
        consumer: consumer.into(),
        token: LeaseToken(token),
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
    let mut rows = vec![
        (RowKey::Meta, Row::Meta(meta)),
        (
            RowKey::Namespace(space()),
            Row::Namespace(Box::new(namespace)),
        ),
        (RowKey::Body(space_id, id()), Row::Body(body)),
        (
            RowKey::Status(space_id, id()),
            status(Phase::Waiting { due_at_ns: 3 }),
        ),
        (RowKey::Status(space_id, id()), status(leased)),
        (due.clone(), due_row(false)),
        (due.clone(), due_row(true)),
        // As the first version wrote it.
        (lease.clone(), lease_row("", 0)),
        (request_key, Row::Request(request)),
        (expiry, Row::RequestExpiry),
        (RowKey::Meta, Row::Meta(timed)),
        (RowKey::Namespace(space()), Row::Namespace(Box::new(full))),
        (
            RowKey::Namespace(space()),
            Row::Namespace(Box::new(deleting)),
        ),
        (RowKey::Body(space_id, id()), Row::Body(limited)),
        (
            RowKey::Status(space_id, id()),
            failed(Phase::Waiting { due_at_ns: 3 }),
        ),
        (
            RowKey::Status(space_id, id()),
            failed(dead(DeathReason::Attempts, 300)),
        ),
        (
            RowKey::Status(space_id, id()),
            failed(dead(DeathReason::Permanent, 0)),
        ),
        (due, due_limited),
        (lease, lease_row("c", 300)),
        (RowKey::dead(space_id, 5, id()), Row::Dead),
        (RowKey::timer(5, space_id, id()), Row::Timer),
        (
            RowKey::Namespace(space()),
            Row::Namespace(Box::new(NamespaceRow {
                config: NamespaceConfig {
                    rate: a_minute(),
                    ..config()
                },
                ..NamespaceRow::new(space_id)
            })),
        ),
        (RowKey::Status(space_id, id()), returned),
    ];
    rows.extend(access::rows());
    rows
}

fn status(phase: Phase) -> Row {
    Row::Status(TaskStatus {
        phase,
        deliveries: 1,
        failures: 2,
        returns: 0,
        first_due_at_ns: 6,
        priority: Priority::new(7).unwrap(),
        bytes: 300,
        max_attempts: 0,
        ttl_ms: 0,
        last_error: String::new(),
    })
}

fn dead(reason: DeathReason, forget_at_ns: u64) -> Phase {
    Phase::Dead {
        at_ns: 5,
        reason,
        forget_at_ns,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_written_reads_back() {
    for command in commands() {
        let bytes = encode_command(&command);
        let is_create = matches!(command, Command::CreateTasks(_));
        assert_eq!(crate::command::is_create(&bytes), is_create, "{command:?}");
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
        timer_from_ns: u64::MAX,
    });
    assert_eq!(decode_row(&RowKey::Meta, &encode_row(&meta)).unwrap(), meta);
    let empty = Outcome::Ended {
        stamp_ns: u64::MAX,
        results: Vec::new(),
    };
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
