//! LeaseTasks: a session that takes tasks once, for one answer. It proposes a lease
//! of its own for what is due, or stands in line as a consumer that takes once.
//!
//! What it is leased comes as an event of the log, as with any session; the answer
//! to its proposal only says how much to wait for. What comes when it has been
//! answered is nobody's, and is released.

use z4_core::command::{Command, Grant, LeaseTasks, Outcome, Taker};
use z4_core::planted;

use crate::input::{Failure, Method, Now, Settled};
use crate::ledger::Place;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{Delivery, End, Output, Retry, Whose};
use crate::session::Session;

/// What a session of LeaseTasks is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// It looks for what its consumer holds.
    Resuming,
    /// It looks whether anything is due.
    Looking,
    /// It proposed a lease: so many were granted, once that is known.
    Asked { granted: Option<u64> },
    /// It is not known what became of its proposal: it looks for what that leased.
    Doubting,
    /// It stands in line until then.
    InLine { until_ns: u64 },
    /// Its answer is being written.
    Answering,
}

impl Take {
    pub(crate) fn new(method: Method) -> Self {
        match method {
            Method::Take { resume: true, .. } => Self::Resuming,
            _ => Self::Looking,
        }
    }
}

impl Take {
    /// It waits for no task.
    pub(crate) fn ends_soon(self) -> bool {
        !matches!(self, Self::InLine { .. } | Self::Looking | Self::Resuming)
    }
}

impl Session {
    fn wants(&self) -> (u32, u64, u64) {
        match self.method {
            Method::Take {
                tasks,
                wait_ns,
                patience_ns,
                ..
            } => (tasks, wait_ns, patience_ns),
            Method::Consume { .. } | Method::Stream => (0, 0, 0),
        }
    }

    pub(crate) fn begin_take<E>(&mut self, out: &mut Outbox<E>) {
        if self.take == Take::Resuming {
            return self.find(Whose::Consumer(self.consumer_id.clone()), out);
        }
        let (_, wait_ns, _) = self.wants();
        if wait_ns == 0 {
            return self.ask_lease(out);
        }
        // A look at this peer's own state saves an entry of the log; who waits is
        // told of what it did not see.
        out.push(Output::LookDue {
            session: self.id,
            namespace: self.namespace.clone(),
        });
    }

    /// What its consumer holds was found: that is the answer, if it is anything.
    pub(crate) fn take_resumed<E>(&mut self, leases: Vec<Grant>, out: &mut Outbox<E>) {
        self.take = Take::Looking;
        if leases.is_empty() {
            return self.begin_take(out);
        }
        let (tasks, ..) = self.wants();
        let resumed = |grant| Delivery {
            grant,
            is_resumed: true,
        };
        self.take = Take::Answering;
        out.push(Output::Deliver {
            session: self.id,
            deliveries: leases
                .into_iter()
                .take(tasks as usize)
                .map(resumed)
                .collect(),
        });
    }

    pub(crate) fn due<E>(&mut self, is_due: bool, out: &mut Outbox<E>) {
        if self.take == Take::Looking {
            match is_due {
                true => self.ask_lease(out),
                false => self.stand_in_line(),
            }
        }
    }

    fn ask_lease<E>(&mut self, out: &mut Outbox<E>) {
        let (tasks, _, patience_ns) = self.wants();
        self.take = Take::Asked { granted: None };
        let lease = LeaseTasks {
            namespace: self.namespace.clone(),
            takers: vec![Taker {
                consumer: self.name.clone(),
                room: tasks,
            }],
            lease_ms: self.lease_ms,
        };
        let asked = Asked::Take(self.id);
        out.propose(
            asked,
            Command::LeaseTasks(lease),
            Retry::Once { patience_ns },
        );
    }

    /// What came of its proposal.
    pub(crate) fn lease_settled<E>(
        &mut self,
        result: Result<Settled, Failure<E>>,
        out: &mut Outbox<E>,
    ) {
        if !matches!(self.take, Take::Asked { .. }) {
            return;
        }
        match result {
            Ok(settled) => self.took(match settled.outcome {
                Outcome::Leased { grants, .. } => grants.len() as u64,
                // Not of a lease: nothing was granted.
                _ => 0,
            }),
            Err(Failure::NotDone(error)) => self.close(End::Failed(error), out),
            Err(Failure::Unknown(_)) => {
                self.take = Take::Doubting;
                self.find(Whose::Session(self.name.clone()), out);
            }
        }
    }

    fn took(&mut self, count: u64) {
        let (_, wait_ns, _) = self.wants();
        self.take = Take::Asked {
            granted: Some(count),
        };
        if count == 0 && wait_ns > 0 {
            self.stand_in_line();
        }
    }

    fn stand_in_line(&mut self) {
        self.take = Take::InLine { until_ns: u64::MAX };
    }

    /// How many more it takes, as a consumer that is reported.
    pub(crate) fn take_window(&self) -> u64 {
        match self.take {
            Take::InLine { .. } => self.wants().0.into(),
            _ => 0,
        }
    }

    pub(crate) fn look_take<E>(&mut self, now: Now, has_leader: bool, out: &mut Outbox<E>) {
        let (tasks, wait_ns, patience_ns) = self.wants();
        let has = self.flow.ledger.at(Place::Waiting).count;
        match self.take {
            Take::Doubting if self.finding.is_none() => {
                self.took(self.flow.ledger.received());
                self.look_take(now, has_leader, out);
            }
            Take::Asked {
                granted: Some(granted),
            } if self.flow.ledger.received() >= granted => self.answer_take(out),
            Take::Asked { .. } | Take::Doubting => {
                let until_ns = self.opened.monotonic_ns.saturating_add(patience_ns);
                if now.monotonic_ns < until_ns {
                    return self.wake(until_ns);
                }
                match self.take {
                    // It was not sent, as far as is known.
                    Take::Asked { granted: None } if !has_leader => self.close(End::NoLeader, out),
                    _ => self.close(End::NotConfirmed, out),
                }
            }
            Take::InLine { until_ns } => {
                let until_ns = until_ns
                    .min(
                        self.opened
                            .monotonic_ns
                            .saturating_add(wait_ns.min(patience_ns)),
                    )
                    .min(match has {
                        0 => u64::MAX,
                        _ => now.monotonic_ns + limits::LEASE_GATHER_NS,
                    });
                self.take = Take::InLine { until_ns };
                let is_over = now.monotonic_ns >= until_ns;
                if has >= u64::from(tasks) || is_over && (has > 0 || has_leader) {
                    self.answer_take(out);
                } else if is_over {
                    self.close(End::NoLeader, out);
                } else {
                    self.wake(until_ns);
                }
            }
            Take::Resuming | Take::Looking | Take::Answering => {}
        }
    }

    /// Answers with what it has.
    fn answer_take<E>(&mut self, out: &mut Outbox<E>) {
        self.take = Take::Answering;
        let mut deliveries = Vec::new();
        let ledger = &mut self.flow.ledger;
        while let Some(key) = ledger.waiting(false) {
            if let Some(lease) = ledger.get(&key) {
                deliveries.push(Delivery {
                    grant: lease.grant.clone(),
                    is_resumed: false,
                });
            }
            ledger.move_to(&key, Place::OnWay);
        }
        out.push(Output::Deliver {
            session: self.id,
            deliveries,
        });
    }

    /// The answer went out with some of them; the others go back.
    pub(crate) fn take_delivered<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let mut left = self.flow.ledger.all_at(&[Place::Waiting]);
        let patience_ns = self.wants().2;
        let is_late = now.wall_ns > self.opened.wall_ns.saturating_add(patience_ns);
        if planted!("caller-by-the-wall-clock") && is_late {
            left.extend(self.flow.ledger.all_at(&[Place::InHand]));
        }
        for (key, _) in &left {
            self.flow.ledger.move_to(key, Place::Returning);
        }
        out.end(Command::ReleaseTasks, &self.namespace, &left);
    }
}
