#![allow(clippy::unwrap_used)]
use super::*;
use z4_core::task::LeaseToken;
use z4_core::TaskId;

fn open(name: &str, follows: bool) -> (Open, mpsc::UnboundedReceiver<Told>, Arc<Credit>) {
    let (told, receiver) = mpsc::unbounded();
    let credit = Arc::<Credit>::default();
    credit
        .window
        .store(limits::STREAM_WINDOW, Ordering::Release);
    let open = Open {
        consumer: name.into(),
        namespace: Namespace::new("n").unwrap(),
        lease_ms: 0,
        step: limits::STREAM_WINDOW / 8,
        follows,
        told,
        credit: Arc::clone(&credit),
    };
    (open, receiver, credit)
}

fn opened() -> (Locals, mpsc::UnboundedReceiver<Told>, Arc<Credit>) {
    let (open, mut receiver, credit) = open("c", false);
    let mut locals = Locals::default();
    assert_eq!(locals.open(open), None);
    assert!(matches!(receiver.try_recv(), Ok(Told::Opened)));
    (locals, receiver, credit)
}

fn grant(consumer: &str) -> Grant {
    Grant {
        consumer: consumer.into(),
        id: TaskId::new(1, 1, 1),
        token: LeaseToken(1),
        deadline_ns: 1,
        due_at_ns: 1,
        attempt: 1,
        deliveries: 1,
        bytes: 1,
    }
}

#[test]
fn a_leader_is_told_once_and_again_when_credit_grew_or_it_changed() {
    let (mut locals, _receiver, credit) = opened();
    let reports = locals.reports(false);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].allowed_total, limits::STREAM_WINDOW);
    assert!(locals.reports(false).is_empty());
    credit.settled.store(3, Ordering::Release);
    locals.credit("c");
    assert!(locals.reports(false).is_empty(), "a small step");
    credit
        .settled
        .store(limits::STREAM_WINDOW / 8, Ordering::Release);
    locals.credit("c");
    assert_eq!(locals.reports(false).len(), 1);
    locals.forget_told();
    assert_eq!(locals.reports(false).len(), 1);
}

#[test]
fn a_report_that_failed_is_repeated() {
    let (mut locals, _receiver, _credit) = opened();
    assert_eq!(locals.reports(true).len(), 1);
    locals.told("c", false);
    assert!(locals.reports(true).is_empty(), "not at once");
    let wake_at = locals.wake_at().unwrap();
    while Instant::now() < wake_at {
        std::thread::yield_now();
    }
    assert_eq!(locals.reports(true).len(), 1);
    locals.told("c", true);
    assert_eq!(locals.wake_at(), None);
}

#[test]
fn grants_without_a_stream_come_back() {
    let (mut locals, mut receiver, _credit) = opened();
    assert!(locals.grant(&grant("c")).is_ok());
    assert!(receiver.try_recv().is_ok());
    assert!(locals.grant(&grant("other")).is_err());
    drop(receiver);
    assert!(locals.grant(&grant("c")).is_err());
    locals.close("c");
    assert!(locals.grant(&grant("c")).is_err());
}

/// Its consumer may have found the grant at another peer already.
#[test]
fn a_late_grant_of_a_stream_that_broke_stays_and_of_one_that_closed_does_not() {
    for keeps in [true, false] {
        let (first, _told_first, credit_first) = open("c~1", true);
        let (second, told_second, credit) = open("c~2", true);
        for credit in [&credit_first, &credit] {
            credit.keeps.store(true, Ordering::Release);
        }
        let mut locals = Locals::default();
        locals.open(first);
        locals.open(second);
        // As a stream that ends does, whose thread has not heard of it yet.
        credit.keeps.store(keeps, Ordering::Release);
        drop(told_second);
        for heard in [false, true] {
            assert_eq!(locals.grant(&grant("c~2")).is_ok(), keeps, "{heard}");
            assert_eq!(locals.grant(&grant("c~1")).is_ok(), keeps, "{heard}");
            assert_eq!(locals.close("c~2"), !heard);
        }
        assert!(locals.grant(&grant("c~3")).is_err());
    }
}

#[test]
fn credit_shrinks_grows_with_what_the_log_ended_and_is_counted_once() {
    let (open, _receiver, credit) = open("c~1", true);
    let mut locals = Locals::default();
    locals.open(open);
    let allowed = |locals: &mut Locals| {
        let reports = locals.reports(false);
        reports.first().map(|report| report.allowed_total)
    };
    assert_eq!(allowed(&mut locals), Some(limits::STREAM_WINDOW));
    credit.window.store(5, Ordering::Release);
    locals.credit("c~1");
    assert_eq!(allowed(&mut locals), Some(5), "less is told at once");
    let ended = limits::STREAM_WINDOW / 8;
    locals.ended("c~1", ended);
    assert_eq!(allowed(&mut locals), Some(5 + ended));
    // The stream learns of the same leases.
    credit.settled.store(ended, Ordering::Release);
    locals.credit("c~1");
    assert_eq!(allowed(&mut locals), None);
}

#[test]
fn a_second_stream_of_a_consumer_inherits_what_the_first_is_granted() {
    let mut locals = Locals::default();
    let (first, mut told_first, _) = open("c~1", true);
    let (second, mut told_second, _) = open("c~2", true);
    let (third, mut told_third, _) = open("c~3", true);
    let (other, mut told_other, _) = open("d~4", true);
    assert_eq!(locals.open(first), None);
    assert_eq!(locals.open(other), None);
    assert_eq!(locals.open(second), Some("c~1".into()));
    assert!(matches!(told_first.try_recv(), Ok(Told::Opened)));
    assert!(matches!(told_first.try_recv(), Ok(Told::TakenOver)));
    assert!(!locals.close("c~1"), "it is known no more");
    assert!(locals.grant(&grant("c~1")).is_ok());
    assert!(matches!(told_second.try_recv(), Ok(Told::Opened)));
    assert!(matches!(told_second.try_recv(), Ok(Told::Grant(g)) if g.consumer == "c~1"));
    assert_eq!(locals.open(third), Some("c~2".into()));
    assert!(locals.grant(&grant("c~1")).is_err(), "too long ago");
    assert!(locals.grant(&grant("c~2")).is_ok());
    assert!(matches!(told_third.try_recv(), Ok(Told::Opened)));
    assert!(matches!(told_third.try_recv(), Ok(Told::Grant(_))));
    assert!(locals.close("c~3"));
    assert!(locals.grant(&grant("c~2")).is_err());
    assert!(matches!(told_other.try_recv(), Ok(Told::Opened)));
    assert!(told_other.try_recv().is_err());
    assert!(locals.heirs.is_empty() && locals.names.len() == 1);
}
