//! The way in: what services ask of a peer, from any thread, without blocking.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};
use raft::eraftpb::Message;

use super::published::Published;
use super::sink::{Accepted, Budget, Done, Sink};
use crate::clocks::{ClockLimit, Measured};
use crate::error::{ProposeError, ReadError};
use crate::level::SaidLevels;
use crate::limits;
use crate::membership::Change;
use crate::replica::Now;
use crate::status::{Role, Status};

/// A command on its way into the log.
pub struct Proposal<R> {
    /// The encoded command.
    pub command: Vec<u8>,
    /// How many task ids it uses up of its entry.
    pub units: u32,
    /// The topic of the command, if another one may ride with it: see
    /// [`Handle::set_riders`].
    pub topic: Option<String>,
    /// Only in this term: in any other it is answered [`ProposeError::NotLeader`].
    pub term: Option<u64>,
    /// Called when the leader has appended it; not called when it does not.
    pub accepted: Option<Box<dyn FnOnce(Accepted) + Send>>,
    /// Answered when it is committed and applied, or why not.
    pub sink: Sink<Done<R>>,
}

impl<R> Proposal<R> {
    /// A command that uses up so many task ids, for whichever term this peer leads in.
    /// `sink` is answered when it is committed and applied, or why not.
    #[must_use]
    pub fn new(command: Vec<u8>, units: u32, sink: Sink<Done<R>>) -> Self {
        Self {
            command,
            units,
            topic: None,
            term: None,
            accepted: None,
            sink,
        }
    }
}

/// Answer to a linearizable read: the index that is applied here and covers all
/// that was acknowledged before the read was asked.
pub(crate) type ReadAnswer = Box<dyn FnOnce(Result<u64, ReadError>) + Send>;

/// Gives the command that is to ride with those of a topic, if there is one, in this term.
pub(crate) type Riders<R> = Box<dyn Fn(&str, u64) -> Option<Proposal<R>> + Send + Sync>;

/// What clients ask of the raft thread.
pub(crate) enum Request<R> {
    Propose(Proposal<R>),
    Change(Change, Sink<()>),
    Transfer(u64, Sink<()>),
    Read {
        deadline: Instant,
        answer: ReadAnswer,
    },
    Stop,
}

/// What the network tells the raft thread.
pub(crate) enum News {
    /// A message from the authenticated member of this raft id.
    Message {
        from: u64,
        message: Message,
    },
    /// A snapshot whose files have all arrived.
    Snapshot {
        from: u64,
        message: Message,
    },
    Unreachable(u64),
    SnapshotSent {
        to: u64,
        ok: bool,
    },
    /// Members say that this raft id was removed.
    WasRemoved,
    /// A member answered at this address.
    MemberAt {
        raft_id: u64,
        address: String,
    },
    /// The clock of a member was measured.
    Clock {
        raft_id: u64,
        measured: Measured,
    },
    /// A member dialled this peer at this address.
    ReachedAt {
        raft_id: u64,
        address: String,
    },
    /// A member said what its binary knows.
    SaidLevels {
        raft_id: u64,
        said: SaidLevels,
    },
}

/// A peer, to the services around it. Cheap to clone.
pub struct Handle<R> {
    pub(crate) requests: Sender<Request<R>>,
    pub(crate) news: Sender<News>,
    pub(crate) published: Arc<Published>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) space: Arc<Space>,
    pub(crate) riders: Arc<OnceLock<Riders<R>>>,
    pub(crate) clock: Arc<SharedClock>,
}

/// The monotonic clock of a peer, and the limit of its wall clock, as of the last step of its
/// raft thread.
#[derive(Debug)]
pub(crate) struct SharedClock {
    from: Instant,
    limit: AtomicI64,
}

impl SharedClock {
    /// A clock that shows 0 now.
    pub(crate) fn start() -> Self {
        Self {
            from: Instant::now(),
            limit: AtomicI64::new(ClockLimit::UNMEASURED.0),
        }
    }

    /// Nanoseconds since the start.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.from.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn set_limit(&self, limit: ClockLimit) {
        self.limit.store(limit.0, Ordering::Relaxed);
    }
}

/// What was said of disk space.
#[derive(Debug, Default)]
pub(crate) struct Space {
    pub(crate) is_low: AtomicBool,
    pub(crate) flush_asked: AtomicBool,
}

impl<R> Clone for Handle<R> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            news: self.news.clone(),
            published: Arc::clone(&self.published),
            budget: Arc::clone(&self.budget),
            space: Arc::clone(&self.space),
            riders: Arc::clone(&self.riders),
            clock: Arc::clone(&self.clock),
        }
    }
}

impl<R> std::fmt::Debug for Handle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("status", &self.published)
            .finish()
    }
}

impl<R: Send + 'static> Handle<R> {
    /// What the peer knew at its last step.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.published.status()
    }

    /// Waits until `look` finds something in the status of this peer, and gives
    /// it. `look` is called at once, and then when there is news: a change of
    /// anything but the counters, which are how far the logs are and for how long a
    /// member has been silent. The wait has no end of its own: callers bring a
    /// time-out.
    pub async fn when<T>(&self, look: impl FnMut(&Arc<Status>) -> Option<T>) -> T {
        self.published.when(look).await
    }

    /// Calls `hook` at once, and then with each status that is news, in order; see
    /// [`Handle::when`]. The raft thread calls it, so it must not block, nor set
    /// another hook. It is kept for as long as any clone of this handle.
    pub fn on_status(&self, hook: impl Fn(&Arc<Status>) + Send + 'static) {
        self.published.on_status(Box::new(hook));
    }

    /// Proposes a command. The answer goes to the proposal's sink: the reply,
    /// [`ProposeError::NotLeader`] and the like at once, `Superseded` or
    /// `Unknown` after a change of leader. The sink always gets an answer, but
    /// without a quorum it can take until there is one: callers bring their own
    /// time-out.
    pub fn propose(&self, mut proposal: Proposal<R>) {
        let bytes = proposal.command.len();
        if bytes > limits::COMMAND_LEN_MAX || proposal.units > limits::ENTRY_UNITS_MAX {
            let limit = limits::COMMAND_LEN_MAX;
            return proposal
                .sink
                .answer(Err(ProposeError::TooLarge { bytes, limit }));
        }
        let Some(held) = self.budget.take(bytes) else {
            return proposal
                .sink
                .answer(Err(busy("the budget of proposals in flight")));
        };
        proposal.sink = proposal.sink.holding(held);
        self.request(Request::Propose(proposal));
    }

    /// Says which command rides with others. While this peer leads, the raft thread calls
    /// `take` with the topic of each proposal that has one, once for all that it puts into
    /// the log together, and with its term; what it gets goes into the log behind them,
    /// and so into the same entry if there is room. `take` must not block. To be called
    /// once, before anything is proposed; later calls do nothing.
    pub fn set_riders(
        &self,
        take: impl Fn(&str, u64) -> Option<Proposal<R>> + Send + Sync + 'static,
    ) {
        // Fails only when they are set.
        let _ = self.riders.set(Box::new(take));
    }

    /// Proposes a change of members. One at a time: while one is under way,
    /// others are answered `Busy`.
    pub fn change(&self, change: Change, sink: Sink<()>) {
        self.request(Request::Change(change, sink));
    }

    /// Hands leadership to the voter `to`; 0 picks the most caught-up one.
    /// Answered when this peer follows another leader, `Busy` when the transfer
    /// did not come about within an election time-out.
    pub fn transfer_leader(&self, to: u64, sink: Sink<()>) {
        self.request(Request::Transfer(to, sink));
    }

    /// Waits until this peer has applied all that was acknowledged anywhere
    /// before this call (Raft thesis, section 6.4, read index in its safe
    /// form), then answers with the applied index.
    pub fn read_index(
        &self,
        timeout: Duration,
        answer: impl FnOnce(Result<u64, ReadError>) + Send + 'static,
    ) {
        let deadline = Instant::now() + timeout.min(limits::READ_TIMEOUT);
        self.request(Request::Read {
            deadline,
            answer: Box::new(answer),
        });
    }

    fn request(&self, request: Request<R>) {
        let refusal = match self.status().role {
            Role::Waiting => Some((ProposeError::NotJoined, ReadError::NotJoined)),
            Role::Removed => Some((ProposeError::Removed, ReadError::Removed)),
            _ => None,
        };
        if let Some((propose, read)) = refusal {
            return refuse(request, propose, read);
        }
        match self.requests.try_send(request) {
            Ok(()) => {}
            Err(TrySendError::Full(request)) => {
                refuse(request, busy("the raft inbox"), ReadError::Busy);
            }
            Err(TrySendError::Disconnected(request)) => {
                refuse(request, ProposeError::Stopping, ReadError::Stopping);
            }
        }
    }

    /// Hands in a message of the authenticated member `from`. `false` when it
    /// was dropped because the inbox is full; Raft repeats what matters.
    pub fn message(&self, from: u64, message: Message) -> bool {
        self.news.try_send(News::Message { from, message }).is_ok()
    }

    /// Hands in a snapshot message of the authenticated member `from` whose
    /// files are in place. `false` when the inbox is full: fail the transfer.
    pub fn snapshot_received(&self, from: u64, message: Message) -> bool {
        self.news.try_send(News::Snapshot { from, message }).is_ok()
    }

    /// Reports that the member `to` cannot be reached.
    pub fn unreachable(&self, to: u64) {
        // A hint; the next failure repeats it.
        let _ = self.news.try_send(News::Unreachable(to));
    }

    /// Reports how a snapshot for the member `to` ended. Must be called once
    /// for each; waits for room in the inbox.
    pub fn snapshot_sent(&self, to: u64, ok: bool) {
        // Fails only when the peer is stopping.
        let _ = self.news.send(News::SnapshotSent { to, ok });
    }

    /// Reports that a member answered that this peer was removed.
    pub fn was_removed(&self) {
        let _ = self.news.try_send(News::WasRemoved);
    }

    /// Reports that the member `raft_id` was dialled at `address` and answered
    /// there. The transport is told to look at its connections again; a leader
    /// puts the address into the log if the members have another one. `false`
    /// when the inbox is full: report it again.
    pub fn member_at(&self, raft_id: u64, address: String) -> bool {
        let news = News::MemberAt { raft_id, address };
        self.news.try_send(news).is_ok()
    }

    /// Reports that the member `raft_id` opened a stream to this peer at
    /// `address`. `false` when the inbox is full: let it open another one.
    pub fn reached_at(&self, raft_id: u64, address: String) -> bool {
        let news = News::ReachedAt { raft_id, address };
        self.news.try_send(news).is_ok()
    }

    /// Reports what the member `raft_id`, or this peer itself, says of its binary. To be called
    /// for each stream of a member before its messages are reported. `false` when the
    /// inbox is full: let it open another one.
    pub fn said_levels(&self, raft_id: u64, said: SaidLevels) -> bool {
        let news = News::SaidLevels { raft_id, said };
        self.news.try_send(news).is_ok()
    }

    /// Nanoseconds of the monotonic clock of this peer, to measure clocks by.
    #[must_use]
    pub fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    /// Reports the clock of the member `raft_id`, as it was measured by
    /// [`Handle::monotonic_ns`]. Dropped when the inbox is full: it is measured again soon.
    pub fn clock_measured(&self, raft_id: u64, measured: Measured) {
        let _ = self.news.try_send(News::Clock { raft_id, measured });
    }

    /// Tells whether a leader may go by the time that its wall clock showed a moment ago, and
    /// tell it to others. The wall clock is to be read before this is called: what passes in
    /// between makes the reading older, and so less ahead of other clocks. Of use at a leader
    /// alone.
    #[must_use]
    pub fn may_go_by(&self, wall_ns: u64) -> bool {
        let limit = ClockLimit(self.clock.limit.load(Ordering::Relaxed));
        let monotonic_ns = self.clock.monotonic_ns();
        limit.allows(Now {
            wall_ns,
            monotonic_ns,
        })
    }

    /// Says whether disk space is low here. While it is, the log is cut as soon
    /// and as far as it can be; nothing that is proposed is refused for it.
    pub fn set_space_low(&self, low: bool) {
        self.space.is_low.store(low, Ordering::Relaxed);
    }

    /// Asks that what is applied be flushed soon, out of turn, so that the log
    /// can be cut behind it.
    pub fn flush_soon(&self) {
        self.space.flush_asked.store(true, Ordering::Relaxed);
    }

    /// Asks the peer to stop: leadership is handed over if possible, what is in
    /// flight is finished or refused. [`Runtime::join`](super::Runtime::join)
    /// waits for it.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }
}

fn busy(what: &'static str) -> ProposeError {
    ProposeError::Busy {
        what,
        retry_after_ms: 100,
    }
}

fn refuse<R>(request: Request<R>, propose: ProposeError, read: ReadError) {
    match request {
        Request::Propose(proposal) => proposal.sink.answer(Err(propose)),
        Request::Change(_, sink) | Request::Transfer(_, sink) => sink.answer(Err(propose)),
        Request::Read { answer, .. } => answer(Err(read)),
        Request::Stop => {}
    }
}
