//! The client: where it connects, and how long it tries.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::limits;
use crate::peers::Peers;
use crate::retry::random_bits;
use crate::tls::Tls;
use crate::token::Token;

/// How a [`Client`] behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a call may take, all its tries together. Default 10 s.
    pub timeout: Duration,
    /// How long adding, removing and promoting members may take. Default 60 s.
    pub member_timeout: Duration,
    /// How long one of several peers may take to be reached; a single one has
    /// the whole `timeout`. Default 2 s.
    pub connect_timeout: Duration,
    /// TLS, and whom to trust by it. Default `None`: in the clear.
    pub tls: Option<Tls>,
    /// The token that says who the client is. Default `None`: nobody, or the client of the
    /// certificate in `tls`.
    pub token: Option<Token>,
}

impl Options {
    /// A moment farther away than a clock reaches would be a panic.
    fn within_the_clock(self) -> Self {
        Self {
            timeout: self.timeout.min(limits::WAIT_MAX),
            member_timeout: self.member_timeout.min(limits::WAIT_MAX),
            connect_timeout: self.connect_timeout.min(limits::WAIT_MAX),
            tls: self.tls,
            token: self.token,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: limits::TIMEOUT,
            member_timeout: limits::MEMBER_TIMEOUT,
            connect_timeout: limits::CONNECT_TIMEOUT,
            tls: None,
            token: None,
        }
    }
}

/// A client of a cluster. Cheap to clone; clones share connections, two threads
/// and the peer that is asked first.
///
/// Calls go to one of the given peers, and to the next when it is not to be
/// reached or says UNAVAILABLE, with growing pauses, until the time of the call
/// is up ([`Options::timeout`]). What is not safe to repeat is not repeated: each
/// method says so. When a peer forwards creates to the leader, the client goes to
/// the leader by itself, if its address is among those given.
///
/// Methods give futures that run on every executor.
///
/// # Examples
/// ```no_run
/// use z4_client::{Client, NewTask, Options};
///
/// # fn main() -> Result<(), z4_client::Error> {
/// futures::executor::block_on(async {
///     let client = Client::connect(["127.0.0.1:6355"], Options::default()).await?;
///     let task = client.create(NewTask::new("mails", "hello")).await?;
///     println!("{} is due at {:?}", task.id, task.due_at);
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) peers: Arc<Peers>,
    ids: Arc<RequestIds>,
}

impl Client {
    /// Connects to the first of `addresses` (`host:port` of service ports) that
    /// takes a connection.
    ///
    /// # Errors
    /// `InvalidArgument` for an address that is none, for a file of [`Tls`] or a [`Token`]
    /// that cannot be used, and for a token that would go over the network without TLS, `NobodyAnswers` when no peer can be reached within
    /// [`Options::timeout`].
    pub async fn connect<A: Into<String>>(
        addresses: impl IntoIterator<Item = A>,
        options: Options,
    ) -> Result<Self, Error> {
        let addresses: Vec<String> = addresses.into_iter().map(Into::into).collect();
        let options = options.within_the_clock();
        let timeout = options.timeout;
        let peers = Peers::new(&addresses, options)?;
        peers.reach(timeout).await?;
        Ok(Self {
            peers: Arc::new(peers),
            ids: Arc::new(RequestIds::new()),
        })
    }

    /// The address that is asked first now.
    #[must_use]
    pub fn address(&self) -> &str {
        self.peers.first_address()
    }

    /// A request id that no other client makes up.
    pub(crate) fn next_id(&self) -> String {
        self.ids.next()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.peers.options.timeout
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// Request ids: the time and 64 random bits name the client, a counter the
/// request.
struct RequestIds {
    prefix: String,
    count: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ns = now.map_or(0, |since| since.as_nanos());
        Self {
            prefix: format!("z4c-{now_ns:x}-{:016x}", random_bits()),
            count: AtomicU64::new(0),
        }
    }

    fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{}-{count}", self.prefix)
    }
}

/// A consumer id that no other client makes up.
pub(crate) fn made_up_consumer_id() -> String {
    format!("c-{:016x}{:016x}", random_bits(), random_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_differ_within_a_client_and_between_clients() {
        let (one, two) = (RequestIds::new(), RequestIds::new());
        let ids = [one.next(), one.next(), two.next(), two.next()];
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 4, "{ids:?}");
        assert!(ids.iter().all(|id| id.len() < 256));
        assert_ne!(made_up_consumer_id(), made_up_consumer_id());
    }
}
