//! The way into the delivery thread, from any thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use futures::channel::mpsc;
use z4_core::dispatch::{ConsumersView, Riders};
use z4_core::{Namespace, View};
use z4_delivery::{
    AppliedEvents, ClockReading, Input, LeaderClock, Open, Quiet, Report, SessionId, Told,
};

use super::line::Line;
use super::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

/// What is asked of the delivery thread. How many wait is bounded by sessions, by
/// proposals in flight, and by [`Delivery::has_room`] for the rest.
pub(super) enum Control<V> {
    Input(Input<Error>),
    /// The status of this peer has changed: look who leads.
    Status,
    /// A consumer came; its task listens to what it is told.
    Open {
        session: SessionId,
        open: Open,
        to: mpsc::UnboundedSender<Told<Error>>,
        /// For the time that its caller waits.
        node: Node<V>,
    },
    /// Another peer reports a consumer.
    Remote {
        link: u64,
        report: Report,
        taken: Box<dyn FnOnce() + Send>,
    },
    /// The leader's view of a namespace's consumers; `None`: this peer does not
    /// lead.
    Consumers {
        namespace: Namespace,
        answer: Box<dyn FnOnce(Option<ConsumersView>) + Send>,
    },
    Stop,
}

/// The other end of a [`Delivery`].
pub(crate) struct Inbox<V> {
    pub(super) applied: Receiver<AppliedEvents>,
    pub(super) control: Receiver<Control<V>>,
    pub(super) boot: String,
}

/// The way into the delivery thread. Cheap to clone.
pub struct Delivery<V> {
    applied: Sender<AppliedEvents>,
    control: Sender<Control<V>>,
    shared: Arc<Shared>,
}

struct Shared {
    boot: String,
    quiet: Mutex<Quiet>,
    riders: Mutex<Riders>,
    clock: Mutex<LeaderClock>,
    session_last: AtomicU64,
    link_last: AtomicU64,
}

impl<V> Clone for Delivery<V> {
    fn clone(&self) -> Self {
        Self {
            applied: self.applied.clone(),
            control: self.control.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<V> Delivery<V> {
    pub(crate) fn new() -> (Self, Inbox<V>) {
        let (applied_in, applied) = bounded(limits::DELIVERY_QUEUE_LEN_MAX);
        let (control_in, control) = unbounded();
        // A process that starts again is told from its former self.
        let boot = format!("{:x}", wall_ns());
        let delivery = Self {
            applied: applied_in,
            control: control_in,
            shared: Arc::new(Shared {
                boot: boot.clone(),
                quiet: Mutex::default(),
                riders: Mutex::default(),
                clock: Mutex::default(),
                session_last: AtomicU64::new(0),
                link_last: AtomicU64::new(0),
            }),
        };
        let inbox = Inbox {
            applied,
            control,
            boot,
        };
        (delivery, inbox)
    }

    /// Tells of a run of applied entries, also of one without events. Called by
    /// whoever applies, in order and after its commit; waits when the delivery thread is
    /// far behind. The thread is not woken for what matters to nobody here.
    pub fn applied(&self, applied: AppliedEvents) {
        if self.quiet().must_tell(&applied) {
            // Fails only when the thread has stopped.
            let _ = self.applied.send(applied);
        }
    }

    /// Leases that this peer, which leads, has offered to ride with new tasks.
    pub(super) fn riders(&self) -> MutexGuard<'_, Riders> {
        let riders = self.shared.riders.lock();
        riders.unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Quiet`].
    pub(super) fn quiet(&self) -> MutexGuard<'_, Quiet> {
        let quiet = self.shared.quiet.lock();
        quiet.unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`LeaderClock`].
    pub(super) fn clock(&self) -> MutexGuard<'_, LeaderClock> {
        let clock = self.shared.clock.lock();
        clock.unwrap_or_else(PoisonError::into_inner)
    }

    /// A leader has said what its clock showed. The thread is not woken when nothing that
    /// is held here is due by it.
    pub(crate) fn clock_heard(&self, reading: ClockReading) {
        let wakes = self.clock().heard(reading);
        if wakes {
            self.input(Input::LeaderClock(reading));
        }
    }

    /// Opens a session for a task that listens to it.
    pub(super) fn open(&self, node: Node<V>, open: Open) -> Result<Line<V>, Error>
    where
        V: View + Clone + Send + Sync + 'static,
    {
        if !self.has_room() {
            return Err(Error::Busy {
                what: "the queue of sessions".into(),
                retry_after_ms: 1_000,
            });
        }
        let session = SessionId(self.shared.session_last.fetch_add(1, Ordering::Relaxed));
        let (to, told) = mpsc::unbounded();
        let count = node.network().metrics().streams.clone();
        self.send(Control::Open {
            session,
            open,
            to,
            node,
        });
        Ok(Line::new(self.clone(), session, told, count))
    }

    /// A consumer id for one that has none. No two are alike.
    pub(super) fn id_next(&self, raft_id: u64) -> String {
        let n = self.shared.session_last.fetch_add(1, Ordering::Relaxed);
        format!("auto-{raft_id}.{}.{n:x}", self.shared.boot)
    }

    /// Asks for the dispatcher's view of a namespace's consumers; `answer` gets
    /// `None` when this peer does not lead, and is dropped when it stops.
    pub(crate) fn consumers(
        &self,
        namespace: Namespace,
        answer: impl FnOnce(Option<ConsumersView>) + Send + 'static,
    ) {
        let answer = Box::new(answer);
        self.send(Control::Consumers { namespace, answer });
    }

    /// A number for a connection by which another peer reports consumers.
    pub(crate) fn link_next(&self) -> u64 {
        self.shared.link_last.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn send(&self, control: Control<V>) {
        // Fails only when the thread has stopped.
        let _ = self.control.send(control);
    }

    pub(crate) fn input(&self, input: Input<Error>) {
        self.send(Control::Input(input));
    }

    fn has_room(&self) -> bool {
        self.control.len() < limits::DELIVERY_CONTROL_LEN_MAX
    }

    /// Takes a report of another peer's consumer. `taken` is called once the dispatcher
    /// goes by it: every lease that comes into the log from then on does. `false`: no
    /// room, repeat it.
    pub(crate) fn remote_report(
        &self,
        link: u64,
        report: Report,
        taken: impl FnOnce() + Send + 'static,
    ) -> bool {
        let has_room = self.has_room();
        if has_room {
            let taken = Box::new(taken);
            self.send(Control::Remote {
                link,
                report,
                taken,
            });
        }
        has_room
    }

    pub(crate) fn stop(&self) {
        self.send(Control::Stop);
    }
}
