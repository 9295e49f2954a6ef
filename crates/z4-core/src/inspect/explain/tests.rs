//! A table of situations.

use super::*;
use crate::task::{LeaseToken, NamespaceId, Priority};

const S: u64 = 1_000_000_000;
const NOW: u64 = 100_000 * S;

struct Case {
    row: NamespaceRow,
    status: TaskStatus,
    consumers: ConsumersView,
    ahead: Ahead,
}

/// Due, nobody before it, a consumer with room.
fn due() -> Case {
    Case {
        row: NamespaceRow::new(NamespaceId(1)),
        status: TaskStatus {
            phase: Phase::Waiting { due_at_ns: NOW - S },
            deliveries: 0,
            failures: 0,
            returns: 0,
            first_due_at_ns: NOW - S,
            priority: Priority::default(),
            bytes: 1,
            max_attempts: 0,
            ttl_ms: 0,
            last_error: String::new(),
        },
        consumers: ConsumersView {
            consumers: 1,
            room: 5,
        },
        ahead: Ahead::default(),
    }
}

fn with(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = due();
    change(&mut case);
    case
}

fn texts(case: &Case) -> Vec<String> {
    let reasons = explain(&Situation {
        row: &case.row,
        status: &case.status,
        consumers: case.consumers,
        ahead: case.ahead,
        now_ns: NOW,
    });
    reasons.iter().map(|reason| reason.text(NOW)).collect()
}

fn wait_until(case: &mut Case, due_at_ns: u64, failures: u32) {
    case.status.phase = Phase::Waiting { due_at_ns };
    case.status.failures = failures;
    case.status.last_error = if failures > 0 { "boom" } else { "" }.into();
}

fn leased(consumer: &str, deadline_ns: u64) -> Phase {
    Phase::Leased {
        consumer: consumer.into(),
        token: LeaseToken(7),
        deadline_ns,
    }
}

fn dead(reason: DeathReason, forget_at_ns: u64) -> Phase {
    Phase::Dead {
        at_ns: NOW - 120 * S,
        reason,
        forget_at_ns,
    }
}

#[test]
fn every_situation_has_its_words() {
    let hours = 3 * 3_600 * S + 120 * S;
    let table: Vec<(Case, Vec<&str>)> = vec![
        (due(), vec![]),
        (
            with(|c| {
                wait_until(c, NOW + hours, 0);
                c.status.first_due_at_ns = NOW + hours;
            }),
            vec!["it is due in 3 h 2 m"],
        ),
        (
            with(|c| wait_until(c, NOW + 8 * S, 3)),
            vec!["it failed 3 times and is tried again in 8 s; the last error was: boom"],
        ),
        (
            // Rescheduled after it had failed.
            with(|c| {
                wait_until(c, NOW + 8 * S, 3);
                c.status.first_due_at_ns = NOW + 8 * S;
            }),
            vec!["it is due in 8 s"],
        ),
        (
            with(|c| c.row.paused_at_ns = Some(NOW - 60 * S)),
            vec!["deliveries of its namespace are paused for 1 m; resume the namespace"],
        ),
        (
            with(|c| {
                c.row.config.rate = RateLimit::per_s(10);
                c.row.config.rate_burst = 1;
                c.row.rate_tat_ns = NOW + 20_000_000;
            }),
            vec!["the rate limit of 10 a second is used up; the next delivery may be in 20 ms"],
        ),
        (
            with(|c| {
                c.row.config.rate.count = 7;
                c.row.config.rate.period_ms = 3_600_000;
                c.row.rate_tat_ns = NOW + 90 * S;
            }),
            vec!["the rate limit of 7 an hour is used up; the next delivery may be in 1 m 30 s"],
        ),
        (
            with(|c| {
                c.status.phase = leased("worker-7~1.a.2", NOW + 12 * S);
                c.status.failures = 2;
            }),
            vec!["consumer worker-7 holds it, attempt 3, for another 12 s at most"],
        ),
        (
            with(|c| c.status.phase = leased("~1.a.2", NOW + 12 * S)),
            vec!["a stream of GetTaskStream holds it, attempt 1, for another 12 s at most"],
        ),
        (
            with(|c| c.status.phase = leased("w~1.a.2", NOW - 2 * S)),
            vec!["consumer w held it, attempt 1; the lease ended 2 s ago and is being taken back"],
        ),
        (
            with(|c| {
                c.row.config.leased_max = 4;
                c.row.counts.leased = 4;
            }),
            vec!["leased_max is reached: 4 of 4 leases are live; one must end first"],
        ),
        (
            with(|c| c.consumers = ConsumersView::default()),
            vec!["no consumer is connected, and none ever took a task of its namespace"],
        ),
        (
            with(|c| {
                c.consumers = ConsumersView::default();
                c.row.leased_at_ns = NOW - 14 * 60 * S;
            }),
            vec!["no consumer is connected; the last delivery was 14 m ago"],
        ),
        (
            with(|c| c.consumers.room = 0),
            vec!["1 consumer has all that was asked for; one must ack or ask for more"],
        ),
        (
            with(|c| {
                c.ahead = Ahead {
                    at_least: 12,
                    at_most: 12,
                }
            }),
            vec!["12 due tasks come before it"],
        ),
        (
            with(|c| {
                c.ahead = Ahead {
                    at_least: 1_000,
                    at_most: 54_321,
                }
            }),
            vec!["at least 1000 due tasks come before it, at most 54321"],
        ),
        (
            with(|c| {
                c.status.phase = dead(DeathReason::Attempts, 0);
                c.status.failures = 1;
                c.status.last_error = "boom".into();
            }),
            vec!["it is a dead letter for 2 m, because it failed once; the last error was: boom; redrive it to try again, or purge it"],
        ),
        (
            with(|c| c.status.phase = dead(DeathReason::Ttl, NOW + 60 * S)),
            vec!["it is a dead letter for 2 m, because it waited longer than its time to live; it is forgotten in 1 m; redrive it to try again, or purge it"],
        ),
        (
            with(|c| c.status.phase = dead(DeathReason::Permanent, 0)),
            vec!["it is a dead letter for 2 m, because a consumer said that no try will ever succeed; redrive it to try again, or purge it"],
        ),
        (
            with(|c| {
                c.row.deleting = Some(crate::TaskId::default());
                c.row.paused_at_ns = Some(1);
                c.row.counts.pending = 3;
                c.row.counts.dead = 2;
            }),
            vec!["its namespace is being deleted, the task with it; 5 tasks are left"],
        ),
    ];
    for (case, expected) in table {
        assert_eq!(texts(&case), expected);
    }
}

#[test]
fn what_lasts_longest_comes_first() {
    let all = |case: &Case| {
        explain(&Situation {
            row: &case.row,
            status: &case.status,
            consumers: case.consumers,
            ahead: case.ahead,
            now_ns: NOW,
        })
    };
    let many = with(|c| {
        c.row.paused_at_ns = Some(5);
        c.row.config.leased_max = 1;
        c.row.counts.leased = 2;
        c.row.config.rate = RateLimit::per_s(1);
        c.row.rate_tat_ns = NOW + 9 * S;
        c.consumers.room = 0;
        c.ahead = Ahead {
            at_least: 1,
            at_most: 1,
        };
    });
    let kinds: Vec<_> = all(&many).iter().map(std::mem::discriminant).collect();
    let expected = [
        Reason::Paused { since_ns: 5 },
        Reason::LeasedMax { leased: 2, most: 1 },
        Reason::NoCredit { consumers: 1 },
        Reason::Behind(many.ahead),
        Reason::RateLimit {
            next_at_ns: NOW + 9 * S,
            rate: RateLimit::per_s(1),
        },
    ];
    let expected: Vec<_> = expected.iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds, expected);
    // What is not due is told what will still be so then, and no more.
    let later = with(|c| {
        wait_until(c, NOW + S, 0);
        c.row.config.leased_max = 1;
        c.row.counts.leased = 2;
        c.row.paused_at_ns = Some(5);
        c.consumers = ConsumersView::default();
    });
    let expected = [
        Reason::Paused { since_ns: 5 },
        Reason::NoConsumer { last_ns: None },
        Reason::NotDue { due_at_ns: NOW + S },
    ];
    assert_eq!(all(&later), expected);
}

#[test]
fn numbers_and_times_go_with_the_reason() {
    let leased = Reason::Leased {
        consumer: "w".into(),
        attempt: 1,
        deadline_ns: 9,
    };
    assert_eq!((leased.until_ns(), leased.since_ns()), (Some(9), None));
    let paused = Reason::Paused { since_ns: 4 };
    assert_eq!((paused.until_ns(), paused.since_ns()), (None, Some(4)));
    let behind = Reason::Behind(Ahead {
        at_least: 3,
        at_most: 8,
    });
    assert_eq!(behind.count(), 8);
}
