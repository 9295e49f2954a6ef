//! The one path of a proposal, from any peer: it waits for a leader, tries, and
//! tries again while nothing was done or while a repeat does no harm.
//!
//! | file | what |
//! |---|---|
//! | `attempt` | one try: here when this peer leads, else at the leader |
//! | `course` | what a try that failed means, and whether another one follows |

mod attempt;
mod course;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use z4_consensus::Status;
use z4_core::command::CreateTasks;
use z4_core::dispatch::is_due_at_once;
use z4_core::{Command, Outcome, Refusal, View};
use z4_proto::{encode_command, encode_create, level};

use crate::delivery::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

use self::attempt::Failed;
use self::course::{Course, Next, Pause};

pub(crate) use self::attempt::{Appended, Local, Proposed, Until};

/// How often, and for how long, a proposal is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// The time for all tries together; less when the caller leaves before.
    pub(crate) timeout: Duration,
    /// A try that may have been applied is followed by another one.
    pub(crate) may_repeat: bool,
    /// What is missing now, a leader or room, is waited for all the time. Otherwise
    /// a leader is waited for no longer than [`limits::LEADER_WAIT`], and a lack of
    /// room is told at once.
    pub(crate) persists: bool,
}

impl RetryPolicy {
    /// The policy of most calls: the command alone says whether it may be repeated.
    pub(crate) fn of(command: &Command, timeout: Duration) -> Self {
        Self {
            timeout,
            may_repeat: course::is_harmless(command),
            persists: false,
        }
    }

    /// The same, for what has nobody to come back for it.
    pub(crate) fn persisting(self) -> Self {
        Self {
            persists: true,
            ..self
        }
    }
}

/// What a proposal came to.
#[derive(Debug)]
pub(crate) struct Settled<T = Outcome> {
    /// The answer of the log; never a refusal, which is an error.
    pub(crate) outcome: T,
    /// An earlier try may have been applied as well, before or after this one.
    pub(crate) maybe_before: bool,
    /// The address of the leader when another peer led.
    pub(crate) forwarded_to: String,
}

impl Settled<Proposed> {
    fn applied(self) -> Result<Settled, Error> {
        match self.outcome {
            Proposed::Applied(outcome) => Ok(Settled {
                outcome,
                maybe_before: self.maybe_before,
                forwarded_to: self.forwarded_to,
            }),
            accepted @ Proposed::Accepted(_) => Err(unexpected(accepted)),
        }
    }
}

/// A command as it goes into the log.
#[derive(Debug)]
struct Encoded {
    bytes: Vec<u8>,
    units: u32,
    /// As of [`Local`].
    topic: Option<String>,
    until: Until,
}

impl Encoded {
    fn of(command: &Command) -> Result<Arc<Self>, Refusal> {
        command.check()?;
        Ok(Arc::new(Self {
            bytes: encode_command(command),
            units: command.units(),
            topic: None,
            until: Until::Applied,
        }))
    }
}

/// Lets what needs this level into the log of a cluster that has that one.
fn allowed_at(needed: u32, has: u32) -> Result<(), Error> {
    if needed <= has {
        return Ok(());
    }
    Err(Error::Precondition(format!(
        "the cluster has level {has}, and this needs level {needed}: start all members with a \
         release that knows it (z4t upgrade status), then try again"
    )))
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Proposes a command, and tries as long as its policy allows.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it may have been applied, or may yet be; with any
    /// other error it was not.
    pub(crate) async fn propose(
        &self,
        command: &Command,
        policy: RetryPolicy,
    ) -> Result<Settled, Error> {
        self.check_level(command)?;
        let course = self.course(Encoded::of(command)?, policy);
        self.pursue(course).await?.applied()
    }

    /// Refuses what members of the cluster may not know.
    fn check_level(&self, command: &Command) -> Result<(), Error> {
        let status = self.handle().status();
        match status.raft_id {
            // Whoever is in no cluster proposes nothing, and is told so.
            0 => Ok(()),
            _ => allowed_at(level::needed(command), status.membership.level),
        }
    }

    /// The same, without a future for the first try: when there is a leader, the
    /// command is on its way to it when this returns. `done` is called once, from
    /// any thread, this one among them, and must not block: by the first try, or by
    /// a task that goes on with the others.
    pub(crate) fn propose_then(
        &self,
        command: &Command,
        policy: RetryPolicy,
        done: impl FnOnce(Result<Settled, Error>) + Send + 'static,
    ) {
        let encoded = match Encoded::of(command) {
            Ok(encoded) => encoded,
            Err(refusal) => return done(Err(refusal.into())),
        };
        let mut course = self.course(Arc::clone(&encoded), policy);
        let done = move |settled: Result<Settled<Proposed>, Error>| {
            done(settled.and_then(Settled::applied));
        };
        let (node, status) = (self.clone(), self.handle().status());
        let seen = Arc::clone(&status);
        let by = course.try_by(Instant::now());
        self.attempt(&status, &encoded, by, move |tried| {
            match course.after(tried, &seen, Instant::now()) {
                Next::Done(settled) => done(settled),
                Next::Again(pause) => node.network().clone().spawn(async move {
                    let settled = match node.pause(&course, pause, &seen).await {
                        Ok(()) => node.pursue(course).await,
                        Err(error) => Err(error),
                    };
                    done(settled);
                }),
            }
        });
    }

    /// Proposes tasks, as [`validate`](crate::validate) has checked them. With
    /// [`Until::Accepted`] it is answered as soon as the leader has them in its log,
    /// if they have no request id: whether one was used before is known when it is
    /// applied.
    ///
    /// # Errors
    /// Those of [`Node::propose`].
    pub(crate) async fn propose_create(
        &self,
        create: &CreateTasks,
        until: Until,
        timeout: Duration,
    ) -> Result<Settled<Proposed>, Error> {
        let may_repeat = !create.request_id.is_empty();
        let is_due = is_due_at_once(create, wall_ns());
        let encoded = Encoded {
            bytes: encode_create(create),
            units: create.tasks.len() as u32,
            topic: is_due.then(|| create.namespace.to_string()),
            until: if may_repeat { Until::Applied } else { until },
        };
        let policy = RetryPolicy {
            timeout,
            may_repeat,
            persists: false,
        };
        self.pursue(self.course(Arc::new(encoded), policy)).await
    }

    fn course(&self, encoded: Arc<Encoded>, policy: RetryPolicy) -> Course {
        let timeout = self.patience(policy.timeout);
        let policy = RetryPolicy { timeout, ..policy };
        Course::new(encoded, policy, Instant::now())
    }

    /// Tries until it is over.
    async fn pursue(&self, mut course: Course) -> Result<Settled<Proposed>, Error> {
        loop {
            let status = self.handle().status();
            let (tx, rx) = oneshot::channel();
            let by = course.try_by(Instant::now());
            self.attempt(&status, course.encoded(), by, move |tried| {
                // The asker may have left.
                let _ = tx.send(tried);
            });
            let tried = rx.await.unwrap_or(Err(Failed::Unknown));
            match course.after(tried, &status, Instant::now()) {
                Next::Done(settled) => return settled,
                Next::Again(pause) => self.pause(&course, pause, &status).await?,
            }
        }
    }

    /// Waits before the next try; fails when there is no time left for one.
    async fn pause(&self, course: &Course, pause: Pause, seen: &Status) -> Result<(), Error> {
        match pause {
            Pause::ForLeader { until } => self.another_leader(seen, until).await,
            Pause::ForRoom => self.timer().sleep(limits::BUSY_RETRY).await,
        }
        course.has_time(&self.handle().status(), Instant::now())
    }
}

/// The log answered what it cannot.
pub(crate) fn unexpected(what: impl std::fmt::Debug) -> Error {
    Error::Internal(format!("the log answered {what:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;
    use std::thread;

    use grpcio::EnvBuilder;
    use z4_consensus::runtime::prepare;
    use z4_consensus::Levels;
    use z4_core::MemState;

    use super::*;
    use crate::{Access, Metrics, Network, NetworkParts, OwnLevels, Timer};

    /// A peer in no cluster: nobody can be asked.
    fn waiting() -> Node<MemState> {
        let network = Network::new(NetworkParts {
            env: Arc::new(EnvBuilder::new().cq_count(1).build()),
            timer: Timer::start().unwrap(),
            identity: Arc::default(),
            peer_id: "a".into(),
            advertise_addr: "127.0.0.1:1".into(),
            levels: OwnLevels {
                levels: Levels::UNSAID,
                version: "1".into(),
                is_held: false,
                note_hold: Arc::new(|_| ()),
            },
            tls: None,
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        });
        let (handle, _) = prepare();
        Node::start(
            handle,
            MemState::new(),
            network,
            Access::off(),
            Arc::new(crate::Facts::default),
        )
        .unwrap()
    }

    #[test]
    fn what_members_may_not_know_stays_out_of_the_log() {
        assert_eq!(allowed_at(2, 2), Ok(()));
        assert_eq!(allowed_at(1, 2), Ok(()));
        let said = allowed_at(2, 1).unwrap_err().to_string();
        assert!(
            said.contains("has level 1") && said.contains("needs level 2"),
            "{said}"
        );
    }

    #[test]
    fn a_first_try_is_answered_at_once_and_the_others_go_on_by_themselves() {
        let (node, pulse) = (waiting(), Command::Pulse);
        let (tx, told) = mpsc::channel();
        let done = |tx: &mpsc::Sender<_>| {
            let tx = tx.clone();
            move |settled: Result<Settled, Error>| {
                let is_unavailable = matches!(settled, Err(Error::Unavailable(_)));
                tx.send((is_unavailable, thread::current().id())).unwrap();
            }
        };
        let patience = 3 * limits::BUSY_RETRY;
        let policy = RetryPolicy::of(&pulse, patience);
        node.propose_then(&pulse, policy, done(&tx));
        assert_eq!(told.try_recv(), Ok((true, thread::current().id())));

        let began_at = Instant::now();
        node.propose_then(&pulse, policy.persisting(), done(&tx));
        let (is_unavailable, by) = told.recv().unwrap();
        assert!(is_unavailable && by != thread::current().id());
        let took = began_at.elapsed();
        assert!(took >= 2 * limits::BUSY_RETRY, "{took:?}");
        drop(tx);
        assert!(told.recv().is_err(), "an answer comes once");
    }
}
