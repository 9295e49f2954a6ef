//! Fields against their limits.

use super::*;

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
        ("leases", Command::ReleaseTasks(many_refs)),
    ];
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
