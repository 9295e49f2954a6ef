//! How long the checkers take: `cargo run --release -p z4-check --example speed
//! [operations]`. A figure to read, not a test.

use std::time::Instant;

use z4_check::delivery::{Created, Delivered, Deliveries};
use z4_check::history::{Call, History, Nature, Reply, Standing};
use z4_check::{index, task};
use z4_core::TaskId;

/// Operations on each task: create, four reads, ack.
const EACH: u64 = 6;

fn main() {
    let count: u64 = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(1_000_000);
    let nature = Nature {
        leased: true,
        dies: true,
        ..Nature::default()
    };
    let mut history = History::of(nature);
    let mut indexed = Vec::new();
    let mut deliveries = Deliveries::default();
    for n in 1..=count / EACH {
        let (id, at_ns) = (TaskId::new(n, n, 0), n * 100);
        let create = history.invoke(0, Call::Create { request: n }, at_ns);
        history.created(create, at_ns + 400, &[id]);
        for client in 0..4 {
            let begin_ns = at_ns + 200 + 150 * u64::from(client);
            let get = history.invoke(client, Call::Get(id), begin_ns);
            // One in a hundred has no answer.
            if !n.is_multiple_of(100) {
                history.acked(get, begin_ns + 300, Reply::Stands(Standing::Present));
            }
        }
        let ack = history.invoke(5, Call::Ack(id, n), at_ns + 700);
        if !n.is_multiple_of(50) {
            history.acked(ack, at_ns + 1_500, Reply::Done);
        }
        indexed.push(index::Indexed {
            invoked_ns: at_ns,
            returned_ns: at_ns + 400,
            index: n,
        });
        deliveries.created(
            id,
            Created {
                due_ns: at_ns,
                acked: true,
                may_vanish: false,
            },
        );
        deliveries.delivered(Delivered {
            task: id,
            token: n,
            attempt: 1,
            deliveries: 1,
            granted_ns: at_ns + 500,
            deadline_ns: at_ns + 10_000,
            asked_ns: 0,
            at_ns: at_ns + 600,
            resumed: false,
        });
    }
    let begin = Instant::now();
    let report = task::check(&history, 1_000_000);
    println!(
        "task: {} operations on {} tasks, {} steps, {} violations, {} given up, {:.2} s",
        report.operations,
        report.tasks,
        report.steps,
        report.violations.len(),
        report.gave_up.len(),
        begin.elapsed().as_secs_f64()
    );
    let begin = Instant::now();
    let result = index::check(&indexed);
    println!(
        "index: {} operations, {}, {:.2} s",
        indexed.len(),
        if result.is_ok() {
            "in order"
        } else {
            "out of order"
        },
        begin.elapsed().as_secs_f64()
    );
    let begin = Instant::now();
    let report = deliveries.check(u64::MAX, 0);
    println!(
        "delivery: {} tasks, {} deliveries, {} violations, {:.2} s",
        report.tasks,
        report.deliveries,
        report.violation_count,
        begin.elapsed().as_secs_f64()
    );
}
