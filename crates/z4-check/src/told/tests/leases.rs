//! When a lease may end before its deadline.

use super::*;
use crate::told::Closed;

/// Task 1 comes to c55 at 190 ms, and 10 ms later to c60; its first lease would
/// last for long.
fn held_by_two(told: &mut Told) {
    told.handed[1].deliveries = 2;
    told.handed.push(handed(1, 55, 1, 190, DUE_NS));
    told.handed[1].began_ns += MS;
}

#[test]
fn who_closes_a_stream_gives_back_what_came_before() {
    let (mut told, dead, counts) = right();
    held_by_two(&mut told);
    let judged = |told: &Told| super::judged(told, &dead, &counts).broken.join("\n");
    // Streams that break are nobody's reason.
    assert!(judged(&told).contains("LeaseOverlap"));
    let close = |told: &mut Told, name: &str, at_ms: u64, is_over| {
        told.closed_streams = vec![Closed {
            consumer: name.into(),
            at_ns: at_ms * MS,
            is_over,
        }];
    };
    for (name, at_ms, is_reason) in [
        ("c55", 189, false),
        ("c55", 190, true),
        ("c55", 200, true),
        ("c55", 201, false),
        ("c60", 195, false),
    ] {
        close(&mut told, name, at_ms, true);
        let said = judged(&told);
        assert_eq!(said.is_empty(), is_reason, "{name} at {at_ms}: {said}");
    }
    // It had the lease again when it had been told that all was given back.
    let mut again = handed(1, 55, 1, 195, DUE_NS);
    again.resumed = true;
    told.handed.push(again);
    close(&mut told, "c55", 192, true);
    assert!(judged(&told).contains("LeaseOverlap"));
    // Or when it had not.
    close(&mut told, "c55", 192, false);
    assert_eq!(judged(&told), "");
    close(&mut told, "c55", 201, false);
    assert!(judged(&told).contains("LeaseOverlap"));
}
