//! Deliveries as consumers see them: what must be refused, with its rule.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_check::delivery::{Created, Delivered, Deliveries, Removed, Report, Returned};
use z4_check::Rule;
use z4_core::TaskId;

/// Machine time up to which all that is due must have come.
const UNTIL_NS: u64 = 10_000;

fn id() -> TaskId {
    TaskId::new(7, 7, 0)
}

/// A task that is due at 100.
fn acked_create() -> Deliveries {
    let mut all = Deliveries::default();
    all.created(id(), create(100));
    all
}

fn create(due_ns: u64) -> Created {
    Created {
        due_ns,
        acked: true,
        may_vanish: false,
    }
}

/// Leased from `granted_ns` for 50.
fn came(token: u64, deliveries: u32, granted_ns: u64) -> Delivered {
    Delivered {
        task: id(),
        token,
        attempt: deliveries,
        deliveries,
        granted_ns,
        deadline_ns: granted_ns + 50,
        asked_ns: 1,
        at_ns: granted_ns + 1,
        resumed: false,
    }
}

fn rules(report: &Report) -> Vec<Rule> {
    report.violations.iter().map(|v| v.rule).collect()
}

/// What is seen of the task after it was created.
type Seen = fn(&mut Deliveries);
/// What the report counts then, once.
type Figure = fn(&Report) -> u64;

#[test]
fn bad_deliveries_are_refused_with_their_rule() {
    use Rule::{
        AfterEnd, AttemptsFell, EndedTwice, LeaseOverlap, NeverDelivered, SameLeaseTwice, TokenFell,
    };
    let bad: &[(Rule, Seen)] = &[
        (NeverDelivered, |_| {}),
        (NeverDelivered, |all| all.moved(id(), 9_000)),
        (NeverDelivered, |all| all.redriven(id())),
        (Rule::Early, |all| all.delivered(came(5, 1, 99))),
        (Rule::Early, |all| {
            all.moved(id(), 300);
            all.delivered(came(5, 1, 99));
        }),
        (SameLeaseTwice, |all| {
            all.delivered(came(5, 1, 100));
            all.delivered(came(5, 1, 100));
        }),
        (LeaseOverlap, |all| {
            all.delivered(came(5, 1, 100));
            all.delivered(came(6, 2, 149));
        }),
        (LeaseOverlap, |all| {
            all.delivered(came(5, 1, 100));
            all.extended(id(), 5, Some(400));
            all.delivered(came(6, 2, 399));
        }),
        (LeaseOverlap, |all| {
            // The nack was of another lease.
            all.delivered(came(5, 1, 100));
            all.returned(id(), 4, Returned::Nacked);
            all.delivered(came(6, 2, 120));
        }),
        (LeaseOverlap, |all| {
            // An ack without an answer is no reason to come again.
            all.delivered(came(5, 1, 100));
            all.ack_unknown(id(), 5);
            all.delivered(came(6, 2, 120));
        }),
        (LeaseOverlap, |all| {
            all.delivered(came(5, 1, 100));
            all.delivered(came(6, 2, 150));
            all.delivered(came(7, 3, 160));
        }),
        (AttemptsFell, |all| {
            all.delivered(came(5, 1, 100));
            all.delivered(came(6, 1, 200));
        }),
        (AttemptsFell, |all| {
            all.delivered(came(5, 2, 100));
            all.delivered(Delivered {
                attempt: 1,
                ..came(6, 3, 200)
            });
        }),
        (AttemptsFell, |all| {
            // A redrive resets attempts, not deliveries.
            all.redriven(id());
            all.delivered(came(5, 2, 100));
            all.delivered(came(6, 1, 200));
        }),
        (TokenFell, |all| {
            all.delivered(came(6, 1, 100));
            all.delivered(came(5, 2, 200));
        }),
        (AfterEnd, |all| {
            all.delivered(came(5, 1, 100));
            all.acked(id(), 5, 120);
            all.delivered(came(6, 2, 200));
        }),
        (AfterEnd, |all| {
            // It came first by the observer's clock: its token is later.
            all.delivered(Delivered {
                at_ns: 101,
                ..came(6, 2, 200)
            });
            all.delivered(came(5, 1, 100));
            all.acked(id(), 5, 120);
        }),
        (AfterEnd, |all| {
            all.removed(
                id(),
                Removed {
                    acked: true,
                    at_ns: 500,
                    index: Some(4),
                },
            );
            all.delivered(came(5, 1, 100));
        }),
        (AfterEnd, |all| {
            all.removed(
                id(),
                Removed {
                    acked: true,
                    at_ns: 500,
                    index: None,
                },
            );
            all.delivered(Delivered {
                asked_ns: 501,
                ..came(5, 1, 100)
            });
        }),
        (AfterEnd, |all| {
            // The index is far above the removal's, and the consumer asked later.
            all.removed(
                id(),
                Removed {
                    acked: true,
                    at_ns: 500,
                    index: Some(9),
                },
            );
            all.delivered(Delivered {
                asked_ns: 501,
                ..came(5, 1, 100)
            });
        }),
        (EndedTwice, |all| {
            all.delivered(came(5, 1, 100));
            all.acked(id(), 5, 120);
            all.acked(id(), 6, 130);
        }),
        (EndedTwice, |all| {
            all.delivered(came(5, 1, 100));
            all.acked(id(), 5, 120);
            all.removed(
                id(),
                Removed {
                    acked: true,
                    at_ns: 500,
                    index: Some(9),
                },
            );
        }),
    ];
    for (rule, seen) in bad {
        let mut all = acked_create();
        seen(&mut all);
        let report = all.check(UNTIL_NS, 0);
        assert_eq!(rules(&report), [*rule], "{report:?}");
        assert_eq!((report.violation_count, report.count(*rule)), (1, 1));
    }
}

#[test]
fn strangers_are_counted_against_the_creates_without_an_answer() {
    let mut all = Deliveries::default();
    all.delivered(came(5, 1, 100));
    let report = all.clone().check(UNTIL_NS, 1);
    assert_eq!((report.violation_count, report.strangers), (0, 1));
    assert_eq!(rules(&all.check(UNTIL_NS, 0)), [Rule::NeverCreated]);
}

#[test]
fn good_deliveries_pass_and_duplicates_have_their_reason() {
    let good: &[(Seen, Figure)] = &[
        (|all| all.delivered(came(5, 1, 100)), |r| r.deliveries),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.acked(id(), 5, 120);
            },
            |r| r.acked,
        ),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.delivered(came(6, 2, 150));
            },
            |r| r.after_expiry,
        ),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.returned(id(), 5, Returned::Nacked);
                all.delivered(came(6, 2, 110));
            },
            |r| r.after_nack,
        ),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.returned(id(), 5, Returned::Released);
                all.delivered(Delivered {
                    attempt: 1,
                    ..came(6, 2, 110)
                });
            },
            |r| r.after_release,
        ),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.returned(id(), 5, Returned::Closed);
                all.delivered(came(6, 2, 110));
            },
            |r| r.after_close,
        ),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.ack_unknown(id(), 5);
                all.delivered(came(6, 2, 150));
            },
            |r| r.after_unknown_ack,
        ),
        (
            |all| {
                all.delivered(came(5, 1, 100));
                all.delivered(Delivered {
                    resumed: true,
                    at_ns: 140,
                    ..came(5, 1, 100)
                });
            },
            |r| r.resumed,
        ),
        (
            |all| {
                // No answer: it may have made the lease shorter.
                all.delivered(came(5, 1, 100));
                all.extended(id(), 5, None);
                all.delivered(came(6, 2, 110));
            },
            |r| r.after_expiry,
        ),
        (
            |all| {
                // Of a lease in between nothing was seen; attempts start anew.
                all.redriven(id());
                all.delivered(came(5, 2, 100));
                all.delivered(Delivered {
                    attempt: 1,
                    ..came(9, 5, 300)
                });
            },
            |r| r.after_expiry,
        ),
        (
            |all| {
                all.removed(
                    id(),
                    Removed {
                        acked: false,
                        at_ns: 0,
                        index: None,
                    },
                );
            },
            |r| r.tasks,
        ),
        (|all| all.moved(id(), UNTIL_NS + 1), |r| r.tasks),
        (
            |all| {
                // Cancelled after a lease that was given back.
                all.delivered(came(5, 1, 100));
                all.returned(id(), 5, Returned::Released);
                all.removed(
                    id(),
                    Removed {
                        acked: true,
                        at_ns: 500,
                        index: Some(6),
                    },
                );
            },
            |r| r.deliveries,
        ),
        (
            |all| {
                all.created(
                    id(),
                    Created {
                        acked: false,
                        ..create(100)
                    },
                );
                all.delivered(came(5, 1, 100));
            },
            |r| r.deliveries,
        ),
    ];
    for (seen, figure) in good {
        let mut all = acked_create();
        seen(&mut all);
        let report = all.check(UNTIL_NS, 0);
        assert_eq!(report.violation_count, 0, "{report:?}");
        assert_eq!(figure(&report), 1, "{report:?}");
    }
}

#[test]
fn what_came_on_a_stream_that_acknowledges_by_itself_never_comes_again() {
    let judged = |came: &[(u32, u64)]| {
        let mut all = acked_create();
        for (count, at_ns) in came {
            all.streamed(id(), *count, *at_ns);
        }
        rules(&all.check(UNTIL_NS, 0))
    };
    assert_eq!(judged(&[(1, 100)]), []);
    assert_eq!(judged(&[(1, 99)]), [Rule::Early]);
    assert_eq!(judged(&[]), [Rule::NeverDelivered]);
    let twice = judged(&[(1, 100), (2, 100)]);
    assert_eq!(twice, [Rule::AfterEnd, Rule::EndedTwice]);
}

#[test]
fn what_nobody_was_promised_may_be_missing() {
    for created in [
        Created {
            acked: false,
            ..create(100)
        },
        Created {
            may_vanish: true,
            ..create(100)
        },
        create(UNTIL_NS + 1),
    ] {
        let mut all = Deliveries::default();
        all.created(id(), created);
        assert_eq!(all.check(UNTIL_NS, 0).violation_count, 0, "{created:?}");
    }
}
