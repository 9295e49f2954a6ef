//! Fields against their limits.

use super::*;
use z4_core::command::HeldLeases;

#[test]
fn wrong_fields_are_refused_and_change_nothing() {
    let mut store = Store::new();
    let new = |change: &dyn Fn(&mut NewTask)| {
        let mut task = NewTask::default();
        change(&mut task);
        create("a", "", vec![task])
    };
    let label = |key: &str| (key.to_owned(), String::new());
    let taker = |consumer: &str, room| lease("a", &[(consumer, room)]);
    let no_refs = LeaseRefs {
        namespace: space("a"),
        leases: vec![],
    };
    let many = vec![(TaskId::default(), LeaseToken(0)); limits::ACK_COUNT_MAX + 1];
    let many_refs = LeaseRefs {
        namespace: space("a"),
        leases: many,
    };
    let wrong = [
        ("tasks", create("a", "", vec![])),
        (
            "tasks",
            create(
                "a",
                "",
                vec![NewTask::default(); limits::CREATE_COUNT_MAX + 1],
            ),
        ),
        (
            "request_id",
            create("a", &"r".repeat(257), vec![task(Due::Now)]),
        ),
        (
            "payload",
            new(&|t| t.payload = vec![0; limits::PAYLOAD_LEN_MAX + 1]),
        ),
        (
            "metadata",
            new(&|t| t.metadata = vec![label(&"k".repeat(65_537))]),
        ),
        (
            "metadata",
            new(&|t| t.metadata = vec![label("b"), label("a")]),
        ),
        (
            "metadata",
            new(&|t| t.metadata = (0..1_025).map(|n| label(&format!("{n:05}"))).collect()),
        ),
        (
            "deliver_at",
            new(&|t| {
                t.due = Due::At(WallTime {
                    seconds: 0,
                    nanos: -1,
                })
            }),
        ),
        (
            "deliver_at",
            new(&|t| {
                t.due = Due::At(WallTime {
                    seconds: i64::MAX,
                    nanos: 0,
                })
            }),
        ),
        ("tts_seconds", new(&|t| t.due = Due::AfterSeconds(0))),
        ("tts_seconds", new(&|t| t.due = Due::AfterSeconds(u64::MAX))),
        ("takers", lease("a", &[])),
        ("takers", lease("a", &[("c", 1); 257])),
        ("consumer", taker("", 1)),
        ("consumer", taker(&"c".repeat(257), 1)),
        ("room", taker("c", 0)),
        ("leases", Command::AckTasks(no_refs)),
        (
            "leases",
            Command::ReleaseTasks(HeldLeases::of_anybody(many_refs)),
        ),
    ];
    refuse_all(&mut store, wrong);
}

#[test]
fn wrong_changes_are_refused_and_change_nothing() {
    let nacks = |nacks| {
        Command::NackTasks(NackTasks {
            namespace: space("a"),
            nacks,
        })
    };
    let nack = |delay_ms, error: usize| Nack {
        id: TaskId::default(),
        token: LeaseToken(1),
        delay_ms,
        error: "e".repeat(error),
        permanent: false,
    };
    let extends = |lease_ms: &[u64]| {
        let extend = |lease_ms: &u64| Extend {
            id: TaskId::default(),
            token: LeaseToken(1),
            lease_ms: *lease_ms,
        };
        Command::ExtendLeases(ExtendLeases {
            namespace: space("a"),
            extends: lease_ms.iter().map(extend).collect(),
        })
    };
    let ids = |count| TaskRefs {
        namespace: space("a"),
        ids: vec![TaskId::default(); count],
    };
    let reschedule = |count, due| {
        let TaskRefs { namespace, ids } = ids(count);
        Command::RescheduleTasks(RescheduleTasks {
            namespace,
            ids,
            due,
        })
    };
    let redrive = |count| {
        let TaskRefs { namespace, ids } = ids(count);
        Command::RedriveTasks(RedriveTasks {
            namespace,
            ids,
            keep_attempts: false,
        })
    };
    let setting = |change: &dyn Fn(&mut NamespacePatch)| {
        let mut patch = NamespacePatch::default();
        change(&mut patch);
        set("a", patch)
    };
    let aged = |max_attempts, ttl_ms| {
        let task = NewTask {
            max_attempts,
            ttl_ms,
            ..NewTask::default()
        };
        create("a", "", vec![task])
    };
    let many = limits::CHANGE_COUNT_MAX + 1;
    let mut short = lease("a", &[("c", 1)]);
    if let Command::LeaseTasks(short) = &mut short {
        short.lease_ms = limits::LEASE_MS_MIN - 1;
    }
    let wrong = [
        ("nacks", nacks(vec![])),
        ("error", nacks(vec![nack(None, limits::ERROR_LEN_MAX + 1)])),
        (
            "delay",
            nacks(vec![nack(Some(limits::DELAY_MS_MAX + 1), 0)]),
        ),
        ("extends", extends(&[])),
        ("lease", extends(&[0, limits::LEASE_MS_MAX + 1])),
        ("lease", extends(&[limits::LEASE_MS_MIN - 1])),
        ("lease", short),
        ("task_ids", Command::CancelTasks(ids(0))),
        ("task_ids", Command::PurgeTasks(ids(many))),
        ("task_ids", reschedule(many, Due::Now)),
        ("tts_seconds", reschedule(1, Due::AfterSeconds(0))),
        ("task_ids", redrive(0)),
        ("max_attempts", aged(limits::ATTEMPTS_MAX + 1, 0)),
        ("ttl", aged(0, limits::TTL_MS_MAX + 1)),
        ("lease", setting(&|p| p.lease_ms = Some(0))),
        ("dedupe_window", setting(&|p| p.dedupe_ms = Some(u64::MAX))),
        (
            "max_attempts",
            setting(&|p| p.max_attempts = Some(u32::MAX)),
        ),
        (
            "backoff_min",
            setting(&|p| p.backoff_min_ms = Some(u64::MAX)),
        ),
        (
            "backoff_max",
            setting(&|p| p.backoff_max_ms = Some(u64::MAX)),
        ),
        // The two bounds would cross.
        (
            "backoff_min",
            setting(&|p| p.backoff_min_ms = Some(600_001)),
        ),
        ("backoff_min", setting(&|p| p.backoff_max_ms = Some(999))),
        (
            "rate.count",
            setting(&|p| p.rate = Some(RateLimit::per_s(u32::MAX))),
        ),
        (
            "rate.period",
            setting(&|p| {
                p.rate = Some(RateLimit {
                    count: 1,
                    period_ms: 999,
                })
            }),
        ),
        (
            "rate.period",
            setting(&|p| {
                p.rate = Some(RateLimit {
                    count: 1,
                    period_ms: 86_400_001,
                })
            }),
        ),
        ("rate_burst", setting(&|p| p.rate_burst = Some(u32::MAX))),
        ("dead_keep", setting(&|p| p.dead_keep_ms = Some(u64::MAX))),
    ];
    refuse_all(&mut Store::new(), wrong);
}

fn refuse_all(store: &mut Store, wrong: impl IntoIterator<Item = (&'static str, Command)>) {
    for (field, command) in wrong {
        let outcome = store.apply(command);
        let Outcome::Refused(refusal) = &outcome else {
            panic!("{field}: {outcome:?}");
        };
        assert_eq!(refusal.code, Code::Invalid);
        assert!(refusal.message.starts_with(field), "{field}: {refusal}");
    }
    assert_eq!(store.machine.namespaces().count(), 0);
}
