//! Runs a handler per task.

mod ledger;
mod run;
mod session;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use futures::task::AtomicWaker;

use crate::client::{made_up_consumer_id, Client};
use crate::error::Error;
use crate::lease::{Delivery, LeaseRef, Nack};
use crate::limits;
use crate::outcome::LeaseResult;
use crate::waiting::OnWait;
pub use ledger::Summary;

/// Why a handler did not do its task.
///
/// Every error becomes one with `?`; the namespace's backoff then says when the
/// task comes again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    error: String,
    delay: Option<Duration>,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Failed,
    Permanent,
    Release,
}

impl Failure {
    /// The failure of a try: the task comes again after the namespace's backoff. At
    /// most 1,024 bytes of `error` are kept with the task.
    #[must_use]
    pub fn new(error: impl fmt::Display) -> Self {
        Self {
            error: error.to_string(),
            delay: None,
            what: What::Failed,
        }
    }

    /// The failure of a task that no try will ever do: it is a dead letter at once.
    #[must_use]
    pub fn permanent(error: impl fmt::Display) -> Self {
        Self {
            what: What::Permanent,
            ..Self::new(error)
        }
    }

    /// The return of a task that was not tried, which is no failure: the task is due
    /// again at once. One that is given back more than three times in a row waits
    /// for the namespace's backoff, which doubles with each further time.
    #[must_use]
    pub fn release() -> Self {
        Self {
            what: What::Release,
            ..Self::new("")
        }
    }

    /// The task comes again after `delay`, whatever the namespace's backoff is.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// What went wrong; empty for a release.
    #[must_use]
    pub fn error(&self) -> &str {
        &self.error
    }

    /// Whether the task is only given back, see [`Failure::release`].
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.what == What::Release
    }

    fn nack(&self, lease: LeaseRef) -> Nack {
        Nack {
            lease,
            delay: self.delay,
            error: self.error.clone(),
            permanent: self.what == What::Permanent,
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// What became of a delivery whose handler has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Ending {
    /// What the handler said.
    pub result: Result<(), Failure>,
    /// What the cluster made of it. A refusal says that the lease had ended before:
    /// another consumer may have the task. `Uncertain`: it cannot be told; if it
    /// was not taken, the task comes again.
    pub answer: LeaseResult,
}

/// Settings of a consumer that is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    namespace: String,
    consumer_id: Option<String>,
    max_in_flight: u32,
    max_in_flight_bytes: u64,
    lease: Option<Duration>,
    give_up_after: Option<Duration>,
    on_wait: Option<OnWait>,
}

impl Builder {
    /// The name of the holder of the leases: 1 to 128 of `A-Z a-z 0-9 . _ : @ / -`. A
    /// consumer that starts anew under the id of one that crashed gets its live leases
    /// again at once. Only one may run under an id in a namespace: a second one
    /// ends the first. Made up unless given.
    #[must_use]
    pub fn consumer_id(mut self, id: impl Into<String>) -> Self {
        self.consumer_id = Some(id.into());
        self
    }

    /// Handlers that run at once, 1 to 10,000. Default 100.
    #[must_use]
    pub fn max_in_flight(mut self, count: u32) -> Self {
        self.max_in_flight = count;
        self
    }

    /// Bytes of payload and metadata in hand; one task above it comes alone.
    /// Default 16 MiB.
    #[must_use]
    pub fn max_in_flight_bytes(mut self, bytes: u64) -> Self {
        self.max_in_flight_bytes = bytes;
        self
    }

    /// How long a lease lasts, 10 ms to a day; the namespace's setting unless
    /// given. It is extended at half of it while the handler runs: it says how
    /// soon another consumer gets the tasks of one that died.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long no peer may keep a stream open before [`Consumer::run`] ends with an
    /// error. The consumer goes on trying for ever unless this is given.
    #[must_use]
    pub fn give_up_after(mut self, span: Duration) -> Self {
        self.give_up_after = Some(span);
        self
    }

    /// The hook that is told when the consumer waits for the cluster, why, and when
    /// it is back.
    #[must_use]
    pub fn on_wait(mut self, on_wait: OnWait) -> Self {
        self.on_wait = Some(on_wait);
        self
    }

    /// The consumer, on the connections of `client`.
    #[must_use]
    pub fn build(mut self, client: &Client) -> Consumer {
        let consumer_id = self.consumer_id.take().unwrap_or_else(made_up_consumer_id);
        Consumer {
            client: client.clone(),
            consumer_id,
            settings: self,
            shutdown: Shutdown::default(),
        }
    }
}

/// Takes the due tasks of a namespace and runs a handler for each.
///
/// At least once: a task whose consumer dies, or whose lease is lost, comes again
/// to some consumer. A task whose ack is confirmed never does.
pub struct Consumer {
    client: Client,
    consumer_id: String,
    settings: Builder,
    shutdown: Shutdown,
}

impl Consumer {
    /// A consumer of `namespace`, to be set up.
    #[must_use]
    pub fn builder(namespace: impl Into<String>) -> Builder {
        Builder {
            namespace: namespace.into(),
            consumer_id: None,
            max_in_flight: limits::CONSUMER_COUNT,
            max_in_flight_bytes: 0,
            lease: None,
            give_up_after: None,
            on_wait: None,
        }
    }

    /// The name of the holder of the leases.
    #[must_use]
    pub fn consumer_id(&self) -> &str {
        &self.consumer_id
    }

    /// Ends [`Consumer::run`] from elsewhere, without losing or repeating work.
    #[must_use]
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Runs `handler` for each delivery, up to `max_in_flight` at once, until
    /// [`Shutdown::begin`].
    ///
    /// - While a handler runs, its lease is extended at half its length. Should it
    ///   be lost all the same, [`Delivery::is_lease_lost`] says so.
    /// - `Ok` acks, `Err` nacks or releases; many go together, and each is
    ///   confirmed before it counts.
    /// - When the stream breaks, another is opened, at another peer if need be,
    ///   with the same consumer id. Handlers that run go on; those of leases that
    ///   are resumed are not started twice.
    /// - After shutdown no task is taken any more; handlers that run are waited
    ///   for, and their answers confirmed.
    ///
    /// Handlers run inside this future, one polled at a time: one that computes
    /// for long, or blocks, holds up all others and their extensions. Hand such
    /// work to a thread or a pool of your own and await its answer.
    ///
    /// A handler that panics counts as failed, with the panic's message (with
    /// `panic = "abort"` the process ends, and its leases run out). Dropping this
    /// future drops the handlers; their leases run out, or are resumed by the next
    /// consumer of this id.
    ///
    /// # Errors
    /// `Aborted` when another consumer took over this id; `InvalidArgument` and
    /// the like for settings that the peer refuses; what the last try said after
    /// [`Builder::give_up_after`]. Handlers that run are dropped then.
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    /// use z4_client::{Client, Consumer, Delivery, Failure, Options};
    ///
    /// async fn send_mail(delivery: Delivery) -> Result<(), Failure> {
    ///     let text = String::from_utf8(delivery.task.payload)
    ///         .map_err(Failure::permanent)?;
    ///     if text.is_empty() {
    ///         return Err(Failure::new("the queue of the mail server is full")
    ///             .after(Duration::from_secs(60)));
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> Result<(), z4_client::Error> {
    /// # futures::executor::block_on(async {
    /// let client = Client::connect(["127.0.0.1:6355"], Options::default()).await?;
    /// let consumer = Consumer::builder("mails").consumer_id("mailer-1").build(&client);
    /// let shutdown = consumer.shutdown();
    /// std::thread::spawn(move || {
    ///     std::thread::sleep(Duration::from_secs(60));
    ///     shutdown.begin();
    /// });
    /// let summary = consumer.run(send_mail).await?;
    /// println!("{} done", summary.acked);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn run<H, F>(self, handler: H) -> Result<Summary, Error>
    where
        H: Fn(Delivery) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        run::run(self, handler, |_| {}).await
    }

    /// [`Consumer::run`] that also tells, for each handler that has ended, what the
    /// cluster made of it. `tell` is called inside this future and must not block.
    ///
    /// # Errors
    /// Those of [`Consumer::run`]. What was not confirmed by then has been told as
    /// uncertain.
    pub async fn run_and_tell<H, F>(
        self,
        handler: H,
        tell: impl Fn(Ending),
    ) -> Result<Summary, Error>
    where
        H: Fn(Delivery) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        run::run(self, handler, tell).await
    }
}

/// Ends a consumer. Cheap to clone.
#[derive(Clone, Default)]
pub struct Shutdown {
    state: Arc<ShutdownState>,
}

#[derive(Default)]
struct ShutdownState {
    has_begun: AtomicBool,
    waker: AtomicWaker,
}

impl Shutdown {
    /// Begins to end the consumer: it takes no more tasks, and [`Consumer::run`]
    /// ends when those in hand are done. A second call does nothing, and a signal's
    /// thread may call it.
    pub fn begin(&self) {
        self.state.has_begun.store(true, Ordering::Release);
        self.state.waker.wake();
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.has_begun.load(Ordering::Acquire)
    }

    /// Waits for it. One waits at a time: the consumer.
    async fn begun(&self) {
        futures::future::poll_fn(|cx| {
            self.state.waker.register(cx.waker());
            match self.has_begun() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
    }
}
