//! A long history is judged whole: what is right passes, and one thing that is wrong
//! among all the others is found. `Z4_HISTORY_OPERATIONS=10000000` makes it as long as
//! the soak's, and prints what it took; build it with optimizations then.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use z4_check::told::{judge, Act, Call, Dead, End, Fate, Handed, Op, Spec, Told, Verdict};
use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

/// Operations without the variable: some parts of the judge.
const OPERATIONS: u64 = 120_000;
/// Tasks of a batch; every second create is one.
const BATCH: u64 = 50;
/// From the create of a task to its end, in nanoseconds.
const LIFE_NS: u64 = 3_000_000;

/// Makes and ends tasks of one lease each until there are so many operations.
fn right(operations: u64) -> (Told, NamespaceCounts) {
    let mut told = Told {
        lease_max_ns: 3_000_000_000,
        ..Told::default()
    };
    let consumers: Vec<Arc<str>> = (0..8).map(|n| format!("consumer-{n}").into()).collect();
    let mut counts = NamespaceCounts::default();
    let mut label = 0;
    while ((told.ops.len() + told.handed.len()) as u64) < operations {
        let index = label + 1;
        let at_ns = label * 1_000;
        let count = if index % 2 == 0 { BATCH } else { 1 };
        let labels: Vec<u64> = (label + 1..=label + count).collect();
        label += count;
        let ids: Vec<TaskId> = (0..count)
            .map(|n| TaskId::new(n, index, n as u32))
            .collect();
        for (label, id) in labels.iter().zip(&ids) {
            told.specs.insert(*label, GOOD);
            let token = index + count;
            let consumer = Arc::clone(&consumers[(label % 8) as usize]);
            told.handed
                .push(handed(consumer, *label, *id, token, at_ns));
            let ack = Call::Lease(Act::Ack, *id, token);
            told.ops
                .push(op(ack, at_ns + LIFE_NS / 2, at_ns + LIFE_NS, End::Done));
        }
        let request = Some(format!("r{}", labels[0]));
        let create = Call::Create { request, labels };
        told.ops
            .push(op(create, at_ns, at_ns + 500, End::Made(ids)));
    }
    (counts.created, counts.done) = (label, label);
    (told, counts)
}

const GOOD: Spec = Spec {
    fate: Fate::Good,
    due_ns: 0,
    ttl_ms: 0,
    attempts_max: 0,
};

fn op(call: Call, invoked_ns: u64, at_ns: u64, end: End) -> Op {
    Op {
        client: 1,
        call,
        invoked_ns,
        at_ns,
        end,
    }
}

fn handed(consumer: Arc<str>, label: u64, id: TaskId, token: u64, at_ns: u64) -> Handed {
    Handed {
        client: 2,
        consumer,
        asked_ns: 0,
        at_ns: at_ns + LIFE_NS / 3,
        id,
        label,
        token,
        attempt: 1,
        deliveries: 1,
        resumed: false,
        began_ns: at_ns,
        deadline_ns: at_ns + 1_500_000_000,
    }
}

fn judged(told: &Told, counts: &NamespaceCounts) -> Verdict {
    let start = Instant::now();
    let verdict = judge("ns", told, &Dead::new(), counts);
    assert_eq!(verdict.judged, (told.ops.len() + told.handed.len()) as u64);
    println!(
        "{} operations judged in {:.1} s; memory at most {} MiB",
        verdict.judged,
        start.elapsed().as_secs_f64(),
        peak_mib()
    );
    verdict
}

/// The most resident memory that this process has had.
fn peak_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

#[test]
fn one_wrong_thing_in_a_long_history_is_found() {
    let asked = std::env::var("Z4_HISTORY_OPERATIONS").ok();
    let operations = asked.map_or(OPERATIONS, |text| text.parse().unwrap());
    let (mut told, counts) = right(operations);
    let verdict = judged(&told, &counts);
    assert_eq!(verdict.broken, Vec::<String>::new());
    assert_eq!(verdict.ordered_tasks, counts.created);
    // A task in the middle comes again, a second after its ack.
    let middle = told.handed.len() / 2;
    let mut again = told.handed[middle].clone();
    again.token += 1_000_000;
    again.deliveries += 1;
    again.began_ns += 1_000_000_000;
    again.deadline_ns += 1_000_000_000;
    again.at_ns += 1_000_000_000;
    told.handed.push(again);
    let said = judged(&told, &counts).broken.join("\n");
    assert!(said.contains("AfterEnd"), "{said}");
}
