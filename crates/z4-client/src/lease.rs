//! Leases one call at a time, without a stream: [`crate::Consumer`] does all of
//! this by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use z4_proto::collection::{
    self as wire, AckTasksRequest, ExtendLeasesRequest, LeaseTasksRequest, LeaseTasksResponse,
    NackTasksRequest, ReleaseTasksRequest,
};

use crate::client::Client;
use crate::convert;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::outcome::{results, LeaseResult};
use crate::retry::{random_bits, Repeat};
use crate::task::Task;

/// Names one lease: the token is that of the delivery.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LeaseRef {
    /// The id of the task.
    pub task_id: String,
    /// The token of its lease.
    pub token: u64,
}

impl LeaseRef {
    pub(crate) fn wire(&self) -> wire::LeaseRef {
        let mut lease = wire::LeaseRef::default();
        lease.set_task_id(self.task_id.clone());
        lease.set_lease_token(self.token);
        lease
    }
}

/// A task in hand.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The task, whole.
    pub task: Task,
    /// Its lease: what an ack, nack, extend or release must name.
    pub token: u64,
    /// Which try this is, from 1: failures + 1.
    pub attempt: u32,
    /// How often the task was handed out, this time included.
    pub deliveries: u32,
    /// When the lease ends, by the cluster's clock. A [`crate::Consumer`] extends
    /// it while the handler runs.
    pub lease_deadline: Option<SystemTime>,
    /// Whether the lease is of before: an earlier stream of this consumer had it.
    pub resumed: bool,
    pub(crate) lost: Arc<AtomicBool>,
}

impl From<wire::Delivery> for Delivery {
    fn from(mut delivery: wire::Delivery) -> Self {
        Self {
            token: delivery.get_lease_token(),
            attempt: delivery.get_attempt(),
            deliveries: delivery.get_deliveries(),
            lease_deadline: convert::time(&delivery.lease_deadline),
            resumed: delivery.get_resumed(),
            task: delivery.take_task().into(),
            lost: Arc::default(),
        }
    }
}

impl Delivery {
    /// Its lease.
    #[must_use]
    pub fn lease(&self) -> LeaseRef {
        LeaseRef {
            task_id: self.task.id.clone(),
            token: self.token,
        }
    }

    /// Whether the lease is known to be lost, so that another consumer may have
    /// the task: a handler that still runs may stop. Known to consumers only,
    /// and as of their last extension.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A failure to report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nack {
    /// The lease of the try that failed.
    pub lease: LeaseRef,
    /// When the task comes again; `None`: the namespace's backoff.
    pub delay: Option<Duration>,
    /// What went wrong; at most 1,024 bytes are kept.
    pub error: String,
    /// Whether no try will ever succeed: the task is a dead letter at once.
    pub permanent: bool,
}

impl Nack {
    pub(crate) fn wire(&self) -> wire::Nack {
        let mut nack = wire::Nack::default();
        nack.set_task_id(self.lease.task_id.clone());
        nack.set_lease_token(self.lease.token);
        nack.delay = self.delay.map(convert::wire_span).into();
        nack.set_error(self.error.clone());
        nack.set_permanent(self.permanent);
        nack
    }
}

/// How to lease tasks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaseQuery {
    /// The namespace whose tasks are leased.
    pub namespace: String,
    /// Who will hold the leases: 1 to 128 of `A-Z a-z 0-9 . _ : @ / -`; empty: a
    /// name is made up.
    pub consumer_id: String,
    /// The most tasks that are leased, 1 to 1,024; 0: 1.
    pub max_tasks: u32,
    /// The most bytes of payload and metadata that are leased; one task above it
    /// comes alone. 0: 4 MiB.
    pub max_bytes: u64,
    /// How long the leases last; `None`: the namespace's setting.
    pub lease: Option<Duration>,
    /// How long to wait when nothing is due, at most 60 s.
    pub wait: Duration,
    /// The call answers with the leases that `consumer_id` holds already, and takes
    /// new ones only when it holds none. Needs a `consumer_id` that nobody else works
    /// under at the same time. For the call after one whose answer was lost.
    pub resume: bool,
}

impl Client {
    /// Leases due tasks; waits for some when none is due. None come when nothing
    /// was due in time.
    ///
    /// When the answer is lost and `consumer_id` is empty, the call asks once more,
    /// without a wait, for what was leased. Otherwise that comes with the next call
    /// that says `resume`, or again after the lease.
    ///
    /// # Errors
    /// `InvalidArgument`; `Unavailable` when no peer knows a leader.
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    /// use z4_client::{Client, LeaseQuery, Options};
    ///
    /// # fn main() -> Result<(), z4_client::Error> {
    /// # futures::executor::block_on(async {
    /// let client = Client::connect(["127.0.0.1:6355"], Options::default()).await?;
    /// let query = LeaseQuery {
    ///     namespace: "mails".into(),
    ///     max_tasks: 10,
    ///     wait: Duration::from_secs(20),
    ///     ..LeaseQuery::default()
    /// };
    /// let deliveries = client.lease(&query).await?;
    /// let leases: Vec<_> = deliveries.iter().map(|d| d.lease()).collect();
    /// for result in client.ack("mails", &leases).await? {
    ///     println!("{}: {:?}", result.lease.task_id, result.outcome);
    /// }
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn lease(&self, query: &LeaseQuery) -> Result<Vec<Delivery>, Error> {
        let mut request = LeaseTasksRequest::default();
        request.set_namespace(query.namespace.clone());
        // Under a name of its own, a second try can ask what the first one leased.
        let is_own = query.consumer_id.is_empty() && !query.resume;
        request.set_consumer_id(match is_own {
            true => format!("auto-{:016x}", random_bits()),
            false => query.consumer_id.clone(),
        });
        request.set_resume(query.resume);
        request.set_max_tasks(query.max_tasks);
        request.set_max_bytes(query.max_bytes);
        request.set_answer_bytes_max(limits::MESSAGE_LEN_MAX as u32);
        request.lease = query.lease.map(convert::wire_span).into();
        if !query.wait.is_zero() {
            request.set_wait(convert::wire_span(query.wait));
        }
        let timeout = self.timeout().saturating_add(query.wait);
        let timeout = timeout.min(limits::WAIT_MAX);
        // A try waits as long as it is told to: it must not be cut short.
        let waits = !query.wait.is_zero();
        let repeat = match waits || is_own {
            true => Repeat::Never,
            false => Repeat::Safe,
        };
        let mut asked = self.lease_try(repeat, timeout, &request).await;
        let is_doubtful = |error: &Error| error.may_be_done() || (!waits && is_lost(error));
        if is_own && asked.as_ref().is_err_and(is_doubtful) {
            // A peer that noticed that its caller left gives back first.
            self.peers.timer.sleep(limits::RESUME_PAUSE).await;
            request.set_resume(true);
            request.clear_wait();
            asked = self.lease_try(Repeat::Safe, self.timeout(), &request).await;
        }
        let mut answer = asked?;
        let deliveries = answer.take_deliveries().into_iter();
        Ok(deliveries.map(Delivery::from).collect())
    }

    async fn lease_try(
        &self,
        repeat: Repeat,
        timeout: Duration,
        request: &LeaseTasksRequest,
    ) -> Result<LeaseTasksResponse, Error> {
        let asking = self.peers.ask(repeat, timeout, |peer, option| {
            peer.collection.lease_tasks_async_opt(request, option)
        });
        Ok(asking.await?.value)
    }

    /// Ends leases: their tasks are done. One result each, in order; an ack that
    /// is answered [`crate::LeaseOutcome::Done`] is final.
    ///
    /// # Errors
    /// `InvalidArgument` for none or more than 4,096.
    pub async fn ack(
        &self,
        namespace: &str,
        leases: &[LeaseRef],
    ) -> Result<Vec<LeaseResult>, Error> {
        let mut request = AckTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_leases(leases.iter().map(LeaseRef::wire).collect());
        let mut answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.ack_tasks_async_opt(&request, option)
            })
            .await?;
        Ok(results(answer.value.take_results(), answer.tries))
    }

    /// Ends leases with a failure each: the tasks come again later, or are dead
    /// letters.
    ///
    /// # Errors
    /// `InvalidArgument` for none or more than 4,096.
    pub async fn nack(&self, namespace: &str, nacks: &[Nack]) -> Result<Vec<LeaseResult>, Error> {
        let mut request = NackTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_nacks(nacks.iter().map(Nack::wire).collect());
        let mut answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.nack_tasks_async_opt(&request, option)
            })
            .await?;
        Ok(results(answer.value.take_results(), answer.tries))
    }

    /// Moves the deadlines of leases to `lease` from now; `None`: the namespace's
    /// setting.
    ///
    /// # Errors
    /// `InvalidArgument` for none or more than 4,096.
    pub async fn extend(
        &self,
        namespace: &str,
        leases: &[LeaseRef],
        lease: Option<Duration>,
    ) -> Result<Vec<LeaseResult>, Error> {
        let mut request = ExtendLeasesRequest::default();
        request.set_namespace(namespace.to_owned());
        let extends = leases.iter().map(|of| extend_wire(of, lease));
        request.set_extends(extends.collect());
        let mut answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.extend_leases_async_opt(&request, option)
            })
            .await?;
        Ok(results(answer.value.take_results(), answer.tries))
    }

    /// Ends leases without a failure: the tasks are due again at once. One that is
    /// given back more than three times in a row waits for the namespace's backoff,
    /// which doubles with each further time.
    ///
    /// # Errors
    /// `InvalidArgument` for none or more than 4,096.
    pub async fn release(
        &self,
        namespace: &str,
        leases: &[LeaseRef],
    ) -> Result<Vec<LeaseResult>, Error> {
        let mut request = ReleaseTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_leases(leases.iter().map(LeaseRef::wire).collect());
        let mut answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.collection.release_tasks_async_opt(&request, option)
            })
            .await?;
        Ok(results(answer.value.take_results(), answer.tries))
    }
}

pub(crate) fn extend_wire(lease: &LeaseRef, span: Option<Duration>) -> wire::Extend {
    let mut extend = wire::Extend::default();
    extend.set_task_id(lease.task_id.clone());
    extend.set_lease_token(lease.token);
    extend.lease = span.map(convert::wire_span).into();
    extend
}

/// Whether a call may have been cut off, so that another try is worth it.
fn is_lost(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::Cancelled | ErrorKind::DeadlineExceeded
    )
}
