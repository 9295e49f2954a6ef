//! The end of a session: by its client, who gives back all it has, or without a word.

use z4_core::command::{Command, LeaseRefs};
use z4_core::planted;

use super::{Session, State};
use crate::input::{Key, Method, Now};
use crate::ledger::Place;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{End, Retry, Whose};
use crate::take::Take;

/// Whether grants may still be on their way to a session whose client is done. Who
/// comes back under its name would find them, and lose them when they are given back.
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
        let is_resumed = |(key, _): &(Key, u64)| ledger.get(key).is_some_and(|l| l.is_resumed);
        // One that comes again from an earlier session was in hand there.
        let places: &[Place] = match self.is_closed {
            true => &[Place::Waiting, Place::Over],
            false => &[Place::Waiting],
        };
        let unsent = ledger.all_at(places).into_iter();
        let (mut in_hand, mut untouched): (Vec<_>, Vec<_>) = unsent.partition(is_resumed);
        in_hand.extend(ledger.all_at(&[Place::InHand]));
        untouched.extend(ledger.all_at(&[Place::Held]));
        self.flow.ledger.move_all(&untouched, Place::Returning);
        self.flow.ledger.move_all(&in_hand, Place::Returning);
        out.end(Command::ReleaseTasks, &self.namespace, &untouched);
        out.end(Command::ReturnTasks, &self.namespace, &in_hand);
        if planted!("closed-before-released") {
            return self.close(End::Done, out);
        }
        let left = match self.is_closed {
            true => self.flow.ledger.len() as u64,
            false => self.flow.ledger.open(),
        };
        if left == 0 && self.queues.is_empty() && self.is_fenced(out) {
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
                let nothing = LeaseRefs {
                    namespace: self.namespace.clone(),
                    leases: vec![Key::default()],
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
            // What the client had before, it may come back for.
            Method::Consume { .. } if self.may_come_back && !planted!("broken-released") => {
                return;
            }
            Method::Consume { .. } | Method::Take(_) => {}
            Method::Stream => {
                let written = std::mem::take(&mut self.written);
                out.end(Command::AckTasks, &self.namespace, &written);
                if planted!("unwritten-acked") {
                    out.end(Command::AckTasks, &self.namespace, &unseen);
                    unseen.clear();
                }
            }
        }
        out.end(Command::ReleaseTasks, &self.namespace, &unseen);
    }
}
