//! What is said of tasks: made once, on time, held by one, ended for good, dead
//! with a cause.

use z4_core::command::{Due, Ended, Grant, LeaseLost, NewTask};
use z4_core::limits::DISPATCH_AHEAD_MS;
use z4_core::state::NamespaceConfig;
use z4_core::task::{DeathReason, LeaseToken, WallTime};

use super::{create, grant, id, judge, made, space};
use crate::check::creates::Creates;
use crate::check::deaths::Deaths;
use crate::check::ends::{End, Ends};
use crate::check::leases::Leases;
use crate::check::times::Times;

const S: u64 = 1_000_000_000;

/// Creates, in order: namespace, request id, payload, the task that was made.
fn creates(all: &[(&str, &str, &str, u64)]) -> Result<Creates, String> {
    let mut creates = Creates::default();
    for (name, request, payload, task) in all {
        creates.created(&create(name, request, &[payload]), &made(&[*task]), 1)?;
    }
    Ok(creates)
}

#[test]
fn creates_are_kept_and_made_once() {
    let asked = || create("a", "r1", &["x", "y"]);
    assert!(creates(&[("a", "r1", "x", 1)]).is_ok());
    judge(&[
        // Another request, another namespace, and a request that is answered
        // again.
        ("", || {
            let all = [
                ("a", "r1", "x", 1),
                ("a", "r2", "y", 2),
                ("b", "r1", "x", 3),
            ];
            creates(&all)?;
            creates(&[("a", "r1", "x", 1), ("a", "r1", "x", 1)]).map(|_| ())
        }),
        ("request r1 made", || {
            creates(&[("a", "r1", "x", 1), ("a", "r1", "x", 2)]).map(|_| ())
        }),
        ("task id", || {
            creates(&[("a", "r1", "x", 1), ("a", "r2", "y", 1)]).map(|_| ())
        }),
        ("task id", || {
            creates(&[("a", "", "x", 1), ("b", "", "y", 1)]).map(|_| ())
        }),
        ("x of a was made twice", || {
            creates(&[("a", "", "x", 1), ("a", "", "x", 2)]).map(|_| ())
        }),
        ("x of a was made twice", || {
            creates(&[("a", "r1", "x", 1), ("a", "r2", "x", 2)]).map(|_| ())
        }),
        ("y of a was made twice", || {
            let mut creates = creates(&[("a", "", "y", 1)])?;
            creates.created(&create("a", "r2", &["x", "y"]), &made(&[2, 3]), 1)?;
            Ok(())
        }),
        // A namespace that was deleted may have all of it anew.
        ("", || {
            let mut creates = creates(&[("a", "r1", "x", 1), ("a", "", "y", 2)])?;
            creates.forget(&space("a"));
            creates.created(&create("a", "r1", &["x"]), &made(&[3]), 1)?;
            creates.created(&create("a", "", &["y"]), &made(&[4]), 1)?;
            Ok(())
        }),
        ("request r1 made", || {
            let mut creates = creates(&[("a", "r1", "x", 1)])?;
            creates.forget(&space("b"));
            creates.created(&create("a", "r1", &["x"]), &made(&[3]), 1)?;
            Ok(())
        }),
        (
            "promise 1: 2 tasks were asked for and 1 acknowledged",
            || Creates::default().acked(&create("a", "r1", &["x", "y"]), &[id(1)]),
        ),
        ("acknowledged and is not committed", || {
            Creates::default().acked(&create("a", "r1", &["x"]), &[id(1)])
        }),
        ("acknowledged and is not committed", || {
            let mut creates = creates(&[("a", "r1", "x", 1)])?;
            creates.acked(&create("b", "r1", &["x"]), &[id(1)])
        }),
        ("acknowledged and is not committed", || {
            let mut creates = creates(&[("a", "r1", "x", 1)])?;
            creates.acked(&create("a", "r1", &["z"]), &[id(1)])
        }),
    ]);
    let mut creates = Creates::default();
    assert_eq!(creates.created(&asked(), &made(&[1, 2]), 1), Ok(true));
    assert_eq!(creates.created(&asked(), &made(&[1, 2]), 1), Ok(false));
    assert_eq!(creates.acked(&asked(), &[id(1), id(2)]), Ok(()));
    let swapped = creates.acked(&asked(), &[id(2), id(1)]).unwrap_err();
    assert!(swapped.contains("is not committed"), "{swapped}");
}

/// A task that is due at 10 s, lives for 5 s and may be tried twice.
fn times() -> Times {
    let mut times = Times::default();
    times.at(S);
    let new = NewTask {
        due: Due::At(WallTime::from_ns(10 * S)),
        max_attempts: 2,
        ttl_ms: 5_000,
        ..NewTask::default()
    };
    times.created(&new, id(1));
    times
}

/// The first task is leased; the grant says when it was first due.
fn lease(times: &Times, first_due_ns: u64, attempt: u32) -> Result<(), String> {
    let grant = Grant {
        due_at_ns: first_due_ns,
        ..grant(1, 1, S, attempt)
    };
    times.granted((0, DISPATCH_AHEAD_MS), &grant)
}

#[test]
fn tasks_are_leased_in_their_time() {
    const AHEAD_NS: u64 = DISPATCH_AHEAD_MS * 1_000_000;
    fn leased(at_ns: u64, attempt: u32) -> Result<(), String> {
        let mut times = times();
        times.at(at_ns);
        lease(&times, 10 * S, attempt)
    }
    fn lasts(at_ns: u64, until_ns: u64) -> Result<(), String> {
        let mut times = times();
        times.at(at_ns);
        let grant = Grant {
            due_at_ns: 10 * S,
            ..grant(1, 1, until_ns, 1)
        };
        times.granted((1_000, DISPATCH_AHEAD_MS), &grant)
    }
    judge(&[
        ("", || leased(10 * S, 1)),
        ("", || leased(15 * S - 1, 2)),
        ("", || leased(10 * S - AHEAD_NS, 1)),
        ("us before it was due", || leased(10 * S - AHEAD_NS - 1, 1)),
        ("", || lasts(10 * S - AHEAD_NS, 11 * S)),
        ("", || lasts(12 * S, 13 * S)),
        ("does not last 1000 ms", || {
            lasts(10 * S - AHEAD_NS, 11 * S - AHEAD_NS)
        }),
        ("its lease says", || {
            let mut times = times();
            times.at(11 * S);
            lease(&times, 9 * S, 1)
        }),
        ("before it was due", || leased(S, 1)),
        ("after its time to live", || leased(15 * S, 1)),
        ("after its time to live", || leased(60 * S, 1)),
        ("tried for the 3th time, and may be 2", || leased(11 * S, 3)),
        ("never created", || {
            times().granted((0, 0), &grant(2, 1, S, 1))
        }),
        // Machine time does not go back.
        ("", || {
            let mut times = times();
            times.at(11 * S);
            times.at(2 * S);
            lease(&times, 10 * S, 1)
        }),
        ("before it was due", || {
            let mut times = times();
            times.rescheduled(id(1), Due::AfterSeconds(20));
            times.at(11 * S);
            lease(&times, 21 * S, 1)
        }),
        // Its age counts anew.
        ("", || {
            let mut times = times();
            times.rescheduled(id(1), Due::AfterSeconds(20));
            times.at(25 * S);
            lease(&times, 21 * S, 1)
        }),
        ("before it was due", || {
            let mut times = times();
            times.at(11 * S);
            let due_at_ns = 12 * S;
            times.came_back([id(1)].into_iter(), &[Ok(Ended::Waiting { due_at_ns })])?;
            lease(&times, 10 * S, 1)
        }),
        ("came back 1000000 us before it was first due", || {
            let mut times = times();
            let due_at_ns = 9 * S;
            let ended = [Ok(Ended::Waiting { due_at_ns })];
            times.came_back([id(1)].into_iter(), &ended).map(|_| ())
        }),
        // Tried again, it has one attempt more.
        ("", || {
            let mut times = times();
            times.at(20 * S);
            times.redriven(id(1));
            lease(&times, 20 * S, 3)
        }),
    ]);
}

/// A task that was leased at 10 until 100, with token 5.
fn leases() -> Result<Leases, String> {
    let mut leases = Leases::default();
    leases.granted_one(&space("a"), &grant(1, 5, 100, 1), 10)?;
    Ok(leases)
}

/// What became of an end with this token at this time.
fn ended(token: u64, result: Result<Ended, LeaseLost>, now_ns: u64) -> Result<(), String> {
    let lease = [(id(1), LeaseToken(token))].into_iter();
    let ended = leases()?.ended(lease, &[result], now_ns, |_| false);
    ended.map(|_| ())
}

#[test]
fn a_lease_is_its_holders() {
    const BACK: Ended = Ended::Waiting { due_at_ns: 0 };
    fn again(now_ns: u64, token: u64) -> Result<(), String> {
        let grant = grant(1, token, 300, 1);
        leases()?
            .granted_one(&space("a"), &grant, now_ns)
            .map(|_| ())
    }
    fn extended(token: u64, result: Result<u64, LeaseLost>, now_ns: u64) -> Result<(), String> {
        leases()?.extended((id(1), LeaseToken(token)), &result, now_ns, false)
    }
    judge(&[
        ("", || ended(5, Ok(Ended::Done), 99)),
        ("", || ended(5, Ok(BACK), 99)),
        ("", || ended(5, Err(LeaseLost::Expired), 100)),
        ("", || ended(4, Err(LeaseLost::Taken), 50)),
        ("OldTokenTaken", || ended(5, Ok(Ended::Done), 100)),
        ("OldTokenTaken", || ended(4, Ok(Ended::Done), 50)),
        ("OldTokenTaken", || ended(6, Ok(BACK), 50)),
        ("OldTokenTaken", || {
            ended(4, Ok(Ended::Dead(DeathReason::Ttl)), 50)
        }),
        ("LiveLeaseRefused", || ended(5, Err(LeaseLost::Expired), 99)),
        ("LiveLeaseRefused", || ended(5, Err(LeaseLost::Gone), 11)),
        ("LiveLeaseRefused", || ended(5, Err(LeaseLost::Taken), 11)),
        ("LiveLeaseRefused", || ended(5, Err(LeaseLost::Dead), 11)),
        // Of a namespace that is being deleted it is nobody's.
        ("", || {
            let lease = [(id(1), LeaseToken(5))].into_iter();
            let lost = leases()?.ended(lease, &[Err(LeaseLost::Gone)], 11, |_| true);
            lost.map(|_| ())
        }),
        ("", || again(100, 6)),
        ("LeaseOverlap", || again(99, 6)),
        ("TokenFell", || again(100, 5)),
        ("", || extended(5, Ok(200), 99)),
        ("", || extended(5, Err(LeaseLost::Expired), 100)),
        ("OldTokenTaken", || extended(5, Ok(200), 100)),
        ("OldTokenTaken", || extended(4, Ok(200), 50)),
        ("LiveLeaseRefused", || {
            extended(5, Err(LeaseLost::Expired), 99)
        }),
        ("LeaseOverlap", || {
            let mut leases = leases()?;
            leases.extended((id(1), LeaseToken(5)), &Ok(200), 99, false)?;
            leases
                .granted_one(&space("a"), &grant(1, 6, 300, 1), 150)
                .map(|_| ())
        }),
        ("", || leases()?.removed(id(1), 100, "purged")),
        ("LeaseOverlap", || leases()?.removed(id(1), 99, "cancelled")),
        ("AfterEnd", || {
            let mut leases = leases()?;
            leases.removed(id(1), 100, "cancelled")?;
            leases
                .granted_one(&space("a"), &grant(1, 6, 300, 1), 150)
                .map(|_| ())
        }),
        ("1 leases of namespace a are live, its limit is 0", || {
            leases()?.within(&space("a"), 99, 0)
        }),
        ("", || leases()?.within(&space("a"), 99, 1)),
        ("", || leases()?.within(&space("a"), 100, 0)),
        ("", || leases()?.within(&space("b"), 50, 0)),
    ]);
}

#[test]
fn an_end_is_final() {
    fn after(how: End) -> Ends {
        let mut ends = Ends::default();
        ends.ended(&space("a"), id(1), how, 7);
        ends
    }
    judge(&[
        ("", || after(End::Done).granted(id(2))),
        ("", || after(End::Done).changed(id(2))),
        ("was leased, and was Done at index 7", || {
            after(End::Done).granted(id(1))
        }),
        ("was leased, and was Cancelled", || {
            after(End::Cancelled).granted(id(1))
        }),
        ("was leased, and was Purged", || {
            after(End::Purged).granted(id(1))
        }),
        ("was leased, and was Deleted", || {
            after(End::Deleted).granted(id(1))
        }),
        ("was changed, and was Done", || {
            after(End::Done).changed(id(1))
        }),
        ("was changed, and was Cancelled", || {
            after(End::Cancelled).changed(id(1))
        }),
        ("was changed, and was Purged", || {
            after(End::Purged).changed(id(1))
        }),
        // A namespace goes in steps.
        ("", || after(End::Deleted).changed(id(1))),
        ("was leased, and was Deleted at index 9", || {
            let creates = creates(&[("a", "r1", "x", 1)])?;
            let mut ends = Ends::default();
            ends.deleted(&space("a"), &creates, 9);
            ends.granted(id(1))
        }),
    ]);
    let ends = after(End::Done);
    let count = |name, how| ends.count(&space(name), how);
    assert_eq!((count("a", End::Done), count("a", End::Cancelled)), (1, 0));
    assert_eq!(count("b", End::Done), 0);
}

/// A task of a namespace that allows three failures and keeps two dead letters,
/// leased at 10 until 100.
fn deaths(max_attempts: u32) -> Result<Deaths, String> {
    let mut deaths = Deaths::default();
    let config = NamespaceConfig {
        max_attempts: 3,
        dead_keep_count: 2,
        ..NamespaceConfig::default()
    };
    deaths.set(&space("a"), &config);
    let new = NewTask {
        max_attempts,
        ..NewTask::default()
    };
    deaths.created(&new, id(1), 5);
    deaths.granted(&grant(1, 1, 100, 1), 10)?;
    Ok(deaths)
}

/// A lease of it was ended so: a nack, for good or not, or a release.
fn end(deaths: &mut Deaths, nack: Option<bool>, how: Ended, old: bool) -> Result<(), String> {
    deaths.ended(&space("a"), id(1), nack, &Ok(how), (50, old))
}

#[test]
fn nothing_dies_without_a_cause() {
    use DeathReason::{Attempts, Permanent, Ttl};
    const WAITS: Ended = Ended::Waiting { due_at_ns: 60 };
    fn died(own: u32, nack: Option<bool>, why: DeathReason, old: bool) -> Result<(), String> {
        end(&mut deaths(own)?, nack, Ended::Dead(why), old)
    }
    judge(&[
        ("", || died(1, Some(false), Attempts, false)),
        ("", || died(0, Some(true), Permanent, false)),
        ("", || died(0, None, Ttl, true)),
        ("failed 1 times and may 3 times", || {
            died(0, Some(false), Attempts, true)
        }),
        ("failed 1 times and may 2 times", || {
            died(2, Some(false), Attempts, false)
        }),
        ("failed 0 times and may 1 times", || {
            died(1, None, Attempts, false)
        }),
        ("died without a cause, Some(Permanent)", || {
            died(1, Some(false), Permanent, true)
        }),
        ("died without a cause, Some(Permanent)", || {
            died(1, None, Permanent, false)
        }),
        ("died without a cause, Some(Ttl)", || {
            died(1, Some(true), Ttl, false)
        }),
        ("given up for good and is Waiting", || {
            end(&mut deaths(0)?, Some(true), WAITS, false)
        }),
        // Failures are counted: nacks, and leases that ran out.
        ("", || {
            let mut deaths = deaths(0)?;
            end(&mut deaths, Some(false), WAITS, false)?;
            deaths.granted(&grant(1, 2, 100, 2), 60)?;
            deaths.granted(&grant(1, 3, 200, 3), 100)?;
            deaths.dead(&space("a"), id(1), Some(Attempts), (200, false))
        }),
        ("is at attempt 2, and failed 0 times", || {
            let mut deaths = deaths(0)?;
            end(&mut deaths, None, WAITS, false)?;
            deaths.granted(&grant(1, 2, 100, 2), 60)
        }),
        ("is at attempt 1, and failed 1 times", || {
            deaths(0)?.granted(&grant(1, 2, 200, 1), 100)
        }),
        ("failed 2 times and may 3", || {
            let mut deaths = deaths(0)?;
            deaths.granted(&grant(1, 2, 200, 2), 100)?;
            deaths.dead(&space("a"), id(1), Some(Attempts), (200, false))
        }),
        ("failed 0 times", || {
            let mut deaths = deaths(1)?;
            deaths.extended(id(1), 300);
            deaths.dead(&space("a"), id(1), Some(Attempts), (200, false))
        }),
        // Tried again: without a failure more it has no cause.
        ("died without a cause", || {
            let mut deaths = deaths(1)?;
            end(&mut deaths, Some(false), Ended::Dead(Attempts), false)?;
            deaths.redriven(&space("a"), id(1), true, (60, false))?;
            deaths.dead(&space("a"), id(1), Some(Attempts), (70, false))
        }),
        ("died without a cause", || {
            deaths(1)?.purged(&space("a"), id(1), (60, false))
        }),
        ("died without a cause", || {
            deaths(1)?.redriven(&space("a"), id(1), false, (60, false))
        }),
    ]);
}

#[test]
fn nothing_goes_that_was_not_one_dead_letter_too_many() {
    fn missing(name: &str, dead: u64, old: bool) -> Result<(), String> {
        deaths(1)?.missing(&space(name), id(1), dead, (99, old))
    }
    judge(&[
        ("", || missing("a", 2, true)),
        ("died without a cause", || missing("a", 2, false)),
        ("of the 2 dead letters that are kept at most 1 were", || {
            missing("a", 1, true)
        }),
        ("is lost", || missing("b", 9, true)),
        // Others may have been taken away since it was last seen.
        ("", || {
            let mut deaths = deaths(1)?;
            deaths.purged(&space("a"), id(2), (100, true))?;
            deaths.missing(&space("a"), id(1), 1, (200, true))
        }),
        ("at most 1 were", || {
            let mut deaths = deaths(1)?;
            deaths.purged(&space("a"), id(2), (9, true))?;
            deaths.missing(&space("a"), id(1), 1, (99, true))
        }),
    ]);
}
