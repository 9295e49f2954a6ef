//! Raft messages on their way to one peer: over its lane while that is up, else over
//! a stream of gRPC, which stays open beside it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::{self, Either, FutureExt};
use futures::SinkExt;
use grpcio::{RpcStatusCode, WriteFlags};
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use z4_consensus::Handle;
use z4_core::Outcome;
use z4_proto::generated::peer::{LeaderClock, RaftBatch};
use z4_proto::generated::peer_grpc::PeerClient;

use super::lane;
use crate::clock_sample;
use crate::delivery::wall_ns;
use crate::lane::frame::{self, Kind};
use crate::lane::sender::Lane;
use crate::limits;
use crate::metrics::{WAY_GRPC, WAY_LANE};
use crate::network::Network;
use crate::outbox::Outbox;
use crate::peer::opening::REMOVED;

/// Messages on their way to one peer.
pub(crate) struct Link {
    to: u64,
    address: String,
    waiting: Outbox<Message>,
    /// None where this peer has no port of lanes, or has lanes to as many others as may
    /// be.
    lane: Option<Lane>,
    pub(super) network: Network,
    /// The stubs, and the number of the certificate that they show.
    client: Mutex<(u64, PeerClient)>,
    handle: Handle<Outcome>,
    reported: Mutex<Option<Instant>>,
    /// The stream is to carry a batch, because a task is due at the other peer by the clock
    /// that each batch of a leader tells.
    tells_clock: AtomicBool,
    opened_at: Instant,
    /// The levels that this peer knows were said last so many milliseconds after that.
    levels_said_ms: AtomicU64,
}

impl Link {
    pub(super) fn open(
        network: &Network,
        handle: &Handle<Outcome>,
        to: u64,
        address: &str,
    ) -> Arc<Self> {
        let generation = network.generation();
        let client = PeerClient::new(network.channel(address));
        let link = Arc::new(Self {
            to,
            address: address.to_owned(),
            client: Mutex::new((generation, client.clone())),
            waiting: Outbox::new(limits::PEER_QUEUE_LEN_MAX, limits::PEER_QUEUE_BYTES_MAX),
            lane: lane::place(network),
            network: network.clone(),
            handle: handle.clone(),
            reported: Mutex::default(),
            tells_clock: AtomicBool::new(false),
            opened_at: Instant::now(),
            levels_said_ms: AtomicU64::new(0),
        });
        network.link_opened(to, &link);
        let task = Arc::clone(&link);
        client.spawn(async move { task.run().await });
        lane::start(&link);
        link
    }

    /// The stubs of the other peer, made anew when this one has another certificate: what
    /// gRPC was given once it shows for as long as a channel lives.
    pub(super) fn client(&self) -> PeerClient {
        let generation = self.network.generation();
        let client = self.client.lock();
        let mut client = client.unwrap_or_else(PoisonError::into_inner);
        if client.0 != generation {
            let channel = self.network.channel(&self.address);
            *client = (generation, PeerClient::new(channel));
        }
        client.1.clone()
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn to(&self) -> u64 {
        self.to
    }

    pub(super) fn lane(&self) -> Option<&Lane> {
        self.lane.as_ref()
    }

    pub(super) fn close(&self) {
        self.waiting.close();
        if let Some(lane) = &self.lane {
            lane.close();
        }
    }

    /// Sends messages, in order unless the way changes. Does not block.
    pub(super) fn send(&self, mut messages: Vec<Message>) {
        if let Some(lane) = &self.lane {
            self.send_by_lane(lane, &mut messages);
        }
        for message in messages {
            let bytes = weight(&message);
            if self.waiting.push(message, bytes).is_err() {
                self.count_dropped("queue_full", 1);
                self.report_unreachable();
            }
        }
    }

    /// Sends what the lane takes, from the first on; the rest is left.
    fn send_by_lane(&self, lane: &Lane, messages: &mut Vec<Message>) {
        while !messages.is_empty() && lane.is_open() {
            let count = batch_len(messages);
            let batch = self.batch(&messages[..count]);
            if !self.send_batch_by_lane(lane, batch) {
                return;
            }
            self.count_sent(&messages[..count], WAY_LANE);
            messages.drain(..count);
        }
    }

    /// `false`: it has to go another way.
    fn send_batch_by_lane(&self, lane: &Lane, mut batch: RaftBatch) -> bool {
        self.say_of_itself(&mut batch);
        let bytes = batch.write_to_bytes().ok();
        let frame = bytes.and_then(|bytes| frame::encode(Kind::Batch, &bytes));
        frame.is_some_and(|frame| lane.send(frame))
    }

    /// Adds what batches tell: how the disk of this peer is, what its clock shows if it leads,
    /// and now and then what others measure its clock by.
    fn say_of_itself(&self, batch: &mut RaftBatch) {
        if let Some(disk) = self.network.disk_admission().to_tell() {
            batch.set_disk(disk);
        }
        if self.has_to_say_levels() {
            batch.set_levels(self.network.own_levels());
        }
        let now_ns = self.handle.monotonic_ns();
        if let Some(sample) = self.network.clock_sample(self.to, now_ns) {
            batch.set_sample(clock_sample::to_message(&sample));
        }
        let status = self.handle.status();
        let at_ns = wall_ns();
        let leads = status.leader == status.raft_id && status.leader != 0;
        // A leader whose clock is wrong tells nobody what it shows.
        if leads && self.handle.may_go_by(at_ns) {
            let mut clock = LeaderClock::default();
            clock.set_term(status.term);
            clock.set_at_ns(at_ns);
            batch.set_clock(clock);
        }
    }

    /// Tells whether the levels that this peer knows were said long enough ago.
    fn has_to_say_levels(&self) -> bool {
        let (said_ms, now_ms) = (&self.levels_said_ms, self.opened_at.elapsed().as_millis());
        let last_ms = said_ms.load(Ordering::Relaxed);
        let is_due = now_ms as u64 >= last_ms + limits::LEVELS_SAY_INTERVAL.as_millis() as u64;
        if is_due {
            said_ms.store(now_ms as u64, Ordering::Relaxed);
        }
        is_due
    }

    /// Tells the other peer soon what the clock of this one shows. Does not block.
    pub(crate) fn tell_clock(&self) {
        let is_told = |lane| self.send_batch_by_lane(lane, RaftBatch::default());
        let lane = self.lane.as_ref().filter(|lane| lane.is_open());
        if !lane.is_some_and(is_told) {
            self.tells_clock.store(true, Ordering::Release);
            self.waiting.wake();
        }
    }

    fn count_sent(&self, messages: &[Message], way: &str) {
        let metrics = self.network.metrics();
        let ways = &metrics.sent_by_way;
        ways.with_label_values(&[way]).inc_by(messages.len() as u64);
        for message in messages {
            let kind = kind(message.get_msg_type());
            metrics.sent.with_label_values(&[kind]).inc();
        }
    }

    pub(super) fn count_dropped(&self, reason: &str, count: usize) {
        let dropped = &self.network.metrics().dropped;
        dropped.with_label_values(&[reason]).inc_by(count as u64);
    }

    pub(super) fn report_unreachable(&self) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant| at.elapsed() < limits::UNREACHABLE_INTERVAL;
        if !reported.is_some_and(is_recent) {
            *reported = Some(Instant::now());
            self.handle.unreachable(self.to);
        }
    }

    /// Keeps a stream open until the link is closed.
    async fn run(self: Arc<Self>) {
        let mut wait = limits::RECONNECT_MIN;
        let mut attempts = 0;
        while !self.waiting.is_closed() {
            let since = Instant::now();
            let why = self.carry(&self.client()).await;
            if self.waiting.is_closed() {
                break;
            }
            slog::debug!(self.network.logger(), "raft stream ended";
                "to" => self.to, "address" => &self.address, "reason" => &why);
            // Old heartbeats and appends are worth less than new ones.
            self.count_dropped("disconnected", self.waiting.clear().len());
            self.report_unreachable();
            // A stream that lived for a while broke for a reason of its own.
            let lived = since.elapsed() > limits::RECONNECT_MAX;
            wait = if lived {
                limits::RECONNECT_MIN
            } else {
                next_wait(wait)
            };
            attempts = if lived { 0 } else { attempts + 1 };
            if !lived {
                self.network.unreached(self.to);
            }
            self.network.timer().sleep(wait).await;
            if attempts >= limits::ADDRESS_ATTEMPTS {
                attempts = 0;
                // If there is another address, the next message opens a link to
                // it in the place of this one.
                self.network.failed(self.to, &self.address);
            }
        }
    }

    /// Carries messages until the stream breaks; says why it did.
    async fn carry(&self, client: &PeerClient) -> String {
        let Some(opening) = self.network.opening(self.to, &self.address) else {
            return "this peer is in no cluster".into();
        };
        let (mut sender, mut receiver) = match client.raft() {
            Ok(stream) => stream,
            Err(error) => return error.to_string(),
        };
        let mut batch = RaftBatch::default();
        batch.set_opening(opening);
        let opened_at = Instant::now();
        let mut is_reached = false;
        let mut address_said = Instant::now();
        loop {
            // A stream that another peer has taken by mistake ends at once.
            if !is_reached && opened_at.elapsed() > limits::RECONNECT_MAX {
                is_reached = true;
                self.network.reached(self.to);
            }
            if address_said.elapsed() >= limits::ADDRESS_SAY_INTERVAL {
                address_said = Instant::now();
                if self.network.is_misknown() {
                    batch.set_from_address(self.network.advertise_addr().to_owned());
                }
            }
            self.say_of_itself(&mut batch);
            let sending = sender.send((batch, WriteFlags::default()));
            let sent = match future::select(Box::pin(sending), &mut receiver).await {
                Either::Left((sent, _)) => sent,
                Either::Right((done, _)) => return self.ended(done.err()),
            };
            if sent.is_err() {
                // The reason is in the status, which comes at once then.
                let status = self
                    .network
                    .timer()
                    .within(limits::RECONNECT_MAX, &mut receiver);
                return match status.await {
                    Some(done) => self.ended(done.err()),
                    None => "the stream broke".into(),
                };
            }
            // An empty batch now and then: a peer that was removed while it had
            // nothing to say learns of it by the answer.
            let timer = self.network.timer();
            let waiting = timer.within(limits::IDLE_BATCH_INTERVAL, Box::pin(self.next_batch()));
            let waiting =
                Box::pin(waiting.map(|got| got.unwrap_or_else(|| Some(RaftBatch::default()))));
            batch = match future::select(waiting, &mut receiver).await {
                Either::Left((Some(batch), _)) => batch,
                Either::Left((None, _)) => {
                    let _ = sender.close().now_or_never();
                    return "the link was closed".into();
                }
                Either::Right((done, _)) => return self.ended(done.err()),
            };
        }
    }

    /// Waits for messages, or until the clock is to be told; `None` when the link is closed.
    async fn next_batch(&self) -> Option<RaftBatch> {
        let messages = poll_fn(|cx| {
            self.waiting.register(cx.waker());
            let messages = self
                .waiting
                .pop_batch(limits::RAFT_BATCH_LEN_MAX, limits::RAFT_BATCH_BYTES);
            let tells_clock = self.tells_clock.swap(false, Ordering::AcqRel);
            if messages.is_empty() && !tells_clock && !self.waiting.is_closed() {
                return Poll::Pending;
            }
            Poll::Ready(messages)
        })
        .await;
        if messages.is_empty() && self.waiting.is_closed() {
            return None;
        }
        self.count_sent(&messages, WAY_GRPC);
        Some(self.batch(&messages))
    }

    /// The messages as both ways carry them.
    fn batch(&self, messages: &[Message]) -> RaftBatch {
        let mut batch = RaftBatch::default();
        for message in messages {
            match message.write_to_bytes() {
                // It would end the stream, and Raft would send it again.
                Ok(bytes) if bytes.len() > limits::RAFT_MESSAGE_LEN_MAX => {
                    self.count_dropped("too_large", 1);
                }
                Ok(bytes) => batch.mut_messages().push(bytes),
                Err(_) => self.count_dropped("unserializable", 1),
            }
        }
        batch
    }

    /// What the other side said at the end.
    fn ended(&self, error: Option<grpcio::Error>) -> String {
        let Some(error) = error else {
            return "the other side ended the stream".into();
        };
        let status = match &error {
            grpcio::Error::RpcFailure(status) => Some(status),
            grpcio::Error::RpcFinished(status) => status.as_ref(),
            _ => None,
        };
        if let Some(status) = status {
            let refused = status.code() == RpcStatusCode::FAILED_PRECONDITION;
            if refused && status.message().starts_with(REMOVED) {
                self.handle.was_removed();
            }
        }
        error.to_string()
    }
}

/// What a message counts for in bounds, in bytes.
fn weight(message: &Message) -> usize {
    let entries = message.get_entries().iter();
    64 + entries.map(|e| 32 + e.get_data().len()).sum::<usize>()
}

/// How many messages from the first on go together: as many as the stream would take
/// together, and one at least.
fn batch_len(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Message| {
        bytes += weight(message);
        bytes <= limits::RAFT_BATCH_BYTES
    };
    let most = messages.iter().take(limits::RAFT_BATCH_LEN_MAX);
    most.take_while(fits).count().max(1)
}

fn next_wait(wait: Duration) -> Duration {
    (wait * 2).min(limits::RECONNECT_MAX)
}

fn kind(kind: MessageType) -> &'static str {
    match kind {
        MessageType::MsgAppend => "append",
        MessageType::MsgAppendResponse => "append_response",
        MessageType::MsgHeartbeat => "heartbeat",
        MessageType::MsgHeartbeatResponse => "heartbeat_response",
        MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => "vote",
        MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => {
            "vote_response"
        }
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp => "read_index",
        MessageType::MsgTimeoutNow => "timeout_now",
        _ => "other",
    }
}
