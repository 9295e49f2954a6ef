//! From a follower to the leader, over the peer port: proposals of clients, reports of
//! consumers, administration. A request is sent on once at most: a peer that does not
//! lead says so and does not send it on.

mod link;
mod serve;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::oneshot;
use z4_proto::generated::peer::{
    ForwardError, ForwardReply_oneof_answer as Answer, ForwardRequest,
    ForwardRequest_oneof_ask as Ask,
};

use self::link::Link;
use crate::network::Network;

pub(crate) use serve::serve;

/// Why a leader gave no answer.
#[derive(Clone, Debug)]
pub(crate) enum AskError {
    /// It was not sent: nothing was done.
    NotSent(String),
    /// It was sent, and the connection broke: it may have been done.
    Lost,
    /// Too many requests are under way: nothing was done.
    Full,
    /// The peer answered with an error.
    Refused(ForwardError),
}

/// Called once with the answer, from any thread; must not block.
pub(crate) type Answered = Box<dyn FnOnce(Result<Answer, AskError>) + Send>;

/// The connections to those who lead or led. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Forwarder {
    network: Network,
    links: Arc<Mutex<HashMap<u64, Arc<Link>>>>,
    lost: Lost,
}

/// Called when a connection to a peer that was in use has ended: what that peer kept
/// for as long as the connection lasts, it has forgotten.
type Lost = Arc<dyn Fn(u64) + Send + Sync>;

impl Forwarder {
    pub(crate) fn new(network: Network, lost: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self {
            network,
            links: Arc::default(),
            lost: Arc::new(lost),
        }
    }

    /// Asks the peer `to` at `address`, which is not this one.
    pub(crate) fn ask_with(&self, to: u64, address: &str, ask: Ask, answered: Answered) {
        self.ask_for(String::new(), to, address, ask, answered);
    }

    fn ask_for(&self, principal: String, to: u64, address: &str, ask: Ask, answered: Answered) {
        let request = ForwardRequest {
            ask: Some(ask),
            principal,
            ..ForwardRequest::default()
        };
        self.network.metrics().forwarded.inc();
        self.link(to, address).ask(request, answered);
    }

    /// Asks the peer `to` at `address`, which is not this one.
    pub(crate) async fn ask(&self, to: u64, address: &str, ask: Ask) -> Result<Answer, AskError> {
        self.ask_as(String::new(), to, address, ask).await
    }

    /// Asks for a principal, whose name stands in the log of the peer that is asked; the name is
    /// empty where nobody is asked who they are.
    pub(crate) async fn ask_as(
        &self,
        principal: String,
        to: u64,
        address: &str,
        ask: Ask,
    ) -> Result<Answer, AskError> {
        let (tx, rx) = oneshot::channel();
        let answered = move |result| {
            // The asker may have left.
            let _ = tx.send(result);
        };
        self.ask_for(principal, to, address, ask, Box::new(answered));
        rx.await.unwrap_or(Err(AskError::Lost))
    }

    fn link(&self, to: u64, address: &str) -> Arc<Link> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&to) {
            if link.address() == address {
                return Arc::clone(link);
            }
            link.close();
        }
        let link = Link::open(&self.network, to, address, Arc::clone(&self.lost));
        links.insert(to, Arc::clone(&link));
        link
    }

    /// Closes all connections: what is under way is lost.
    pub(crate) fn close(&self) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, link) in links.drain() {
            link.close();
        }
    }
}
