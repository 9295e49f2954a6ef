#![allow(clippy::unwrap_used)]

use super::*;

const HALF: Duration = Duration::from_secs(15);

fn lease(task: &str, token: u64) -> LeaseRef {
    LeaseRef {
        task_id: task.to_owned(),
        token,
    }
}

fn told(lease: &LeaseRef, outcome: LeaseOutcome) -> LeaseResult {
    LeaseResult {
        lease: lease.clone(),
        outcome,
        message: String::new(),
        due_at: None,
        lease_deadline: None,
        death_reason: None,
    }
}

struct Bench {
    ledger: Ledger,
    now: Instant,
    is_lost: Arc<AtomicBool>,
}

impl Bench {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(HALF),
            now: Instant::now(),
            is_lost: Arc::default(),
        }
    }

    fn deliver(&mut self, lease: &LeaseRef, resumed: bool) -> Arrival {
        self.ledger
            .delivered(lease, resumed, &self.is_lost, self.now)
    }

    fn tell(&mut self, lease: &LeaseRef, outcome: LeaseOutcome) {
        self.ledger.told(&told(lease, outcome), self.now);
    }
}

#[test]
fn a_task_from_delivery_to_confirmed_ack() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    assert_eq!(bench.deliver(&one, false), Arrival::Start);
    assert_eq!(
        bench.ledger.finished("a", Ok(())),
        Some(Answer::Ack(one.clone()))
    );
    assert!(!bench.ledger.is_empty(), "it waits for its confirmation");
    assert_eq!(bench.ledger.next_extend(), None);
    bench.tell(&one, LeaseOutcome::Done);
    assert!(bench.ledger.is_empty());
    assert_eq!(bench.ledger.summary().acked, 1);
}

#[test]
fn a_lease_is_extended_at_half_its_length_again_and_again() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    let start = bench.now;
    assert_eq!(bench.ledger.next_extend(), Some(start + HALF));
    assert!(bench.ledger.due_extends(start + HALF / 2).is_empty());
    assert_eq!(bench.ledger.due_extends(start + HALF), vec![one.clone()]);
    assert!(bench.ledger.due_extends(start + HALF).is_empty());
    bench.now = start + HALF + Duration::from_secs(1);
    bench.tell(&one, LeaseOutcome::Extended);
    assert_eq!(bench.ledger.next_extend(), Some(bench.now + HALF));
    // An answer that never came does not end the extending.
    assert_eq!(bench.ledger.due_extends(bench.now + HALF).len(), 1);
    assert!(bench.ledger.next_extend().is_some());
}

#[test]
fn a_resumed_lease_starts_no_second_handler_and_is_extended_at_once() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    assert!(bench.ledger.reopened(bench.now).is_empty());
    assert_eq!(bench.deliver(&one, true), Arrival::Known);
    assert_eq!(bench.ledger.next_extend(), Some(bench.now));
    assert_eq!(bench.ledger.summary().started, 1);
}

#[test]
fn what_was_not_confirmed_is_said_again_on_the_next_stream() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    let ack = bench.ledger.finished("a", Ok(())).unwrap();
    bench.ledger.sends(&ack);
    assert_eq!(bench.ledger.reopened(bench.now), [Answer::Ack(one.clone())]);
    assert_eq!(bench.deliver(&one, true), Arrival::Known);
    // The first ack may have done it: not lost, not done for sure.
    bench.tell(&one, LeaseOutcome::Gone);
    let summary = bench.ledger.summary();
    assert_eq!((summary.uncertain, summary.lost), (1, 0));
    assert!(bench.ledger.is_empty());
}

/// A consumer that stood still while its lease ended and its peer closed the drained
/// stream: the answer on the next stream is the first one that was taken.
#[test]
fn what_a_closed_stream_did_not_confirm_was_not_taken() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    let ack = bench.ledger.finished("a", Ok(())).unwrap();
    bench.ledger.sends(&ack);
    bench.ledger.nothing_else_was_taken();
    assert_eq!(bench.ledger.reopened(bench.now), [Answer::Ack(one.clone())]);
    bench.tell(&one, LeaseOutcome::Gone);
    let summary = bench.ledger.summary();
    assert_eq!((summary.uncertain, summary.lost), (0, 1));
}

#[test]
fn a_lost_lease_is_told_to_the_handler_and_its_result_to_nobody() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    bench.tell(&one, LeaseOutcome::Expired);
    bench.tell(&one, LeaseOutcome::Taken);
    assert!(bench.is_lost.load(Ordering::Relaxed));
    assert_eq!(bench.ledger.next_extend(), None);
    // It still takes up a place here, of which the peer knows nothing.
    assert_eq!(bench.ledger.credit(8), 7);
    assert_eq!(bench.ledger.credit(1), 1);
    assert_eq!(bench.ledger.finished("a", Ok(())), None);
    assert!(bench.ledger.is_empty());
    assert_eq!(bench.ledger.credit(8), 8);
    assert_eq!(bench.ledger.summary().lost, 1);
}

#[test]
fn a_task_that_comes_again_is_answered_under_its_new_lease() {
    let (mut bench, old, new) = (Bench::new(), lease("a", 1), lease("a", 2));
    bench.deliver(&old, false);
    bench.tell(&old, LeaseOutcome::Expired);
    assert_eq!(bench.deliver(&new, false), Arrival::Known);
    assert!(!bench.is_lost.load(Ordering::Relaxed));
    assert_eq!(bench.ledger.credit(8), 8);
    assert_eq!(
        bench.ledger.finished("a", Ok(())),
        Some(Answer::Ack(new.clone()))
    );
    // What is said of the old lease does not count any more.
    bench.tell(&old, LeaseOutcome::Taken);
    assert!(!bench.ledger.is_empty());
    let newer = lease("a", 3);
    assert_eq!(
        bench.deliver(&newer, false),
        Arrival::Answer(Answer::Ack(newer.clone()))
    );
    bench.tell(&newer, LeaseOutcome::Done);
    assert_eq!(bench.ledger.summary().acked, 1);
}

#[test]
fn failures_and_releases_are_told_apart() {
    let mut bench = Bench::new();
    let (a, b, c) = (lease("a", 1), lease("b", 2), lease("c", 3));
    for lease in [&a, &b, &c] {
        bench.deliver(lease, false);
    }
    let failed = Failure::new("no disk").after(Duration::from_secs(5));
    let Some(Answer::Nack(nack)) = bench.ledger.finished("a", Err(failed)) else {
        panic!("no nack");
    };
    assert_eq!(nack.error, "no disk");
    assert_eq!(nack.delay, Some(Duration::from_secs(5)));
    let Some(Answer::Nack(nack)) = bench.ledger.finished("b", Err(Failure::permanent("bad")))
    else {
        panic!("no nack");
    };
    assert!(nack.permanent);
    assert_eq!(
        bench.ledger.finished("c", Err(Failure::release())),
        Some(Answer::Release(c.clone()))
    );
    bench.tell(&a, LeaseOutcome::Waiting);
    bench.tell(&b, LeaseOutcome::Dead);
    bench.tell(&c, LeaseOutcome::Waiting);
    let summary = bench.ledger.summary();
    assert_eq!((summary.nacked, summary.died, summary.released), (1, 1, 1));
    assert!(bench.ledger.is_empty());
}

#[test]
fn an_extension_that_cannot_be_told_is_asked_for_sooner() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    bench.tell(&one, LeaseOutcome::Uncertain);
    assert_eq!(bench.ledger.next_extend(), Some(bench.now + HALF / 4));
    assert!(!bench.is_lost.load(Ordering::Relaxed));
}

/// Task, what its handler said, what became of it.
fn endings(bench: &mut Bench) -> Vec<(String, Result<(), Failure>, LeaseOutcome)> {
    let endings = bench.ledger.take_endings().into_iter();
    endings
        .map(|e| (e.answer.lease.task_id, e.result, e.answer.outcome))
        .collect()
}

#[test]
fn every_handler_that_ends_has_one_ending() {
    let mut bench = Bench::new();
    let (done, late, lost, open) = (lease("a", 1), lease("b", 2), lease("c", 3), lease("d", 4));
    for lease in [&done, &late, &lost, &open] {
        bench.is_lost = Arc::default();
        bench.deliver(lease, false);
    }
    bench.ledger.finished("a", Ok(()));
    bench.ledger.finished("b", Err(Failure::new("no disk")));
    assert_eq!(endings(&mut bench), [], "nothing is confirmed yet");
    bench.tell(&done, LeaseOutcome::Done);
    bench.tell(&late, LeaseOutcome::Expired);
    let failed = Err(Failure::new("no disk"));
    assert_eq!(
        endings(&mut bench),
        [
            ("a".to_owned(), Ok(()), LeaseOutcome::Done),
            ("b".to_owned(), failed, LeaseOutcome::Expired)
        ]
    );
    // Its lease is lost while it runs: that is told when it ends.
    bench.tell(&lost, LeaseOutcome::Taken);
    assert_eq!(endings(&mut bench), []);
    bench.ledger.finished("c", Ok(()));
    let ending = ("c".to_owned(), Ok(()), LeaseOutcome::Taken);
    assert_eq!(endings(&mut bench), [ending]);
    // What is never confirmed cannot be told.
    bench.ledger.finished("d", Ok(()));
    bench.ledger.abandon();
    let ending = ("d".to_owned(), Ok(()), LeaseOutcome::Uncertain);
    assert_eq!(endings(&mut bench), [ending]);
    assert!(bench.ledger.is_empty());
}

#[test]
fn a_refusal_of_what_was_never_sent_before_is_plain() {
    let (mut bench, one) = (Bench::new(), lease("a", 1));
    bench.deliver(&one, false);
    // Its handler ended between two streams.
    let ack = bench.ledger.finished("a", Ok(())).unwrap();
    assert_eq!(bench.ledger.reopened(bench.now), [ack]);
    bench.tell(&one, LeaseOutcome::Taken);
    let ending = ("a".to_owned(), Ok(()), LeaseOutcome::Taken);
    assert_eq!(endings(&mut bench), [ending]);
    let summary = bench.ledger.summary();
    assert_eq!((summary.uncertain, summary.lost), (0, 1));
}
