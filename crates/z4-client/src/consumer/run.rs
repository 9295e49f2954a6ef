//! A consumer at work: its streams one after another, its handlers across them.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{pending, Either, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{pin_mut, select_biased};
use z4_core::limits::LEASE_MS_DEFAULT;

use super::ledger::{Answer, Arrival, Ledger, Summary};
use super::session::{may_reopen, Event, Reader, Session};
use super::{Consumer, Ending, Failure};
use crate::dial::Peer;
use crate::error::{Error, ErrorKind};
use crate::lease::Delivery;
use crate::limits;
use crate::retry::Backoff;
use crate::waiting::Waiting;

/// How a stream ended.
enum End {
    /// All is done.
    Drained,
    /// It broke; whether it had been open before.
    Broke(Error, bool),
}

type Finished = (String, Result<(), Failure>);

pub(super) async fn run<H, F>(
    consumer: Consumer,
    handler: H,
    tell: impl Fn(Ending),
) -> Result<Summary, Error>
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let peers = &consumer.client.peers;
    let timer = peers.timer.clone();
    let mut waiting = Waiting::new(consumer.settings.on_wait.clone());
    let Some(lease) = lease_length(&consumer, &mut waiting).await? else {
        return Ok(Summary::default());
    };
    let mut ledger = Ledger::new((lease / 2).clamp(limits::EXTEND_MIN, limits::EXTEND_MAX));
    let mut handlers = FuturesUnordered::new();
    let handler = &handler;
    let start = |delivery: Delivery| {
        let task_id = delivery.task.id.clone();
        // Inside, so that a panic before the future is there is caught as well.
        let call = async move { handler(delivery).await };
        async move {
            let result = AssertUnwindSafe(call).catch_unwind().await;
            let result = result.unwrap_or_else(|panic| Err(Failure::new(panic_text(&*panic))));
            (task_id, result)
        }
    };
    let mut backoff = Backoff::new(limits::BACKOFF_MIN, limits::BACKOFF_MAX);
    let mut lost_at = Instant::now();
    loop {
        tell_all(&mut ledger, &tell);
        if consumer.shutdown.has_begun() && ledger.is_empty() {
            return Ok(ledger.summary());
        }
        let mut began_at = Instant::now();
        let reach = peers.reach(consumer.client.timeout());
        let error = match beside(&mut handlers, &mut ledger, reach).await {
            Err(error) => error,
            Ok(peer) => {
                let (ledger, handlers) = (&mut ledger, &mut handlers);
                let waiting = &mut waiting;
                let end = session(&consumer, &peer, ledger, handlers, waiting, &start, &tell).await;
                tell_all(ledger, &tell);
                match end {
                    End::Drained => return Ok(ledger.summary()),
                    End::Broke(error, was_open) => {
                        if was_open {
                            backoff.reset();
                            lost_at = Instant::now();
                            began_at = lost_at;
                        }
                        peers.leave(&peer);
                        error
                    }
                }
            }
        };
        if may_reopen(error.kind()) {
            waiting.failed(&error, began_at, Instant::now());
        }
        let patience = consumer.settings.give_up_after;
        let is_over = patience.is_some_and(|patience| lost_at.elapsed() >= patience);
        if is_over || !may_reopen(error.kind()) {
            ledger.abandon();
            tell_all(&mut ledger, &tell);
            return Err(error);
        }
        let pause = timer.sleep(backoff.pause());
        beside(&mut handlers, &mut ledger, pause).await;
    }
}

fn tell_all(ledger: &mut Ledger, tell: &impl Fn(Ending)) {
    ledger.take_endings().into_iter().for_each(tell);
}

/// How long leases last: as asked, else the namespace's setting, for which the
/// cluster is waited for. `None`: shutdown began before.
async fn lease_length(
    consumer: &Consumer,
    waiting: &mut Waiting,
) -> Result<Option<Duration>, Error> {
    if let Some(lease) = consumer.settings.lease {
        return Ok(Some(lease));
    }
    let began_at = Instant::now();
    let mut backoff = Backoff::new(limits::BACKOFF_MIN, limits::BACKOFF_MAX);
    let default = Duration::from_millis(LEASE_MS_DEFAULT);
    while !consumer.shutdown.has_begun() {
        let asked = consumer.client.namespace_once(&consumer.settings.namespace);
        let begun = consumer.shutdown.begun();
        pin_mut!(asked, begun);
        let asked = match futures::future::select(asked, begun).await {
            Either::Left((asked, _)) => asked,
            Either::Right(_) => return Ok(None),
        };
        let error = match asked {
            Ok(namespace) if !namespace.settings.lease.is_zero() => {
                return Ok(Some(namespace.settings.lease));
            }
            // It appears with its first task.
            Ok(_) => return Ok(Some(default)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Unimplemented) => {
                return Ok(Some(default));
            }
            Err(error) => error,
        };
        let patience = consumer.settings.give_up_after;
        let is_over = patience.is_some_and(|patience| began_at.elapsed() >= patience);
        if is_over || !may_reopen(error.kind()) {
            return Err(error);
        }
        waiting.failed(&error, began_at, Instant::now());
        consumer.client.peers.timer.sleep(backoff.pause()).await;
    }
    Ok(None)
}

/// Waits for `other` while handlers go on. Their answers wait in the ledger for
/// the next stream.
async fn beside<T, F: Future<Output = Finished>>(
    handlers: &mut FuturesUnordered<F>,
    ledger: &mut Ledger,
    other: impl Future<Output = T>,
) -> T {
    let other = other.fuse();
    pin_mut!(other);
    loop {
        select_biased! {
            output = other => return output,
            (task_id, result) = handlers.select_next_some() => {
                ledger.finished(&task_id, result);
            }
        }
    }
}

async fn session<F: Future<Output = Finished>>(
    consumer: &Consumer,
    peer: &Arc<Peer>,
    ledger: &mut Ledger,
    handlers: &mut FuturesUnordered<F>,
    waiting: &mut Waiting,
    start: &impl Fn(Delivery) -> F,
    tell: &impl Fn(Ending),
) -> End {
    let credit = ledger.credit(consumer.settings.max_in_flight);
    let (session, reader, writer) = match Session::open(consumer, peer, credit) {
        Ok(open) => open,
        Err(error) => return End::Broke(error, false),
    };
    let writer = writer.run();
    pin_mut!(writer);
    let mut live = Live {
        consumer,
        session,
        ledger,
        credit,
        unanswered: 1,
        asked_at: Instant::now(),
        is_open: false,
        is_draining: false,
        closing_since: None,
    };
    let mut reader = reader;
    loop {
        tell_all(live.ledger, tell);
        live.close_when_done();
        live.tell_credit();
        match live
            .turn(peer, handlers, &mut reader, writer.as_mut())
            .await
        {
            Turn::Begun => live.drain(),
            Turn::Sleep if live.closing_since.is_some() => return End::Drained,
            Turn::Sleep if live.is_stalled() && live.stood_still() => {}
            Turn::Sleep if live.is_stalled() => {
                let message = "the peer does not answer on the stream";
                let error = Error::new(ErrorKind::DeadlineExceeded, message);
                return End::Broke(error, live.is_open);
            }
            Turn::Sleep => live.extend(),
            Turn::Finished((task_id, result)) => live.finished(&task_id, result),
            Turn::Leaderless(error) => return End::Broke(error, live.is_open),
            Turn::Event(Event::Consuming) => {
                live.opened();
                waiting.got_on(Instant::now());
            }
            Turn::Event(Event::Delivery(delivery)) => {
                if let Some(delivery) = live.delivered(*delivery) {
                    handlers.push(start(delivery));
                }
            }
            Turn::Event(Event::Result(result)) => {
                live.answered();
                live.ledger.told(&result, Instant::now());
            }
            Turn::Event(event @ (Event::Ended(_) | Event::Closed)) => {
                if live.is_draining && live.ledger.is_empty() {
                    return End::Drained;
                }
                let error = match event {
                    Event::Ended(error) => error,
                    _ => {
                        live.ledger.nothing_else_was_taken();
                        Error::stream_ended()
                    }
                };
                return End::Broke(error, live.is_open);
            }
        }
    }
}

/// What happens next on a stream.
enum Turn {
    /// Shutdown has begun.
    Begun,
    /// A lease is to be extended, or the end of the stream was waited for.
    Sleep,
    Finished(Finished),
    Event(Event),
    /// The peer has lost the cluster, and cannot say so on the stream.
    Leaderless(Error),
}

/// A stream and what is known of it.
struct Live<'a> {
    consumer: &'a Consumer,
    session: Session,
    ledger: &'a mut Ledger,
    /// What the peer was told last.
    credit: u32,
    /// The opening, answers and extensions of which the peer has said nothing.
    unanswered: u64,
    /// When the oldest of them was said, or the peer last answered one.
    asked_at: Instant,
    is_open: bool,
    is_draining: bool,
    closing_since: Option<Instant>,
}

impl Live<'_> {
    async fn turn<F: Future<Output = Finished>>(
        &self,
        peer: &Peer,
        handlers: &mut FuturesUnordered<F>,
        reader: &mut Reader,
        writer: Pin<&mut impl Future<Output = Infallible>>,
    ) -> Turn {
        let wakes_at = match self.closing_since {
            Some(since) => Some(since + limits::CLOSE_WAIT),
            None => {
                let extend_at = self.ledger.next_extend().filter(|_| self.is_open);
                extend_at.into_iter().chain(self.stalls_at()).min()
            }
        };
        let timer = &self.consumer.client.peers.timer;
        let sleep = match wakes_at {
            Some(at) => Either::Left(timer.sleep_until(at)),
            None => Either::Right(pending::<()>()),
        };
        let begun = match self.is_draining {
            true => Either::Left(pending::<()>()),
            false => Either::Right(self.consumer.shutdown.begun()),
        };
        let (sleep, begun, writer) = (sleep.fuse(), begun.fuse(), writer.fuse());
        let event = reader.next().fuse();
        let leaderless = match self.is_open {
            true => Either::Left(self.consumer.client.peers.leaderless(peer)),
            false => Either::Right(pending::<Error>()),
        };
        let leaderless = leaderless.fuse();
        pin_mut!(sleep, begun, event, writer, leaderless);
        // Nothing that can come without end stands before what must be done in
        // time: writing, and extending leases.
        select_biased! {
            never = writer => match never {},
            () = begun => Turn::Begun,
            () = sleep => Turn::Sleep,
            finished = handlers.select_next_some() => Turn::Finished(finished),
            event = event => Turn::Event(event),
            error = leaderless => Turn::Leaderless(error),
        }
    }

    fn stalls_at(&self) -> Option<Instant> {
        (self.unanswered > 0).then_some(self.asked_at + limits::STREAM_STALL)
    }

    fn is_stalled(&self) -> bool {
        self.stalls_at().is_some_and(|at| at <= Instant::now())
    }

    /// Whether this process, and not the peer, did nothing for a while: it was
    /// stopped, or its machine was busy. What the peer has said meanwhile is not
    /// read yet, so the peer has as long again.
    fn stood_still(&mut self) -> bool {
        let now = Instant::now();
        let late = self.stalls_at().map(|at| now.saturating_duration_since(at));
        let stood_still = late.is_some_and(|late| late >= limits::STALL_LATE);
        if stood_still {
            self.asked_at = now;
        }
        stood_still
    }

    fn asked(&mut self) {
        if self.unanswered == 0 {
            self.asked_at = Instant::now();
        }
        self.unanswered += 1;
    }

    fn answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.asked_at = Instant::now();
    }

    fn say(&mut self, answer: &Answer) {
        self.asked();
        self.ledger.sends(answer);
        self.session.answer(answer);
    }

    fn drain(&mut self) {
        self.is_draining = true;
        self.session.drain();
    }

    fn close_when_done(&mut self) {
        if self.is_draining && self.ledger.is_empty() && self.closing_since.is_none() {
            self.session.close();
            self.closing_since = Some(Instant::now());
        }
    }

    fn tell_credit(&mut self) {
        let credit = self.ledger.credit(self.consumer.settings.max_in_flight);
        if credit != self.credit {
            self.credit = credit;
            self.session.credit(credit);
        }
    }

    fn extend(&mut self) {
        for lease in self.ledger.due_extends(Instant::now()) {
            self.asked();
            self.session.extend(&lease);
        }
    }

    fn finished(&mut self, task_id: &str, result: Result<(), Failure>) {
        // Before the stream is open, the ledger keeps it.
        let answer = self.ledger.finished(task_id, result);
        if let Some(answer) = answer.filter(|_| self.is_open) {
            self.say(&answer);
        }
    }

    fn opened(&mut self) {
        self.is_open = true;
        self.answered();
        for answer in self.ledger.reopened(Instant::now()) {
            self.say(&answer);
        }
    }

    /// Gives the delivery back when its handler is to be started.
    fn delivered(&mut self, delivery: Delivery) -> Option<Delivery> {
        let lease = delivery.lease();
        let now = Instant::now();
        let arrival = self
            .ledger
            .delivered(&lease, delivery.resumed, &delivery.lost, now);
        let answer = match arrival {
            Arrival::Start if !self.is_draining => return Some(delivery),
            // It was on its way when we said that we want no more.
            Arrival::Start => self.ledger.turned_away(&lease.task_id),
            Arrival::Known => None,
            Arrival::Answer(answer) => Some(answer),
        };
        if let Some(answer) = answer {
            self.say(&answer);
        }
        None
    }
}

/// What a panic says, as far as it is text.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("no text"))
}
