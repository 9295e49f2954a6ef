//! Right inputs, spoiled in every place: one left out, one doubled, two swapped,
//! one shifted. The small checkers must refuse what is wrong in each, and say
//! where, and let pass what is not.
#![allow(clippy::unwrap_used)]

use z4_check::conserve::{self, Known};
use z4_check::hash::Hashes;
use z4_check::index::{self, Indexed};
use z4_check::request::Requests;
use z4_check::{Rule, Violation};
use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

/// Operations one after another, each with the next index.
fn operations() -> Vec<Indexed> {
    let operation = |at: u64| Indexed {
        invoked_ns: 10 * at,
        returned_ns: 10 * at + 5,
        index: at,
    };
    (1..=21).map(operation).collect()
}

#[test]
fn indexes() {
    let right = operations();
    let refused = |spoilt: &[Indexed], index: u64| {
        let broken = index::check(spoilt).unwrap_err();
        assert_eq!(broken.rule, Rule::IndexFell);
        assert!(broken.text.contains(&format!("index: {index}")), "{broken}");
    };
    assert_eq!(index::check(&right), Ok(()));
    for at in 0..right.len() {
        let mut dropped = right.clone();
        let one = dropped.remove(at);
        assert_eq!(index::check(&dropped), Ok(()), "{at} left out");
        dropped.extend([one, one]);
        assert_eq!(index::check(&dropped), Ok(()), "{at} doubled, out of place");
        let mut open = right.clone();
        open[at].invoked_ns = 0;
        open[at].returned_ns = u64::MAX;
        assert_eq!(index::check(&open), Ok(()), "{at} is open all the time");
        if at == 0 {
            continue;
        }
        let mut swapped = right.clone();
        swapped[at].index = right[at - 1].index;
        assert_eq!(
            index::check(&swapped),
            Ok(()),
            "{at} is equal to the one before"
        );
        swapped[at - 1].index = right[at].index;
        refused(&swapped, right[at - 1].index);
        let mut shifted = right.clone();
        shifted[at].index = 0;
        refused(&shifted, 0);
    }
}

/// What each of three peers has at each index.
fn hashes() -> Vec<(u64, u64, u128)> {
    let at = |index: u64| (1..=3).map(move |peer| (peer, index, u128::from(index) << 64));
    (1..=7).flat_map(at).collect()
}

fn seen(all: &[(u64, u64, u128)]) -> Result<u64, Violation> {
    let mut hashes = Hashes::default();
    for (peer, index, hash) in all {
        hashes.seen(*peer, *index, *hash)?;
    }
    Ok(hashes.compared())
}

#[test]
fn hashes_of_each_peer_at_each_index() {
    let right = hashes();
    assert_eq!(seen(&right), Ok(14));
    for at in 0..right.len() {
        let (peer, index, _) = right[at];
        let refused = |spoilt: &[(u64, u64, u128)]| {
            let broken = seen(spoilt).unwrap_err();
            assert_eq!(broken.rule, Rule::HashDiffers);
            let place = format!("differ at index {index}:");
            assert!(broken.text.contains(&place), "{broken}");
            let who = broken.text.split(" differ").next().unwrap();
            // The first is who is believed, so the second is told with it.
            assert!(peer == 1 || who.contains(&peer.to_string()), "{broken}");
        };
        let mut dropped = right.clone();
        let one = dropped.remove(at);
        assert_eq!(seen(&dropped), Ok(13), "{at} left out");
        dropped.push(one);
        dropped.push(one);
        assert_eq!(seen(&dropped), Ok(15), "{at} doubled");
        for bit in [0, 64, 127] {
            let mut flipped = right.clone();
            flipped[at].2 ^= 1 << bit;
            refused(&flipped);
        }
        // The state of the index before or after.
        let mut shifted = right.clone();
        shifted[at].2 = u128::from(index + 1) << 64;
        refused(&shifted);
        shifted[at].2 = u128::from(index - 1) << 64;
        refused(&shifted);
    }
}

fn counts() -> (NamespaceCounts, Known) {
    let counts = NamespaceCounts {
        created: 210,
        pending: 60,
        leased: 50,
        done: 40,
        dead: 30,
        cancelled: 20,
        purged: 10,
        ..NamespaceCounts::default()
    };
    let known = Known {
        created: 208,
        created_unknown: 2,
        done: 38,
        done_unknown: 2,
        cancelled: 18,
        cancelled_unknown: 2,
    };
    (counts, known)
}

/// One of the counts that must add up, the sum of them first.
fn part(counts: &mut NamespaceCounts, at: usize) -> &mut u64 {
    match at {
        0 => &mut counts.created,
        1 => &mut counts.pending,
        2 => &mut counts.leased,
        3 => &mut counts.done,
        4 => &mut counts.dead,
        5 => &mut counts.cancelled,
        _ => &mut counts.purged,
    }
}

#[test]
fn counts_of_a_namespace() {
    let (right, known) = counts();
    let check = |counts: &NamespaceCounts| conserve::check("n", counts, &known);
    assert_eq!(check(&right), Ok(()));
    for at in 0..7 {
        // One lost, one doubled, all of a kind lost.
        let spoils: [fn(u64) -> u64; 3] = [|n| n - 1, |n| n + 1, |_| 0];
        for spoil in spoils {
            let mut spoilt = right.clone();
            let count = part(&mut spoilt, at);
            *count = spoil(*count);
            let broken = check(&spoilt).unwrap_err();
            assert_eq!(broken.rule, Rule::CountsDiffer, "{at}");
            assert!(
                broken.text.contains("namespace n: the parts make"),
                "{broken}"
            );
            assert_eq!(conserve::balance("n", &spoilt).unwrap_err(), broken);
        }
        // What adds up, and goes beyond what the clients know: one in the place
        // of another.
        for other in (1..7).filter(|other| at > 0 && *other != at) {
            let mut spoilt = right.clone();
            *part(&mut spoilt, at) += 3;
            *part(&mut spoilt, other) -= 3;
            assert_eq!(conserve::balance("n", &spoilt), Ok(()));
            let told = [(3, "done"), (5, "cancelled")];
            let told = told.iter().find(|(kind, _)| *kind == at || *kind == other);
            match (check(&spoilt), told) {
                (Ok(()), None) => {}
                (Err(broken), Some((_, what))) => {
                    assert_eq!(broken.rule, Rule::CountsUnknown);
                    assert!(broken.text.contains(what), "{broken}");
                }
                (result, _) => panic!("{other} counted as {at}: {result:?}"),
            }
        }
        let mut more = right.clone();
        more.created += 1;
        *part(&mut more, at.max(1)) += 1;
        let broken = check(&more).unwrap_err();
        assert!(broken.text.contains("211 created"), "{broken}");
    }
}

fn id(number: u64) -> TaskId {
    TaskId::new(number, number, 0)
}

/// Seven requests that made three tasks each.
fn requests() -> Vec<(u64, Vec<TaskId>)> {
    let tasks = |request: u64| (0..3).map(|place| id(10 * request + place)).collect();
    (1..=7).map(|request| (request, tasks(request))).collect()
}

fn answered(all: &[(u64, Vec<TaskId>)]) -> Result<Requests, Violation> {
    let mut requests = Requests::default();
    for (request, tasks) in all {
        requests.answered(*request, tasks)?;
    }
    Ok(requests)
}

#[test]
fn requests_that_are_answered_again() {
    let right = requests();
    let twice = [right.clone(), right.clone()].concat();
    assert_eq!(answered(&twice).unwrap().repeated(), 7);
    for (request, tasks) in &right {
        let next = right.iter().find(|(other, _)| other != request).unwrap();
        let mut spoilt = vec![tasks[..2].to_vec(), tasks[1..].to_vec(), Vec::new()];
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            let mut swapped = tasks.clone();
            swapped.swap(one, other);
            spoilt.push(swapped);
        }
        spoilt.push([tasks.clone(), vec![tasks[2]]].concat());
        spoilt.push(next.1.clone());
        spoilt.push(tasks.iter().map(|_| tasks[0]).collect());
        spoilt.push((0..3).map(|place| id(10 * request + place + 1)).collect());
        for again in spoilt {
            let broken = answered(&right).unwrap().answered(*request, &again);
            let broken = broken.unwrap_err();
            assert_eq!(broken.rule, Rule::RequestSplit, "{again:?}");
            let named = format!("request {request:016x} was answered with");
            assert!(broken.text.contains(&named), "{broken}");
        }
    }
}

#[test]
fn tasks_that_are_of_two_requests_or_two_places() {
    let right = requests();
    for (at, (request, tasks)) in right.iter().enumerate() {
        let others: Vec<_> = right
            .iter()
            .filter(|(r, _)| r != request)
            .cloned()
            .collect();
        let next = &right[(at + 1) % right.len()];
        for place in 0..3 {
            // A task of another request, and one of its own that comes twice.
            for stolen in [next.1[place], tasks[(place + 1) % 3]] {
                let mut spoilt = tasks.clone();
                spoilt[place] = stolen;
                let mut requests = answered(&others).unwrap();
                let broken = requests.answered(*request, &spoilt).unwrap_err();
                assert_eq!(broken.rule, Rule::MadeTwice, "{spoilt:?}");
                assert!(broken.text.contains(&stolen.to_string()), "{broken}");
            }
            let mut requests = answered(&right).unwrap();
            let place = place as u32;
            let task = tasks[place as usize];
            assert_eq!(requests.seen(*request, place, task), Ok(()));
            let wrong = [
                (*request, place + 1, task),
                (next.0, place, task),
                (*request, place, id(1_000)),
            ];
            for (request, place, task) in wrong {
                let broken = answered(&right).unwrap().seen(request, place, task);
                let broken = broken.unwrap_err();
                assert_eq!(broken.rule, Rule::MadeTwice);
                assert!(broken.text.contains(&task.to_string()), "{broken}");
            }
        }
    }
}
