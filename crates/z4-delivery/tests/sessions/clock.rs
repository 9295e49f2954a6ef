//! A leader that may not go by its clock for a while.

use z4_core::dispatch::ConsumerReport;

use super::*;

impl Bench {
    fn clock_holds(&mut self, goes_by_clock: bool) -> Vec<Wanted> {
        let leadership = Leadership {
            goes_by_clock,
            ..self.sessions.leadership()
        };
        self.step(Input::Leadership(leadership));
        self.turn()
    }

    fn reported(&mut self, link: u64, consumer: &str) {
        let report = Report::There(ConsumerReport {
            consumer: consumer.to_owned(),
            namespace: space(),
            received_total: 0,
            allowed_total: 5,
            lease_ms: 0,
        });
        self.step(Input::Remote { link, report });
    }
}

/// Nobody tells a leader of its consumers a second time within its term: those of other peers
/// would get nothing any more.
#[test]
fn consumers_of_other_peers_stay_known_while_the_clock_is_wrong() {
    let mut bench = Bench::new(1);
    bench.reported(7, "c~2.b.1");
    let wanted = bench.clock_holds(false);
    assert!(wanted.iter().any(|o| matches!(o, Output::ForgetRiders)));
    // One that comes meanwhile is taken in too.
    bench.reported(8, "d~3.b.1");
    bench.create(10);
    let wanted = bench.turn();
    assert!(commands(&wanted).is_empty(), "{wanted:?}");
    let wanted = bench.clock_holds(true);
    let leases: Vec<_> = commands(&wanted)
        .into_iter()
        .filter_map(|command| match command {
            Command::LeaseTasks(lease) => Some(lease.takers.len()),
            _ => None,
        })
        .collect();
    assert_eq!(leases, [2], "{wanted:?}");
}
