//! The course of a proposal: what a try that failed means, and whether another one
//! follows. Time is an argument.

use std::sync::Arc;
use std::time::Instant;

use grpcio::RpcStatusCode;
use z4_consensus::Status;
use z4_core::{Command, Outcome};

use super::attempt::{Failed, Proposed, Tried};
use super::{Encoded, RetryPolicy, Settled};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;

/// A proposal on its way.
pub(super) struct Course {
    encoded: Arc<Encoded>,
    policy: RetryPolicy,
    /// The end of its time.
    by: Instant,
    /// Until then it waits for a leader.
    leader_by: Instant,
    /// Once a try may have been applied, no later one can say that none was.
    maybe_before: bool,
}

/// What follows a try.
#[derive(Debug)]
pub(super) enum Next {
    Done(Result<Settled<Proposed>, Error>),
    Again(Pause),
}

/// What is waited for before the next try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pause {
    /// A leader other than the one that was asked, until then.
    ForLeader { until: Instant },
    /// Room where there was none.
    ForRoom,
}

impl Course {
    pub(super) fn new(encoded: Arc<Encoded>, policy: RetryPolicy, now: Instant) -> Self {
        let mut course = Self {
            encoded,
            policy,
            by: now + policy.timeout,
            leader_by: now,
            maybe_before: false,
        };
        course.wait_for_leader(now);
        course
    }

    pub(super) fn encoded(&self) -> &Encoded {
        &self.encoded
    }

    /// When a try that begins now is given up. Who was asked may have stopped
    /// answering long before its connection breaks.
    pub(super) fn try_by(&self, now: Instant) -> Instant {
        self.by.min(now + limits::UNARY_TIMEOUT)
    }

    fn wait_for_leader(&mut self, now: Instant) {
        self.leader_by = match self.policy.persists {
            true => self.by,
            false => self.by.min(now + limits::LEADER_WAIT),
        };
    }

    /// What follows a try, which was made where `status` says.
    pub(super) fn after(
        &mut self,
        tried: Result<Tried, Failed>,
        status: &Status,
        now: Instant,
    ) -> Next {
        let mut refused = None;
        match tried {
            Ok(Tried {
                proposed: Proposed::Applied(Outcome::Refused(refusal)),
                ..
            }) => return Next::Done(Err(self.unless_done(refusal.into()))),
            Ok(tried) => {
                return Next::Done(Ok(Settled {
                    outcome: tried.proposed,
                    maybe_before: self.maybe_before,
                    forwarded_to: tried.forwarded_to,
                }))
            }
            Err(Failed::Refused(error)) => {
                let waits = self.policy.persists && is_passing(&error);
                if waits && now + limits::BUSY_RETRY < self.by {
                    return Next::Again(Pause::ForRoom);
                }
                return Next::Done(Err(self.unless_done(error)));
            }
            Err(Failed::Unknown) => {
                self.maybe_before = true;
                if !self.policy.may_repeat {
                    return Next::Done(Err(self.unless_done(no_leader(status))));
                }
                // The search for the next leader begins now.
                self.wait_for_leader(now);
            }
            Err(Failed::Clock(why)) => refused = Some(why),
            Err(Failed::Again) => {}
        }
        let until = self.leader_by;
        if now < until {
            return Next::Again(Pause::ForLeader { until });
        }
        let error = match refused {
            Some(why) => Error::Unavailable(format!("{why}; nothing was done, retry")),
            None => no_leader(status),
        };
        Next::Done(Err(self.unless_done(error)))
    }

    /// Whether there is time for another try; the error, if there is none.
    pub(super) fn has_time(&self, status: &Status, now: Instant) -> Result<(), Error> {
        if now < self.by {
            return Ok(());
        }
        Err(self.unless_done(no_leader(status)))
    }

    /// This error, or that it may have been done, if a try was.
    fn unless_done(&self, error: Error) -> Error {
        let idempotent = self.policy.may_repeat;
        match self.maybe_before {
            true => Error::Unknown { idempotent },
            false => error,
        }
    }
}

/// Whether what was refused now may be taken later.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.code(),
        RpcStatusCode::UNAVAILABLE | RpcStatusCode::RESOURCE_EXHAUSTED
    )
}

/// Whether a second time does nothing that the first did not, whatever others did
/// between the two. What is gone is gone for ever; a request id makes its tasks
/// once; a lease is named by its token, ends once, and is resumed only from the name that the
/// command gives. All else could undo what
/// somebody was told is done: a task that was tried again may be a dead letter
/// anew, for another reason; a task may have been moved, a setting changed, a
/// namespace of the same name made anew.
pub(super) fn is_harmless(command: &Command) -> bool {
    match command {
        Command::CreateTasks(create) => !create.request_id.is_empty(),
        Command::CancelTasks(_) | Command::PurgeTasks(_) => true,
        Command::AckTasks(_)
        | Command::NackTasks(_)
        | Command::ExtendLeases(_)
        | Command::ReleaseTasks(_)
        | Command::ReturnTasks(_)
        | Command::ResumeLeases(_) => true,
        Command::LeaseTasks(_)
        | Command::RescheduleTasks(_)
        | Command::RedriveTasks(_)
        | Command::SetNamespace(_)
        | Command::DeleteNamespace(_)
        | Command::ChangePrincipal(_)
        | Command::Pulse
        | Command::Mark { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use z4_core::command::{
        CreateTasks, Due, HeldLeases, LeaseRefs, NamespacePatch, NewTask, RedriveTasks,
        RescheduleTasks, ResumeLeases, SetNamespace, TaskRefs,
    };
    use z4_core::{Code, Namespace, Refusal, TaskId};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn course(may_repeat: bool, persists: bool, now: Instant) -> Course {
        let policy = RetryPolicy {
            timeout: 10 * SECOND,
            may_repeat,
            persists,
        };
        Course::new(Encoded::of(&Command::Pulse).unwrap(), policy, now)
    }

    fn busy() -> Failed {
        Failed::Refused(Error::Busy {
            what: "q".into(),
            retry_after_ms: 100,
        })
    }

    #[test]
    fn a_leader_with_a_wrong_clock_is_waited_for_and_named() {
        let now = Instant::now();
        let mut course = course(false, false, now);
        let refused = || Err(Failed::Clock("its clock is ahead".into()));
        let until = waits(course.after(refused(), &Status::default(), now));
        let told = error(course.after(refused(), &Status::default(), until)).to_string();
        assert!(
            told.contains("its clock is ahead; nothing was done, retry"),
            "{told}"
        );
    }

    fn answered(outcome: Outcome) -> Result<Tried, Failed> {
        Ok(Tried {
            proposed: Proposed::Applied(outcome),
            forwarded_to: String::new(),
        })
    }

    fn error(next: Next) -> Error {
        match next {
            Next::Done(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    fn waits(next: Next) -> Instant {
        match next {
            Next::Again(Pause::ForLeader { until }) => until,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_leader_is_waited_for_and_then_nothing_was_done() {
        let (now, status) = (Instant::now(), Status::default());
        for (persists, patience) in [(false, limits::LEADER_WAIT), (true, 10 * SECOND)] {
            let mut course = course(false, persists, now);
            let until = waits(course.after(Err(Failed::Again), &status, now));
            assert_eq!(until, now + patience);
            let end = error(course.after(Err(Failed::Again), &status, until));
            assert!(matches!(end, Error::Unavailable(_)), "{end}");
        }
    }

    #[test]
    fn a_try_without_an_answer_ends_in_time_for_another_one() {
        let now = Instant::now();
        let policy = RetryPolicy {
            timeout: 2 * limits::UNARY_TIMEOUT,
            may_repeat: true,
            persists: true,
        };
        let course = Course::new(Encoded::of(&Command::Pulse).unwrap(), policy, now);
        let end = now + policy.timeout;
        assert_eq!(course.try_by(now), now + limits::UNARY_TIMEOUT);
        assert_eq!(course.try_by(end - SECOND), end);
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_where_that_does_no_harm() {
        let (now, status) = (Instant::now(), Status::default());
        let mut once = course(false, true, now);
        let end = error(once.after(Err(Failed::Unknown), &status, now));
        assert_eq!(end, Error::Unknown { idempotent: false });

        let mut again = course(true, false, now);
        let later = now + 2 * SECOND;
        let until = waits(again.after(Err(Failed::Unknown), &status, later));
        assert_eq!(until, later + limits::LEADER_WAIT, "the next leader");
        let Next::Done(Ok(settled)) =
            again.after(answered(Outcome::NamespaceDeleting), &status, later)
        else {
            panic!("it was applied");
        };
        assert!(settled.maybe_before);
    }

    #[test]
    fn after_a_doubt_no_error_says_that_nothing_was_done() {
        let (now, status) = (Instant::now(), Status::default());
        let refusal = Refusal::new(Code::NotFound, "no such namespace");
        let ends = || {
            let refused = answered(Outcome::Refused(refusal.clone()));
            [refused, Err(busy()), Err(Failed::Again)]
        };
        for (place, end) in ends().into_iter().enumerate() {
            let mut first = course(true, false, now);
            let late = now + 10 * SECOND;
            let certain = error(first.after(end, &status, late));
            assert!(!matches!(certain, Error::Unknown { .. }), "{certain}");
            let mut second = course(true, false, now);
            let _ = second.after(Err(Failed::Unknown), &status, now);
            let [a, b, c] = ends();
            let end = [a, b, c].into_iter().nth(place).unwrap();
            let doubt = error(second.after(end, &status, late));
            assert_eq!(doubt, Error::Unknown { idempotent: true });
            assert_eq!(second.has_time(&status, late), Err(doubt));
        }
    }

    #[test]
    fn room_is_waited_for_by_those_who_persist() {
        let (now, status) = (Instant::now(), Status::default());
        let told = error(course(true, false, now).after(Err(busy()), &status, now));
        assert!(matches!(told, Error::Busy { .. }), "{told}");
        let mut course = course(true, true, now);
        let next = course.after(Err(busy()), &status, now);
        assert!(matches!(next, Next::Again(Pause::ForRoom)), "{next:?}");
        let told = error(course.after(Err(busy()), &status, now + 10 * SECOND));
        assert!(matches!(told, Error::Busy { .. }), "{told}");
        let large = Failed::Refused(Error::invalid("message", "is too large"));
        let told = error(course.after(Err(large), &status, now));
        assert!(matches!(told, Error::Refused(_)), "{told}");
    }

    /// A dead letter that was redriven while leaders changed came back a second
    /// time, after it had died again: the peer had repeated the command. The
    /// others of the first list would so undo a later change of somebody else, or
    /// make a second task.
    #[test]
    fn only_what_is_done_once_however_often_it_is_asked_is_repeated() {
        let (namespace, id) = (Namespace::new("n").unwrap(), TaskId::new(1, 1, 0));
        let create = |request_id: &str| {
            Command::CreateTasks(CreateTasks {
                namespace: namespace.clone(),
                request_id: request_id.into(),
                tasks: vec![NewTask::default()],
            })
        };
        let refs = TaskRefs {
            namespace: namespace.clone(),
            ids: vec![id],
        };
        let leases = LeaseRefs {
            namespace: namespace.clone(),
            leases: Vec::new(),
        };
        let held = HeldLeases::of_anybody(leases.clone());
        let once = [
            create(""),
            Command::RedriveTasks(RedriveTasks {
                namespace: namespace.clone(),
                ids: vec![id],
                keep_attempts: false,
            }),
            Command::RescheduleTasks(RescheduleTasks {
                namespace: namespace.clone(),
                ids: vec![id],
                due: Due::Now,
            }),
            Command::SetNamespace(SetNamespace {
                namespace: namespace.clone(),
                patch: NamespacePatch::default(),
            }),
            Command::DeleteNamespace(namespace.clone()),
        ];
        for command in once {
            assert!(!is_harmless(&command), "{command:?}");
        }
        let repeated = [
            create("r"),
            Command::PurgeTasks(refs.clone()),
            Command::CancelTasks(refs),
            Command::AckTasks(leases),
            Command::ReturnTasks(held.clone()),
            Command::ReleaseTasks(held.clone()),
            Command::ResumeLeases(ResumeLeases {
                held,
                by: "c".into(),
            }),
        ];
        for command in repeated {
            assert!(is_harmless(&command), "{command:?}");
        }
    }
}
