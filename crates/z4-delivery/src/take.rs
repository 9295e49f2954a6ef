//! LeaseTasks: a session that takes tasks once, for one answer. It proposes a lease of
//! its own when something is due, and when its caller does not wait. Otherwise it stands
//! in line, as a consumer that takes once.
//!
//! What it is leased comes as an event of the log, as with any session; the answer
//! to its proposal only says how much to wait for. What comes when it has been
//! answered is nobody's, and is released.

use z4_core::command::{Command, Grant, LeaseTasks, Outcome, Taker};
use z4_core::planted;

use crate::input::{Failure, Method, Now, Settled, Taking};
use crate::ledger::Place;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{Delivery, End, Retry, Told, Whose};
use crate::session::Session;

/// What a session of LeaseTasks is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Take {
    /// It looks for what its consumer holds.
    Resuming,
    /// It is to be looked whether anything is due, as this peer has applied it: that
    /// saves an entry of the log, and who waits is told of what this peer did not see.
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
    /// It waits for no task.
    pub(crate) fn ends_soon(self) -> bool {
        !matches!(self, Self::InLine { .. } | Self::Looking | Self::Resuming)
    }
}

impl Session {
    pub(crate) fn taking(&self) -> Taking {
        match self.method {
            Method::Take(taking) => taking,
            Method::Consume { .. } | Method::Stream => Taking::default(),
        }
    }

    pub(crate) fn begin_take<E>(&mut self, out: &mut Outbox<E>) {
        if !self.taking().resume {
            return self.take_new(out);
        }
        self.take = Some(Take::Resuming);
        self.find(Whose::Consumer(self.consumer_id.clone()), out);
    }

    fn take_new<E>(&mut self, out: &mut Outbox<E>) {
        match self.taking().wait_ns {
            0 => self.ask_lease(out),
            _ => self.take = Some(Take::Looking),
        }
    }

    /// Whether anything is due is known.
    pub(crate) fn looked<E>(&mut self, is_due: bool, out: &mut Outbox<E>) {
        match is_due {
            true => self.ask_lease(out),
            false => self.stand_in_line(),
        }
    }

    fn stand_in_line(&mut self) {
        let taking = self.taking();
        let span_ns = taking.wait_ns.min(taking.patience_ns);
        let until_ns = self.opened.monotonic_ns.saturating_add(span_ns);
        self.take = Some(Take::InLine { until_ns });
    }

    fn ask_lease<E>(&mut self, out: &mut Outbox<E>) {
        let taking = self.taking();
        self.take = Some(Take::Asked { granted: None });
        let taker = Taker {
            consumer: self.name.clone(),
            room: taking.tasks,
        };
        let lease = LeaseTasks {
            namespace: self.namespace.clone(),
            takers: vec![taker],
            lease_ms: self.lease_ms,
            ahead_ms: 0,
        };
        let retry = Retry::Once {
            patience_ns: taking.patience_ns,
        };
        out.propose(Asked::Take(self.id), Command::LeaseTasks(lease), retry);
    }

    /// The leases that its consumer holds, and this call has resumed, are the answer, if
    /// there are any.
    pub(crate) fn take_resumed<E>(&mut self, leases: Vec<Grant>, out: &mut Outbox<E>) {
        if leases.is_empty() {
            return self.take_new(out);
        }
        self.take = Some(Take::Answering);
        let resumed = |grant| Delivery {
            grant,
            is_resumed: true,
        };
        let leases = leases.into_iter().map(resumed).collect();
        out.tell(self.id, Told::Deliver(leases));
    }

    /// What came of its proposal.
    pub(crate) fn lease_settled<E>(
        &mut self,
        result: Result<Settled, Failure<E>>,
        out: &mut Outbox<E>,
    ) {
        if !matches!(self.take, Some(Take::Asked { .. })) {
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
                self.take = Some(Take::Doubting);
                self.find(Whose::Session(self.name.clone()), out);
            }
        }
    }

    fn took(&mut self, count: u64) {
        match count == 0 && self.taking().wait_ns > 0 {
            true => self.stand_in_line(),
            false => {
                let granted = Some(count);
                self.take = Some(Take::Asked { granted });
            }
        }
    }

    /// How many more it takes, as a consumer that is reported.
    pub(crate) fn take_window(&self) -> u64 {
        match self.take {
            Some(Take::InLine { .. }) => self.taking().tasks.into(),
            _ => 0,
        }
    }

    pub(crate) fn look_take<E>(&mut self, now: Now, has_leader: bool, out: &mut Outbox<E>) {
        let has = self.flow.ledger.at(Place::Waiting).count;
        let received = self.flow.ledger.received();
        let Some(take) = self.take else { return };
        match take {
            Take::Doubting if self.finding.is_none() => {
                self.took(received);
                self.look_take(now, has_leader, out);
            }
            Take::Asked {
                granted: Some(granted),
            } if received >= granted => self.answer_take(out),
            Take::Asked { .. } | Take::Doubting => {
                let patience_ns = self.taking().patience_ns;
                let until_ns = self.opened.monotonic_ns.saturating_add(patience_ns);
                if now.monotonic_ns < until_ns {
                    return self.wake(until_ns);
                }
                match take {
                    // It was not sent, as far as is known.
                    Take::Asked { granted: None } if !has_leader => self.close(End::NoLeader, out),
                    _ => self.close(End::NotConfirmed, out),
                }
            }
            Take::InLine { mut until_ns } => {
                if has > 0 {
                    until_ns = until_ns.min(now.monotonic_ns + limits::LEASE_GATHER_NS);
                    self.take = Some(Take::InLine { until_ns });
                }
                let is_over = now.monotonic_ns >= until_ns;
                if has >= u64::from(self.taking().tasks) || is_over && (has > 0 || has_leader) {
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
        self.take = Some(Take::Answering);
        let (ledger, mut deliveries) = (&mut self.flow.ledger, Vec::new());
        while let Some(key) = ledger.first_waiting().map(|lease| lease.grant.key()) {
            deliveries.extend(ledger.hand_over(&key));
        }
        out.tell(self.id, Told::Deliver(deliveries));
    }

    /// The answer went out with some of them; the others go back.
    pub(crate) fn take_delivered<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let mut left = self.flow.ledger.all_at(&[Place::Held, Place::Waiting]);
        let patience_ns = self.taking().patience_ns;
        let is_late = now.wall_ns > self.opened.wall_ns.saturating_add(patience_ns);
        if planted!("caller-by-the-wall-clock") && is_late {
            left.extend(self.flow.ledger.all_at(&[Place::InHand]));
        }
        self.flow.ledger.move_all(&left, Place::Returning);
        self.give_back(Command::ReleaseTasks, &left, out);
    }
}
