//! The whole life of tasks under faults; `z4-load life` is the long form.

use std::time::Duration;

use z4_e2e::life::{self, Plan};
use z4_e2e::Cluster;

#[test]
fn consumers_of_all_kinds_while_leaders_are_killed() {
    let mut cluster = Cluster::three();
    let plan = Plan {
        length: Duration::from_secs(16),
        kill_every: Duration::from_secs(5),
        consumers: 16,
        producers: 4,
        pause: Duration::from_millis(15),
        seed: 7,
    };
    let outcome = life::run(&mut cluster, "life", &plan);
    println!("{outcome:?}");
    assert_eq!(outcome.broken("life"), Vec::<String>::new());
    assert_eq!(outcome.kills, 3);
    // Faults and habits were really there.
    let verdict = &outcome.verdict;
    assert!(outcome.created > 200 && verdict.done > 150, "{verdict:?}");
    assert!(verdict.dead > 0 && verdict.refused > 0, "{verdict:?}");
}
