//! Hand-made histories of one task: what the search must refuse, and what it
//! must let pass.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_check::history::{Call, History, Nature, Reply, Standing};
use z4_check::{task, Rule};
use z4_core::TaskId;

use Reply::{Died, Done, Stands};
use Standing::{Dead, Held, Leased, Missing, Present, Waiting};

/// Begin, end with its answer (`None`: there was none), call.
type Op = (u64, Option<(u64, Reply)>, Call);

fn id() -> TaskId {
    TaskId::new(7, 7, 0)
}

const CREATE: Call = Call::Create { request: 0 };
const RETRIED: Call = Call::Create { request: 9 };

/// Nothing happens by itself.
const STILL: Nature = Nature {
    leased: false,
    dies: false,
    forgotten: false,
    ended: false,
};
/// Consumers take tasks.
const TAKEN: Nature = Nature {
    leased: true,
    ..STILL
};
const MORTAL: Nature = Nature {
    dies: true,
    ..TAKEN
};

fn ok(begin: u64, end: u64, call: Call) -> Op {
    (begin, Some((end, Done)), call)
}

fn says(begin: u64, end: u64, call: Call, standing: Standing) -> Op {
    (begin, Some((end, Stands(standing))), call)
}

fn lost(begin: u64, call: Call) -> Op {
    (begin, None, call)
}

fn get(begin: u64, end: u64, standing: Standing) -> Op {
    says(begin, end, Call::Get(id()), standing)
}

fn violated(nature: Nature, ops: &[Op]) -> Option<String> {
    let mut history = History::of(nature);
    for (client, (begin, end, call)) in ops.iter().enumerate() {
        let op = history.invoke(client as u32, *call, *begin);
        match end {
            Some((at_ns, Done)) if matches!(call, Call::Create { .. }) => {
                history.created(op, *at_ns, &[id()]);
            }
            Some((at_ns, reply)) => history.acked(op, *at_ns, *reply),
            None => {}
        }
    }
    let report = task::check(&history, 1_000_000);
    assert!(report.gave_up.is_empty());
    let (_, violation) = report.violations.first()?;
    assert_eq!(violation.rule, Rule::NotLinearizable);
    Some(violation.text.clone())
}

#[test]
fn bad_histories_are_refused_and_the_answer_is_named() {
    let id = id();
    let cancel = Call::Cancel(id);
    let ack = Call::Ack(id, 3);
    let nack = Call::Nack(id, 3);
    let release = Call::Release(id, 3);
    let extend = Call::Extend(id, 3);
    let lease = Call::Lease(id);
    let purge = Call::Purge(id);
    let redrive = Call::Redrive(id);
    let moved = Call::Reschedule(id);
    // Name, nature, operations; the last one is what cannot be.
    let bad: &[(&str, Nature, &[Op])] = &[
        (
            "a read misses an acked create",
            STILL,
            &[ok(1, 2, CREATE), get(3, 4, Missing)],
        ),
        (
            "a read misses it, another overlapped the create",
            TAKEN,
            &[ok(1, 5, CREATE), get(2, 3, Present), get(6, 7, Missing)],
        ),
        (
            "seen, then not seen, while the create is open",
            STILL,
            &[get(2, 3, Waiting), ok(1, 9, CREATE), get(4, 5, Missing)],
        ),
        (
            "an unanswered create is seen, then not",
            STILL,
            &[
                lost(1, RETRIED),
                ok(20, 21, RETRIED),
                get(2, 3, Present),
                get(4, 5, Missing),
            ],
        ),
        (
            "a cancelled task is read",
            STILL,
            &[ok(1, 2, CREATE), ok(3, 4, cancel), get(5, 6, Waiting)],
        ),
        (
            "an unanswered cancel took effect, then not",
            STILL,
            &[
                ok(1, 2, CREATE),
                lost(3, cancel),
                get(5, 6, Missing),
                get(7, 8, Present),
            ],
        ),
        (
            "cancelled twice",
            STILL,
            &[ok(1, 2, CREATE), ok(3, 4, cancel), ok(5, 6, cancel)],
        ),
        (
            "two cancels at once",
            STILL,
            &[ok(1, 2, CREATE), ok(3, 9, cancel), ok(3, 10, cancel)],
        ),
        (
            "cancelled first, then created",
            STILL,
            &[ok(1, 2, cancel), ok(3, 4, CREATE)],
        ),
        (
            "cancelled and acked",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, cancel), ok(5, 6, ack)],
        ),
        (
            "acked and cancelled",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, ack), ok(5, 6, cancel)],
        ),
        (
            "acked twice",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, ack), ok(5, 6, ack)],
        ),
        (
            "an acked task is read",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, ack), get(5, 6, Leased)],
        ),
        (
            "an acked task is leased again",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, ack), ok(5, 6, lease)],
        ),
        (
            "acked, and never leased",
            STILL,
            &[ok(1, 2, CREATE), ok(3, 4, ack)],
        ),
        (
            "leased first, then created",
            STILL,
            &[ok(1, 2, lease), ok(3, 4, CREATE)],
        ),
        (
            "a cancel is told that it is held, and nobody takes tasks",
            STILL,
            &[ok(1, 2, CREATE), says(3, 4, cancel, Leased)],
        ),
        (
            "a cancel is told that it is gone",
            TAKEN,
            &[ok(1, 2, CREATE), says(3, 4, cancel, Missing)],
        ),
        (
            "dead, and it cannot die",
            TAKEN,
            &[ok(1, 2, CREATE), get(3, 4, Dead)],
        ),
        (
            "a dead letter waits again without a redrive",
            MORTAL,
            &[ok(1, 2, CREATE), get(3, 4, Dead), get(5, 6, Held)],
        ),
        (
            "redriven, and it was not dead",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, redrive)],
        ),
        (
            "purged, and it was not dead",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, purge)],
        ),
        (
            "purged and read",
            MORTAL,
            &[
                ok(1, 2, CREATE),
                (3, Some((4, Died)), nack),
                ok(5, 6, purge),
                get(7, 8, Dead),
            ],
        ),
        (
            "died, then leased",
            MORTAL,
            &[
                ok(1, 2, CREATE),
                (3, Some((4, Died)), nack),
                ok(5, 6, lease),
            ],
        ),
        (
            "released when gone",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, ack), ok(5, 6, release)],
        ),
        (
            "extended when gone",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, ack), ok(5, 6, extend)],
        ),
        (
            "moved when gone",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, cancel), ok(5, 6, moved)],
        ),
        (
            "created twice without a request id",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 4, CREATE)],
        ),
        (
            "an ack is told GONE, then the task is read",
            TAKEN,
            &[
                ok(1, 2, CREATE),
                lost(3, cancel),
                says(4, 5, ack, Missing),
                get(6, 7, Held),
            ],
        ),
    ];
    assert!(bad.len() >= 20);
    for (name, nature, ops) in bad {
        let text = violated(*nature, ops).expect(name);
        // The history is explained up to the answer that is named; where that is
        // not the last operation, the table's name says "first".
        let (begin, end, _) = match name.contains("first") {
            true => ops[0],
            false => ops[ops.len() - 1],
        };
        let (end, _) = end.unwrap();
        let named = format!("no order explains [{begin}, {end}]");
        assert!(text.contains(&named), "{name}: {text}");
    }
}

#[test]
fn good_histories_pass() {
    let id = id();
    let cancel = Call::Cancel(id);
    let ack = Call::Ack(id, 3);
    let nack = Call::Nack(id, 3);
    let lease = Call::Lease(id);
    let redrive = Call::Redrive(id);
    let good: &[(&str, Nature, &[Op])] = &[
        (
            "read after create",
            STILL,
            &[ok(1, 2, CREATE), get(3, 4, Waiting)],
        ),
        (
            "read beside create",
            STILL,
            &[ok(1, 9, CREATE), get(3, 4, Missing), get(5, 6, Waiting)],
        ),
        (
            "ends and begins at one time",
            STILL,
            &[ok(1, 2, CREATE), get(2, 4, Missing)],
        ),
        (
            "an unanswered cancel has no effect",
            STILL,
            &[ok(1, 2, CREATE), lost(3, cancel), get(4, 5, Waiting)],
        ),
        (
            "an unanswered cancel takes effect late",
            STILL,
            &[
                ok(1, 2, CREATE),
                lost(3, cancel),
                get(4, 5, Waiting),
                get(90, 95, Missing),
            ],
        ),
        (
            "an unanswered ack takes effect, the next is told so",
            TAKEN,
            &[
                ok(1, 2, CREATE),
                lost(3, ack),
                says(4, 5, ack, Missing),
                get(6, 7, Missing),
            ],
        ),
        (
            "a create is repeated after its task was done",
            TAKEN,
            &[
                ok(1, 2, RETRIED),
                ok(3, 4, ack),
                ok(5, 6, RETRIED),
                get(7, 8, Missing),
            ],
        ),
        (
            "an unanswered attempt made the task, and it is seen before the retry",
            STILL,
            &[lost(1, RETRIED), get(3, 4, Waiting), ok(5, 6, RETRIED)],
        ),
        (
            "nobody's create is in the history",
            STILL,
            &[get(3, 4, Waiting), ok(5, 6, cancel)],
        ),
        (
            "leased, nacked to death, redriven, leased, acked",
            STILL,
            &[
                ok(1, 2, CREATE),
                ok(3, 4, lease),
                (5, Some((6, Died)), nack),
                get(7, 8, Dead),
                ok(9, 10, redrive),
                ok(11, 12, lease),
                ok(13, 14, ack),
                get(15, 16, Missing),
            ],
        ),
        (
            "a lease expires by itself",
            STILL,
            &[ok(1, 2, CREATE), ok(3, 4, lease), get(5, 6, Waiting)],
        ),
        (
            "cancel and ack at once, one is refused",
            TAKEN,
            &[ok(1, 2, CREATE), ok(3, 9, ack), says(3, 9, cancel, Leased)],
        ),
        (
            "it dies by itself",
            MORTAL,
            &[
                ok(1, 2, CREATE),
                get(3, 4, Dead),
                ok(5, 6, redrive),
                get(7, 8, Held),
            ],
        ),
    ];
    for (name, nature, ops) in good {
        assert_eq!(violated(*nature, ops), None, "{name}");
    }
}

#[test]
fn it_gives_up_at_the_bound_and_says_so() {
    let mut history = History::of(TAKEN);
    let op = history.invoke(0, CREATE, 1);
    history.created(op, 2, &[id()]);
    for client in 0..20 {
        let op = history.invoke(client, Call::Get(id()), 3);
        history.acked(op, 4, Stands(Waiting));
    }
    let report = task::check(&history, 5);
    assert_eq!(report.gave_up, [id()]);
    assert!(report.violations.is_empty());
    assert_eq!(report.steps, 5);
}
