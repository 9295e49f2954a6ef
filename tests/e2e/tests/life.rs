//! The whole life of tasks under faults; `z4-load life` is the long form.

use std::time::Duration;

use z4_e2e::life::work::Crew;
use z4_e2e::life::{self, Plan};
use z4_e2e::Cluster;

#[test]
fn consumers_of_all_kinds_while_leaders_are_killed() {
    let mut cluster = Cluster::three();
    let plan = Plan {
        length: Duration::from_secs(16),
        kill_every: Duration::from_secs(5),
        crew: Crew {
            producers: 4,
            pause_ms: 5..25,
            consumers: 10,
            ..Crew::default()
        },
        seed: 7,
    };
    let outcome = life::run(&mut cluster, "life", &plan).unwrap();
    println!("{outcome:?}");
    assert_eq!(outcome.verdict.broken, Vec::<String>::new());
    assert_eq!(outcome.kills, 3);
    // Faults and habits were really there.
    let (counts, seen) = (&outcome.counts, &outcome.verdict.deliveries);
    assert!(counts.created > 200 && seen.acked > 150, "{outcome:?}");
    assert!(seen.resumed > 0 && seen.after_nack > 0, "{outcome:?}");
    assert!(counts.dead > 0 && outcome.refused > 0, "{outcome:?}");
}
