//! A peer, as its services share it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grpcio::RpcContext;
use z4_consensus::Handle;
use z4_core::{Outcome, View};
use z4_delivery::Input;

use crate::access::{Access, Caller};
use crate::deadline;
use crate::delivery::Delivery;
use crate::facts::FactsHook;
use crate::forward::Forwarder;
use crate::limits;
use crate::network::Network;
use crate::readers::Readers;
use crate::timer::Timer;
use crate::verdicts::{Verdict, Verdicts};

/// What the services of a peer share. Cheap to clone.
pub struct Node<V> {
    inner: Arc<Inner<V>>,
    /// When the caller that this serves must have its answer.
    answer_by: Option<Instant>,
    /// The caller that this serves, where callers are asked who they are.
    caller: Option<Caller>,
}

struct Inner<V> {
    handle: Handle<Outcome>,
    view: V,
    access: Access,
    network: Network,
    forwarder: Forwarder,
    readers: Readers,
    looks: Readers,
    delivery: Delivery<V>,
    verdicts: Verdicts,
    facts: FactsHook,
    /// Held while a member is added: one at a time.
    adding: futures::lock::Mutex<()>,
}

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            answer_by: self.answer_by,
            caller: self.caller.clone(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Starts the threads of reads and of deliveries. `view` reads the applied
    /// task state, `access` says who may do what, `facts` tells how the server is.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        handle: Handle<Outcome>,
        view: V,
        network: Network,
        access: Access,
        facts: FactsHook,
    ) -> std::io::Result<Self> {
        let (delivery, inbox) = Delivery::new();
        let told = delivery.clone();
        let lost = move |leader| told.input(Input::ReportsLost(leader));
        let forwarder = Forwarder::new(network.clone(), lost);
        let node = Self {
            inner: Arc::new(Inner {
                readers: Readers::of_state()?,
                looks: Readers::of_system()?,
                handle,
                access,
                view,
                network,
                forwarder,
                delivery,
                verdicts: Verdicts::default(),
                facts,
                adding: futures::lock::Mutex::default(),
            }),
            answer_by: None,
            caller: None,
        };
        crate::delivery::start(node.clone(), inbox)?;
        Ok(node)
    }

    /// The same, for a call that has just come: what is done for it ends before
    /// its caller leaves.
    pub(crate) fn of_call(&self, ctx: &RpcContext<'_>) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            answer_by: deadline::answer_by(ctx.deadline()),
            caller: self.access().caller(ctx),
        }
    }

    /// This node, for a call of another peer, whom the peer port has let in.
    pub(crate) fn of_peer_call(&self, ctx: &RpcContext<'_>) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            answer_by: deadline::answer_by(ctx.deadline()),
            caller: None,
        }
    }

    /// This node, for a stream: it lasts as long as its caller likes.
    pub(crate) fn of_stream(&self, ctx: &RpcContext<'_>) -> Self {
        Self {
            answer_by: None,
            ..self.of_call(ctx)
        }
    }

    /// The same, for a part of what the caller waits for: it ends a moment before.
    pub(crate) fn a_little_sooner(&self) -> Self {
        let sooner = |at: Instant| at.checked_sub(limits::ADMIN_STEP_MARGIN).unwrap_or(at);
        Self {
            inner: Arc::clone(&self.inner),
            answer_by: self.answer_by.map(sooner),
            caller: self.caller.clone(),
        }
    }

    /// `most`, or less when the caller leaves before.
    pub(crate) fn patience(&self, most: Duration) -> Duration {
        match self.answer_by {
            Some(at) => most.min(at.saturating_duration_since(Instant::now())),
            None => most,
        }
    }

    /// The peer itself.
    #[must_use]
    pub fn handle(&self) -> &Handle<Outcome> {
        &self.inner.handle
    }

    /// Connections to other peers, and who this peer is.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.inner.network
    }

    /// The rules of who may do what.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.inner.access
    }

    /// The caller that this serves; `None` where nobody is asked who they are.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// Where the state machine's events go.
    #[must_use]
    pub fn delivery(&self) -> &Delivery<V> {
        &self.inner.delivery
    }

    /// Where the verdicts on the state of this peer go.
    #[must_use]
    pub fn verdicts(&self) -> &Verdicts {
        &self.inner.verdicts
    }

    /// The hook that tells how the server is.
    pub(crate) fn facts(&self) -> &FactsHook {
        &self.inner.facts
    }

    /// This peer's verdict on its state at a mark.
    pub(crate) async fn verdict(&self, mark_id: u64) -> Result<Verdict, String> {
        let (verdicts, limit) = (self.verdicts(), limits::VERIFY_TIMEOUT);
        verdicts.wait(self.timer(), mark_id, limit).await
    }

    /// Ends consumer streams and connections to leaders; to be called when the
    /// service port takes no more calls and before the peer is stopped, so that
    /// unwritten tasks are given back.
    pub fn drain(&self) {
        self.inner.delivery.input(Input::Stop);
    }

    /// Closes what is left, when the peer has stopped.
    pub fn stop(&self) {
        self.inner.delivery.stop();
        self.inner.forwarder.close();
    }

    /// Held while a member is added, at the leader.
    pub(crate) fn adding(&self) -> &futures::lock::Mutex<()> {
        &self.inner.adding
    }

    pub(crate) fn view(&self) -> &V {
        &self.inner.view
    }

    pub(crate) fn timer(&self) -> &Timer {
        self.inner.network.timer()
    }

    pub(crate) fn forwarder(&self) -> &Forwarder {
        &self.inner.forwarder
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.inner.readers
    }

    /// The thread that asks the system how it is.
    pub(crate) fn looks(&self) -> &Readers {
        &self.inner.looks
    }
}
