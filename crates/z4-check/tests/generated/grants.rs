//! Leases of many tasks in the order of a log, and the deliveries that consumers
//! see of them.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_check::delivery::{Created, Delivered, Deliveries, Removed, Returned};
use z4_check::lease::{Ended, Leases};
use z4_check::Violation;
use z4_core::TaskId;

const LEASE_NS: u64 = 1_000;

/// An entry of the log.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Grant { deadline_ns: u64 },
    End { token: u64, how: Ended },
    Extend { token: u64, deadline_ns: u64 },
    Refuse { token: u64 },
    Cancel,
}

/// Machine time, the log index, the task, and what was done.
type Line = (u64, u64, TaskId, Entry);

/// The life of `tasks` tasks, until each is gone. All are due at 0.
fn log(seed: u64, tasks: u64) -> Vec<Line> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut alive: Vec<TaskId> = (1..=tasks).map(|n| TaskId::new(n, n, 0)).collect();
    let mut live = vec![None; alive.len()];
    let mut old = vec![0; alive.len()];
    let (mut now_ns, mut index, mut lines) = (0, 1_000, Vec::new());
    while !alive.is_empty() {
        now_ns += dice.gen_range(1..200);
        index += dice.gen_range(1..3);
        let at = dice.gen_range(0..alive.len());
        let id = alive[at];
        if live[at].is_some_and(|(_, deadline_ns)| deadline_ns <= now_ns) {
            old[at] = live[at].take().map_or(0, |(token, _)| token);
        }
        let entry = match (live[at], dice.gen_range(0..10)) {
            (None, 0) => Entry::Cancel,
            (None, 1) => Entry::Refuse { token: old[at] },
            (None, _) => {
                let deadline_ns = now_ns + LEASE_NS;
                live[at] = Some((index, deadline_ns));
                Entry::Grant { deadline_ns }
            }
            (Some(_), 0) => Entry::Refuse { token: old[at] },
            (Some((token, _)), 1) => {
                let deadline_ns = now_ns + dice.gen_range(100..2_000);
                live[at] = Some((token, deadline_ns));
                Entry::Extend { token, deadline_ns }
            }
            (Some((token, _)), 2..=5) => {
                old[at] = token;
                live[at] = None;
                let how = Ended::Returned;
                Entry::End { token, how }
            }
            (Some((token, _)), _) => {
                let how = Ended::Acked;
                Entry::End { token, how }
            }
        };
        let gone = matches!(
            entry,
            Entry::Cancel
                | Entry::End {
                    how: Ended::Acked,
                    ..
                }
        );
        lines.push((now_ns, index, id, entry));
        if gone {
            alive.swap_remove(at);
            live.swap_remove(at);
            old.swap_remove(at);
        }
    }
    lines
}

fn in_log_order(lines: &[Line]) -> Result<Leases, Violation> {
    let mut leases = Leases::default();
    for (now_ns, index, id, entry) in lines.iter().copied() {
        match entry {
            Entry::Grant { deadline_ns } => leases.granted(id, index, now_ns, deadline_ns)?,
            Entry::End { token, how } => leases.ended(id, token, now_ns, how)?,
            Entry::Extend { token, deadline_ns } => {
                leases.extended(id, token, now_ns, deadline_ns)?;
            }
            Entry::Refuse { token } => leases.refused(id, token, now_ns)?,
            Entry::Cancel => leases.removed(id, now_ns, "cancelled")?,
        }
    }
    Ok(leases)
}

/// What consumers see of it, of which some answers are lost.
fn as_seen(seed: u64, lines: &[Line]) -> Deliveries {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut all = Deliveries::default();
    let mut counts = std::collections::HashMap::new();
    for (now_ns, index, id, entry) in lines.iter().copied() {
        let answered = dice.gen_bool(0.9);
        let deliveries = counts.entry(id).or_insert_with(|| {
            all.created(
                id,
                Created {
                    due_ns: 0,
                    acked: true,
                    may_vanish: false,
                },
            );
            0
        });
        let at_ns = now_ns + dice.gen_range(0..500);
        match entry {
            Entry::Grant { deadline_ns } => {
                *deliveries += 1;
                let delivered = Delivered {
                    task: id,
                    token: index,
                    attempt: *deliveries,
                    deliveries: *deliveries,
                    granted_ns: now_ns,
                    deadline_ns,
                    asked_ns: now_ns,
                    at_ns,
                    resumed: false,
                };
                all.delivered(delivered);
                if dice.gen_bool(0.1) {
                    all.delivered(Delivered {
                        resumed: true,
                        at_ns: at_ns + 1,
                        ..delivered
                    });
                }
            }
            Entry::End {
                token,
                how: Ended::Acked,
            } if answered => all.acked(id, token, at_ns),
            Entry::End {
                token,
                how: Ended::Acked,
            } => all.ack_unknown(id, token),
            Entry::End { token, .. } => all.returned(id, token, Returned::Nacked),
            Entry::Extend { token, deadline_ns } => {
                all.extended(id, token, answered.then_some(deadline_ns));
            }
            Entry::Refuse { .. } => {}
            Entry::Cancel => all.removed(
                id,
                Removed {
                    acked: answered,
                    at_ns,
                    index: dice.gen_bool(0.5).then_some(index),
                },
            ),
        }
    }
    all
}

#[test]
fn right_lives_pass_both() {
    for seed in 0..200 {
        let lines = log(seed, 50);
        let leases = in_log_order(&lines).map_err(|why| format!("{seed}: {why}"));
        let leases = leases.unwrap();
        let all = as_seen(seed, &lines);
        assert!(all.count() >= leases.count());
        let report = all.check(u64::MAX, 0);
        assert_eq!(report.violation_count, 0, "{seed}: {:?}", report.violations);
        assert_eq!(report.tasks, 50);
        assert!(report.after_nack > 0);
    }
}

/// One line of the log changed in a way that is always wrong.
fn spoil(dice: &mut StdRng, lines: &[Line], at: usize) -> Option<Vec<Line>> {
    let mut spoiled = lines.to_vec();
    let (now_ns, index, id, entry) = lines[at];
    let later = lines[at + 1..].iter().find(|line| line.2 == id);
    let end = match entry {
        // A second holder at once, an old token again.
        Entry::Grant { .. } if dice.gen_bool(0.5) => {
            let deadline_ns = now_ns + LEASE_NS;
            (now_ns + 1, index + 1, id, Entry::Grant { deadline_ns })
        }
        Entry::Grant { .. } => {
            let how = Ended::Acked;
            (
                now_ns,
                index,
                id,
                Entry::End {
                    token: index - 1,
                    how,
                },
            )
        }
        Entry::End {
            token,
            how: Ended::Acked,
        } if dice.gen_bool(0.5) => (
            now_ns + 1,
            index + 1,
            id,
            Entry::Refuse { token: token - 1 },
        ),
        // After the end: again.
        Entry::End {
            how: Ended::Acked, ..
        }
        | Entry::Cancel => {
            let deadline_ns = now_ns + LEASE_NS;
            (now_ns + 1, index + 1, id, Entry::Grant { deadline_ns })
        }
        // It was given back, and its holder extends it.
        Entry::End { token, .. } => {
            let deadline_ns = now_ns + LEASE_NS;
            (now_ns, index, id, Entry::Extend { token, deadline_ns })
        }
        Entry::Extend { token, .. } => (now_ns, index, id, Entry::Refuse { token }),
        Entry::Refuse { token } => {
            let how = Ended::Returned;
            (now_ns, index, id, Entry::End { token, how })
        }
    };
    // A refusal of what is not there is right.
    let harmless = matches!(
        entry,
        Entry::End {
            how: Ended::Acked,
            ..
        }
    ) && matches!(end.3, Entry::Refuse { .. });
    if harmless || later.is_none() && matches!(entry, Entry::Grant { .. }) {
        return None;
    }
    spoiled.insert(at + 1, end);
    Some(spoiled)
}

#[test]
fn spoiled_logs_are_all_refused() {
    let mut spoiled = 0;
    for seed in 0..2_000 {
        let lines = log(seed, 5);
        let mut dice = StdRng::seed_from_u64(seed);
        let at = dice.gen_range(0..lines.len());
        let Some(bad) = spoil(&mut dice, &lines, at) else {
            continue;
        };
        spoiled += 1;
        assert!(
            in_log_order(&bad).is_err(),
            "{seed}: {:?}",
            &bad[at..=at + 1]
        );
    }
    assert!(spoiled > 1_000, "{spoiled}");
}

/// What consumers see of a spoiled log. Lost answers, and ends that only the log
/// knows, hide some.
#[test]
fn deliveries_of_spoiled_logs_are_refused_mostly() {
    let (mut spoiled, mut refused) = (0, 0);
    for seed in 0..4_000 {
        let lines = log(seed, 5);
        let mut dice = StdRng::seed_from_u64(seed);
        let at = dice.gen_range(0..lines.len());
        let Some(bad) = spoil(&mut dice, &lines, at) else {
            continue;
        };
        // Only a delivery too many can be seen.
        if !matches!(bad[at + 1].3, Entry::Grant { .. }) {
            continue;
        }
        spoiled += 1;
        refused += u64::from(as_seen(seed, &bad).check(u64::MAX, 0).violation_count > 0);
    }
    let rate = refused * 100 / spoiled;
    println!("{refused} of {spoiled} spoiled lives refused, {rate} %");
    assert!(spoiled > 500 && rate >= 80, "{refused} of {spoiled}");
}
