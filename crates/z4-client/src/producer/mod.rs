//! Creates many tasks on one stream.

mod drive;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::future::poll_fn;
use futures::task::AtomicWaker;

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::task::{NewTask, Task};
use crate::waiting::OnWait;
use window::{Entry, Window};

/// How a [`Producer`] behaves.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Tasks that are sent and not answered; with more, [`Producer::send`] waits.
    /// Default 1,024.
    pub max_in_flight: usize,
    /// Their bytes of payload and metadata; one above it goes alone. Default 16
    /// MiB.
    pub max_in_flight_bytes: usize,
    /// How long a task is tried, over all lost streams, missing leaders and full
    /// limits. Default 60 s.
    pub patience: Duration,
    /// Is told when tasks wait for the cluster for longer than a change of leader
    /// takes, and why, and when they get on. Default: nobody is told.
    pub on_wait: Option<OnWait>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            max_in_flight: limits::PRODUCER_COUNT,
            max_in_flight_bytes: limits::PRODUCER_BYTES,
            patience: limits::PRODUCER_PATIENCE,
            on_wait: None,
        }
    }
}

type Reply = oneshot::Sender<Result<Task, Error>>;

/// Creates tasks on one stream, many in flight. When the stream breaks, it opens
/// another, at another peer if need be, and sends again what was not answered,
/// with the same request ids: each task is created once.
///
/// Tasks may be created in another order than they were sent in. Cheap to clone;
/// with the last clone, the stream is closed once all is answered.
///
/// # Examples
/// ```no_run
/// use z4_client::{Client, NewTask, Options, Producer, ProducerOptions};
///
/// # fn main() -> Result<(), z4_client::Error> {
/// # futures::executor::block_on(async {
/// let client = Client::connect(["127.0.0.1:6355"], Options::default()).await?;
/// let producer = Producer::new(&client, ProducerOptions::default());
/// let mut sent = Vec::new();
/// for n in 0..10_000 {
///     // Waits while too many are in flight.
///     sent.push(producer.send(NewTask::new("numbers", n.to_string())).await);
/// }
/// for task in sent {
///     println!("{}", task.await?.id);
/// }
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    /// Of the last clone: the driver may end.
    _alive: Arc<Alive>,
    turn: Arc<futures::lock::Mutex<()>>,
}

/// What the producer and its driver share.
struct Shared {
    client: Client,
    options: ProducerOptions,
    state: Mutex<State>,
    /// Wakes the driver: something to send, or the end.
    work: AtomicWaker,
}

#[derive(Default)]
struct State {
    window: Window<Reply>,
    closed: bool,
    /// Who waits for room: one sender, as they take turns.
    room: Option<Waker>,
    /// Who waits until all is answered.
    flushes: Vec<oneshot::Sender<()>>,
}

struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.wake();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After entries left the window.
    fn freed(&self) {
        let (room, flushes) = {
            let mut state = self.lock();
            let flushes = match state.window.len() {
                0 => std::mem::take(&mut state.flushes),
                _ => Vec::new(),
            };
            (state.room.take(), flushes)
        };
        room.into_iter().for_each(Waker::wake);
        for flush in flushes {
            // Who waited may have gone.
            let _ = flush.send(());
        }
    }
}

/// The task of a [`Producer::send`], once it is created. Dropping it does not
/// take the task back.
#[must_use = "a create can fail"]
#[derive(Debug)]
pub struct Sent(oneshot::Receiver<Result<Task, Error>>);

impl Future for Sent {
    type Output = Result<Task, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Client,
                    "the client was dropped before the answer came",
                ))
            })
        })
    }
}

impl Producer {
    /// A producer on the connections of `client`. Opens its stream with the first
    /// task.
    #[must_use]
    pub fn new(client: &Client, options: ProducerOptions) -> Self {
        let shared = Arc::new(Shared {
            client: client.clone(),
            options,
            state: Mutex::default(),
            work: AtomicWaker::new(),
        });
        let driver = drive::drive(Arc::clone(&shared));
        client.peers.first().collection.spawn(driver);
        Self {
            _alive: Arc::new(Alive(Arc::clone(&shared))),
            shared,
            turn: Arc::default(),
        }
    }

    /// Hands a task over; waits while too many are in flight. What it gives is
    /// the answer to come: the task, or an error as of [`Client::create`], the
    /// last one after [`ProducerOptions::patience`].
    pub async fn send(&self, task: NewTask) -> Sent {
        let bytes = task.size_bytes();
        let request = Arc::new(task.identified(|| self.shared.client.next_id()));
        let (reply, answer) = oneshot::channel();
        let options = &self.shared.options;
        let mut entry = Some(Entry {
            request,
            bytes,
            reply,
            give_up_at: Instant::now() + options.patience.min(limits::WAIT_MAX),
            error: None,
            is_in_doubt: false,
        });
        // One at a time waits for room, or a large task would wait for ever.
        let _turn = self.turn.lock().await;
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            let (count, most) = (options.max_in_flight.max(1), options.max_in_flight_bytes);
            if !state.window.has_room(bytes, count, most) {
                state.room = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(mut entry) = entry.take() {
                entry.give_up_at = Instant::now() + options.patience.min(limits::WAIT_MAX);
                state.window.push(entry);
            }
            Poll::Ready(())
        })
        .await;
        self.shared.work.wake();
        Sent(answer)
    }

    /// Waits until all that was sent is answered.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.window.len() == 0 {
                return;
            }
            state.flushes.push(done);
        }
        // The driver outlives its tasks: it answers in any case.
        let _ = flushed.await;
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let in_flight = self.shared.lock().window.len();
        f.debug_struct("Producer")
            .field("in_flight", &in_flight)
            .finish_non_exhaustive()
    }
}
