//! The checkers of one property each, on hand-made input.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_check::conserve::{self, Known};
use z4_check::hash::Hashes;
use z4_check::history::request_number;
use z4_check::index::{self, Indexed};
use z4_check::request::Requests;
use z4_check::Rule;
use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

fn op(invoked_ns: u64, returned_ns: u64, index: u64) -> Indexed {
    Indexed {
        invoked_ns,
        returned_ns,
        index,
    }
}

fn id(n: u64) -> TaskId {
    TaskId::new(n, n, 0)
}

#[test]
fn indexes_follow_real_time() {
    let good: &[&[Indexed]] = &[
        &[],
        &[op(1, 2, 5), op(3, 4, 5), op(5, 6, 6)],
        // They overlap, so either order is right.
        &[op(1, 10, 9), op(2, 3, 5), op(4, 5, 6)],
        &[op(1, 3, 9), op(3, 4, 5)],
    ];
    for ops in good {
        assert_eq!(index::check(ops), Ok(()), "{ops:?}");
    }
    let bad: &[&[Indexed]] = &[
        &[op(1, 2, 5), op(3, 4, 4)],
        &[op(3, 4, 4), op(1, 2, 5)],
        &[op(1, 2, 7), op(1, 3, 5), op(2, 9, 6), op(10, 11, 6)],
        &[op(1, 2, 9), op(3, 100, 9), op(50, 60, 8)],
    ];
    for ops in bad {
        assert_eq!(
            index::check(ops).unwrap_err().rule,
            Rule::IndexFell,
            "{ops:?}"
        );
    }
}

#[test]
fn hashes_agree_at_an_index() {
    let mut hashes = Hashes::default();
    assert_eq!(hashes.seen(1, 10, 7), Ok(()));
    assert_eq!(hashes.seen(2, 10, 7), Ok(()));
    assert_eq!(hashes.seen(2, 11, 8), Ok(()));
    assert_eq!(hashes.seen(3, 10, 8).unwrap_err().rule, Rule::HashDiffers);
    assert_eq!(hashes.compared(), 2);
    hashes.forget_below(11);
    assert_eq!(hashes.seen(3, 10, 8), Ok(()));
    assert_eq!(hashes.seen(1, 11, 9).unwrap_err().rule, Rule::HashDiffers);
}

#[test]
fn a_request_makes_one_set_of_tasks() {
    let (first, second) = (request_number("a", "x"), request_number("ax", ""));
    assert_ne!(first, second);
    let mut requests = Requests::default();
    assert_eq!(requests.answered(first, &[id(1), id(2)]), Ok(()));
    assert_eq!(requests.answered(first, &[id(1), id(2)]), Ok(()));
    assert_eq!(requests.repeated(), 1);
    for other in [vec![id(1)], vec![id(2), id(1)], vec![id(3), id(2)]] {
        let split = requests.answered(first, &other).unwrap_err();
        assert_eq!(split.rule, Rule::RequestSplit, "{other:?}");
    }
    // A task of another request, and one that comes twice in a request.
    for (request, tasks) in [(second, vec![id(2)]), (77, vec![id(8), id(8)])] {
        let shared = requests.answered(request, &tasks).unwrap_err();
        assert_eq!(shared.rule, Rule::MadeTwice, "{tasks:?}");
    }
}

#[test]
fn a_create_that_is_seen_made_one_task() {
    let mut requests = Requests::default();
    // Seen before it was answered, and after.
    assert_eq!(requests.seen(5, 0, id(1)), Ok(()));
    assert_eq!(requests.answered(5, &[id(1), id(2)]), Ok(()));
    assert_eq!(requests.seen(5, 1, id(2)), Ok(()));
    for (request, place, task) in [(5, 0, id(9)), (6, 0, id(1)), (5, 1, id(1))] {
        let twice = requests.seen(request, place, task).unwrap_err();
        assert_eq!(twice.rule, Rule::MadeTwice);
    }
    assert_eq!(requests.seen(8, 0, id(80)), Ok(()));
    assert_eq!(
        requests.answered(8, &[id(81)]).unwrap_err().rule,
        Rule::MadeTwice
    );
}

#[test]
fn a_create_that_was_refused_made_nothing() {
    let mut requests = Requests::default();
    assert_eq!(requests.refused(5), Ok(()));
    assert_eq!(requests.seen(6, 0, id(2)), Ok(()));
    let made = requests.seen(5, 0, id(1)).unwrap_err();
    assert_eq!(made.rule, Rule::MadeThoughRefused);
    // Seen before it was known that it was refused.
    let made = requests.refused(6).unwrap_err();
    assert_eq!(made.rule, Rule::MadeThoughRefused);
}

#[test]
fn counts_add_up_and_are_what_clients_know() {
    let counts = NamespaceCounts {
        created: 21,
        pending: 6,
        leased: 5,
        done: 4,
        dead: 3,
        cancelled: 2,
        purged: 1,
        ..NamespaceCounts::default()
    };
    let known = Known {
        created: 20,
        created_unknown: 1,
        done: 3,
        done_unknown: 1,
        cancelled: 2,
        cancelled_unknown: 0,
    };
    assert_eq!(conserve::check("n", &counts, &known), Ok(()));
    let one_more = NamespaceCounts {
        pending: 7,
        ..counts.clone()
    };
    let broken = conserve::check("n", &one_more, &known).unwrap_err();
    assert_eq!(broken.rule, Rule::CountsDiffer);
    let bad = [
        Known {
            created: 22,
            ..known
        },
        Known {
            created_unknown: 0,
            ..known
        },
        Known { done: 5, ..known },
        Known {
            done_unknown: 0,
            ..known
        },
        Known {
            cancelled: 1,
            ..known
        },
        Known {
            cancelled: 3,
            ..known
        },
    ];
    for known in bad {
        let broken = conserve::check("n", &counts, &known).unwrap_err();
        assert_eq!(broken.rule, Rule::CountsUnknown, "{known:?}");
    }
}
