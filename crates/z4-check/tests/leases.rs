//! Leases in the order of the log: what must be refused, with its rule.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_check::lease::{Ended, Leases};
use z4_check::{Rule, Violation};
use z4_core::TaskId;

/// An entry of the log, at a machine time.
#[derive(Clone, Copy)]
enum Step {
    /// Token, deadline.
    Grant(u64, u64),
    End(u64, Ended),
    Extend(u64, u64),
    Refuse(u64),
    Cancel,
}

use Ended::{Acked, Died, Returned};
use Step::{Cancel, End, Extend, Grant, Refuse};

/// The place of the first step that is refused, and why.
fn run(steps: &[(u64, Step)]) -> Result<Leases, (usize, Violation)> {
    let id = TaskId::new(7, 7, 0);
    let mut leases = Leases::default();
    for (at, (now_ns, step)) in steps.iter().enumerate() {
        let now_ns = *now_ns;
        let result = match *step {
            Grant(token, deadline_ns) => leases.granted(id, token, now_ns, deadline_ns),
            End(token, how) => leases.ended(id, token, now_ns, how),
            Extend(token, deadline_ns) => leases.extended(id, token, now_ns, deadline_ns),
            Refuse(token) => leases.refused(id, token, now_ns),
            Cancel => leases.removed(id, now_ns, "cancelled"),
        };
        result.map_err(|why| (at, why))?;
    }
    Ok(leases)
}

#[test]
fn bad_logs_are_refused_at_their_last_step() {
    use Rule::{AfterEnd, EndedTwice, LeaseOverlap, LiveLeaseRefused, OldTokenTaken, TokenFell};
    let bad: &[(Rule, &[(u64, Step)])] = &[
        (LeaseOverlap, &[(1, Grant(5, 100)), (99, Grant(6, 200))]),
        (
            LeaseOverlap,
            &[
                (1, Grant(5, 100)),
                (50, Extend(5, 150)),
                (120, Grant(6, 200)),
            ],
        ),
        (LeaseOverlap, &[(1, Grant(5, 100)), (50, Cancel)]),
        (TokenFell, &[(1, Grant(5, 100)), (100, Grant(5, 200))]),
        (
            TokenFell,
            &[
                (1, Grant(5, 100)),
                (2, End(5, Returned)),
                (3, Grant(4, 100)),
            ],
        ),
        (
            AfterEnd,
            &[(1, Grant(5, 100)), (2, End(5, Acked)), (3, Grant(6, 100))],
        ),
        (AfterEnd, &[(1, Cancel), (3, Grant(6, 100))]),
        (
            EndedTwice,
            &[(1, Grant(5, 100)), (2, End(5, Acked)), (3, End(5, Acked))],
        ),
        (
            EndedTwice,
            &[(1, Grant(5, 100)), (2, End(5, Acked)), (3, Cancel)],
        ),
        (
            EndedTwice,
            &[(1, Grant(5, 100)), (2, End(5, Acked)), (3, Extend(5, 300))],
        ),
        (EndedTwice, &[(1, Cancel), (2, Cancel)]),
        (
            OldTokenTaken,
            &[
                (1, Grant(5, 100)),
                (100, Grant(6, 200)),
                (101, End(5, Acked)),
            ],
        ),
        (
            OldTokenTaken,
            &[
                (1, Grant(5, 100)),
                (100, Grant(6, 200)),
                (101, End(5, Returned)),
            ],
        ),
        (
            OldTokenTaken,
            &[
                (1, Grant(5, 100)),
                (100, Grant(6, 200)),
                (101, Extend(5, 300)),
            ],
        ),
        (OldTokenTaken, &[(1, Grant(5, 100)), (2, End(4, Acked))]),
        (OldTokenTaken, &[(1, Grant(5, 100)), (100, End(5, Acked))]),
        (
            OldTokenTaken,
            &[
                (1, Grant(5, 100)),
                (2, End(5, Returned)),
                (3, End(5, Acked)),
            ],
        ),
        (
            OldTokenTaken,
            &[(1, Grant(5, 100)), (2, Extend(5, 50)), (50, End(5, Acked))],
        ),
        (OldTokenTaken, &[(1, End(5, Died))]),
        (LiveLeaseRefused, &[(1, Grant(5, 100)), (99, Refuse(5))]),
        (
            LiveLeaseRefused,
            &[(1, Grant(5, 100)), (90, Extend(5, 200)), (150, Refuse(5))],
        ),
    ];
    for (rule, steps) in bad {
        let (at, violation) = run(steps).expect_err(&format!("{rule:?}"));
        assert_eq!(
            (violation.rule, at),
            (*rule, steps.len() - 1),
            "{violation}"
        );
    }
}

#[test]
fn good_logs_pass() {
    let good: &[&[(u64, Step)]] = &[
        &[(1, Grant(5, 100)), (2, End(5, Acked)), (3, Refuse(5))],
        &[
            (1, Grant(5, 100)),
            (100, Refuse(5)),
            (100, Grant(6, 200)),
            (101, Refuse(5)),
            (102, End(6, Acked)),
        ],
        &[
            (1, Grant(5, 100)),
            (2, End(5, Returned)),
            (3, Grant(6, 100)),
            (4, End(6, Died)),
            (5, Cancel),
        ],
        &[(1, Grant(5, 100)), (2, Extend(5, 10)), (10, Grant(6, 100))],
        &[(1, Refuse(5)), (2, Cancel), (3, Refuse(5))],
    ];
    for steps in good {
        assert!(run(steps).is_ok());
    }
    let leases = run(&[(1, Grant(5, 100)), (2, Refuse(4))]).unwrap();
    assert_eq!(leases.live(TaskId::new(7, 7, 0)), Some((5, 100)));
    assert_eq!((leases.count(), leases.count_refused()), (1, 1));
}
