//! The end of a session: by its client, who gives back all it has, or without a word.

use std::collections::BTreeMap;

use z4_core::command::{Command, HeldLeases, LeaseRefs};
use z4_core::planted;

use super::{Session, State};
use crate::input::{Key, Method, Now};
use crate::ledger::Place;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{End, Retry, Whose};
use crate::take::Take;

/// The doubt whether grants are still on their way to a session whose client is done. The
/// client is told that its session ended in good order when nothing is held or granted any
/// more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fence {
    /// The leader has to hear first that the session takes no more.
    Needed,
    /// A command that says nothing was proposed after that: what the leader had
    /// proposed before is applied before.
    Proposed,
    /// It is applied, and this peer catches up with it.
    Awaited,
    /// Nothing comes any more.
    Stands,
}

impl Session {
    /// The peer stops. What has its end in sight comes to it.
    pub(crate) fn stop<E>(&mut self, out: &mut Outbox<E>) {
        let ends_soon = match self.method {
            Method::Take(_) => self.take.is_some_and(Take::ends_soon),
            _ => matches!(self.state, State::Flushing | State::Closing { .. }),
        };
        if !ends_soon {
            self.close(End::Stopping, out);
        }
    }

    pub(crate) fn flushed(&mut self, now: Now) {
        if self.state == State::Flushing {
            self.may_come_back = false;
            self.state = State::Closing {
                until_ns: now.monotonic_ns + limits::CLOSE_PATIENCE_NS,
            };
        }
    }

    /// Gives back what the client had, and waits until the log has it all.
    pub(super) fn close_on<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let State::Closing { until_ns } = self.state else {
            return;
        };
        let ledger = &self.flow.ledger;
        // One that is over by the clock of this peer may be live by the log's. What comes
        // again from an earlier session was in hand there, and may be still, unless the
        // client has closed. What another session has resumed is not given back here.
        let is_kept = |(key, _): &(Key, u64)| {
            ledger.get(key).is_some_and(|lease| {
                let may_be_in_hand = lease.is_resumed && lease.place == Place::Over;
                lease.is_elsewhere || may_be_in_hand && !self.is_closed
            })
        };
        let places = [Place::Waiting, Place::Over, Place::InHand, Place::Held];
        let (kept, to_return): (Vec<_>, Vec<_>) =
            ledger.all_at(&places).into_iter().partition(is_kept);
        let was_in_hand = |(key, _): &(Key, u64)| {
            let lease = ledger.get(key);
            lease.is_some_and(|lease| lease.is_resumed || lease.place == Place::InHand)
        };
        let (in_hand, untouched): (Vec<_>, Vec<_>) = to_return.into_iter().partition(was_in_hand);
        self.flow.ledger.move_all(&untouched, Place::Returning);
        self.flow.ledger.move_all(&in_hand, Place::Returning);
        self.give_back(Command::ReleaseTasks, &untouched, out);
        self.give_back(Command::ReturnTasks, &in_hand, out);
        if planted!("closed-before-released") {
            return self.close(End::Done, out);
        }
        if self.flow.ledger.len() == kept.len() && self.queues.is_empty() && self.is_fenced(out) {
            return self.close(End::Done, out);
        }
        if now.monotonic_ns >= until_ns {
            return self.close(End::NotGivenBack, out);
        }
        self.wake(until_ns);
    }

    /// Whether no grant can be on its way any more.
    fn is_fenced<E>(&mut self, out: &mut Outbox<E>) -> bool {
        if planted!("closed-without-a-fence") {
            return true;
        }
        let is_heard = self.leader_view.is_heard(self.allowed());
        match self.fence {
            Fence::Needed if is_heard => {
                // A lease that nobody ever had.
                let nothing = HeldLeases {
                    refs: LeaseRefs {
                        namespace: self.namespace.clone(),
                        leases: vec![Key::default()],
                    },
                    consumer: self.name.clone(),
                };
                let patience_ns = limits::CLOSE_PATIENCE_NS;
                let retry = Retry::Repeat { patience_ns };
                out.propose(Asked::Fence(self.id), Command::ReleaseTasks(nothing), retry);
                self.fence = Fence::Proposed;
            }
            Fence::Awaited if self.finding.is_none() => self.fence = Fence::Stands,
            Fence::Needed | Fence::Proposed | Fence::Awaited | Fence::Stands => {}
        }
        self.fence == Fence::Stands
    }

    /// The fence is in the log, or may not be.
    pub(crate) fn fence_applied<E>(&mut self, is_applied: bool, out: &mut Outbox<E>) {
        if self.fence == Fence::Proposed && is_applied {
            self.fence = Fence::Awaited;
            self.find(Whose::Session(self.name.clone()), out);
        } else if self.fence == Fence::Proposed {
            self.fence = Fence::Needed;
        }
    }

    /// The shell let go of it: gives back what nobody can come back for.
    pub(crate) fn gone<E>(&mut self, out: &mut Outbox<E>) {
        self.queues.propose(self.id, &self.namespace, true, out);
        let ledger = &self.flow.ledger;
        let mut unseen = ledger.all_at(&[Place::Held, Place::Waiting, Place::OnWay]);
        match self.method {
            // The client may come back for what it has in hand, here or from before.
            Method::Consume { .. } if self.may_come_back => {
                unseen.retain(|(key, _)| ledger.get(key).is_some_and(|lease| !lease.is_resumed));
                if planted!("broken-released") {
                    unseen.extend(ledger.all_at(&[Place::InHand]));
                }
            }
            Method::Consume { .. } | Method::Take(_) => {}
            Method::Stream => {
                let written = std::mem::take(&mut self.written);
                out.ack(&self.namespace, &written);
                if planted!("unwritten-acked") {
                    out.ack(&self.namespace, &unseen);
                    unseen.clear();
                }
            }
        }
        self.give_back(Command::ReleaseTasks, &unseen, out);
    }

    /// Gives back leases of its own, each in the name under which it holds it.
    pub(crate) fn give_back<E>(
        &self,
        how: fn(HeldLeases) -> Command,
        leases: &[(Key, u64)],
        out: &mut Outbox<E>,
    ) {
        let mut by_holder: BTreeMap<&str, Vec<(Key, u64)>> = BTreeMap::new();
        for lease in leases {
            if let Some(held) = self.flow.ledger.get(&lease.0) {
                let its = by_holder.entry(&held.grant.consumer).or_default();
                its.push(*lease);
            }
        }
        for (holder, leases) in by_holder {
            out.give_back(how, (&self.namespace, holder), &leases);
        }
    }
}
