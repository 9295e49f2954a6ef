//! The way into the delivery thread, from any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};
use futures::channel::mpsc;
use z4_core::command::{Grant, Taker};
use z4_core::dispatch::{ConsumerReport, ConsumersView};
use z4_core::{Event, Namespace};

use super::wall_ns;
use crate::limits;

/// What a run of applied entries did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// In the order of the log.
    pub events: Vec<Event>,
    /// Machine time, in nanoseconds.
    pub stamp_ns: u64,
    /// The earliest deadline of a live lease, in machine nanoseconds.
    pub pulse_next_ns: Option<u64>,
}

/// What is asked of the delivery thread. How many wait is bounded by streams,
/// by proposals in flight, and by [`Delivery::has_room`] for the rest.
pub(super) enum Control {
    Open(Open),
    /// The credit of a stream grew; at most one waits for each.
    Credit(String),
    Close(String),
    Remote {
        link: u64,
        report: ConsumerReport,
    },
    RemoteGone(String),
    RemoteLost(u64),
    /// The leader could not be told that this consumer of this peer has left.
    GoneUntold(String),
    /// The leader has, or has not, taken a report.
    Reported {
        consumer: String,
        ok: bool,
    },
    LeaseFailed {
        namespace: Namespace,
        takers: Vec<Taker>,
    },
    PulseDone,
    /// The leader's view of a namespace's consumers; `None`: this peer does not
    /// lead.
    Consumers {
        namespace: Namespace,
        answer: Box<dyn FnOnce(Option<ConsumersView>) + Send>,
    },
    StopStreams,
    Stop,
}

/// A consumer that comes to this peer.
pub(super) struct Open {
    pub(super) consumer: String,
    pub(super) namespace: Namespace,
    pub(super) lease_ms: u64,
    /// The leader is told when the credit grew by so much.
    pub(super) step: u64,
    /// It is told of leases of its that ended, in whatever way, and an earlier
    /// one with the same consumer id ends.
    pub(super) follows: bool,
    pub(super) told: mpsc::UnboundedSender<Told>,
    pub(super) credit: Arc<Credit>,
}

/// What a consumer of this peer is told. The end of it: the peer shuts down.
#[derive(Debug)]
pub(super) enum Told {
    /// It is known here: what is granted from now on comes to it.
    Opened,
    Grant(Grant),
    /// So many of its leases ended.
    Ended(u64),
    /// Another stream came with its consumer id; the leases are that one's.
    TakenOver,
}

/// How far a consumer has come; written by its stream, read by the thread.
#[derive(Default)]
pub(super) struct Credit {
    /// Tasks that it has no longer: written, ended, skipped or given back.
    pub(super) settled: AtomicU64,
    /// How many it takes at once.
    pub(super) window: AtomicU64,
    /// A notice of it is on its way.
    pub(super) noticed: AtomicBool,
    /// Its consumer may come back for its leases, here or elsewhere: nothing of
    /// it is given back when it ends.
    pub(super) keeps: AtomicBool,
}

/// The other end of a [`Delivery`].
pub(crate) struct Inbox {
    pub(super) applied: Receiver<Applied>,
    pub(super) control: Receiver<Control>,
}

/// The way into the delivery thread. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    applied: Sender<Applied>,
    control: Sender<Control>,
    shared: Arc<Shared>,
}

struct Shared {
    boot: String,
    stream_last: AtomicU64,
    link_last: AtomicU64,
    streams: AtomicU64,
}

/// Requests that may wait for the thread.
const CONTROL_LEN_MAX: usize = 65_536;

impl Delivery {
    pub(crate) fn new() -> (Self, Inbox) {
        let (applied_in, applied) = bounded(limits::DELIVERY_QUEUE_LEN_MAX);
        let (control_in, control) = unbounded();
        let delivery = Self {
            applied: applied_in,
            control: control_in,
            shared: Arc::new(Shared {
                // A process that starts again is told from its former self.
                boot: format!("{:x}", wall_ns()),
                stream_last: AtomicU64::new(0),
                link_last: AtomicU64::new(0),
                streams: AtomicU64::new(0),
            }),
        };
        (delivery, Inbox { applied, control })
    }

    /// Tells of a run of applied entries, also of one without events. Called by
    /// the apply thread, in order; waits when the delivery thread is far behind.
    pub fn applied(&self, applied: Applied) {
        // Fails only when the thread has stopped.
        let _ = self.applied.send(applied);
    }

    /// How the names of this process's consumers begin.
    pub(super) fn name_prefix(&self, raft_id: u64) -> String {
        format!("~{raft_id}.{}.", self.shared.boot)
    }

    pub(super) fn name_next(&self, raft_id: u64) -> String {
        let n = self.shared.stream_last.fetch_add(1, Ordering::Relaxed);
        format!("{}{n:x}", self.name_prefix(raft_id))
    }

    /// A name for who takes leases without being a consumer that is reported.
    pub(super) fn name_once(&self, consumer_id: &str, raft_id: u64) -> String {
        let n = self.shared.stream_last.fetch_add(1, Ordering::Relaxed);
        format!("{consumer_id}~u{raft_id}.{}.{n:x}", self.shared.boot)
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

    /// A number for a stream of reports from another peer.
    pub(crate) fn link_next(&self) -> u64 {
        self.shared.link_last.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a stream in, if there is room for one more.
    pub(super) fn take_stream(&self) -> bool {
        let before = self.shared.streams.fetch_add(1, Ordering::AcqRel);
        if before < limits::CONSUMER_STREAM_COUNT_MAX as u64 {
            return true;
        }
        self.give_stream();
        false
    }

    pub(super) fn give_stream(&self) {
        self.shared.streams.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn send(&self, control: Control) {
        // Fails only when the thread has stopped.
        let _ = self.control.send(control);
    }

    pub(super) fn has_room(&self) -> bool {
        self.control.len() < CONTROL_LEN_MAX
    }

    /// Takes a report of another peer's consumer. `false`: no room, repeat it.
    pub(crate) fn remote_report(&self, link: u64, report: ConsumerReport) -> bool {
        let room = self.has_room();
        if room {
            self.send(Control::Remote { link, report });
        }
        room
    }

    pub(crate) fn remote_gone(&self, consumer: String) {
        self.send(Control::RemoteGone(consumer));
    }

    pub(crate) fn remote_lost(&self, link: u64) {
        self.send(Control::RemoteLost(link));
    }

    pub(crate) fn stop_streams(&self) {
        self.send(Control::StopStreams);
    }

    pub(crate) fn stop(&self) {
        self.send(Control::Stop);
    }
}
