//! The given peers: reaching one, asking in turn, going to the leader.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use grpcio::{CallOption, ClientUnaryReceiver, ConnectivityState};
use z4_proto::admin::{CheckHealthRequest, GetClusterInfoRequest};
use z4_timer::Timer;

use crate::client::Options;
use crate::dial::{Dialler, Peer};
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::retry::{Backoff, Repeat};
use crate::tries::{span, Tries};

/// One of the addresses, and the peer there as it is dialled now.
struct Slot {
    address: String,
    peer: Mutex<Arc<Peer>>,
}

/// All addresses and which of them is asked first.
pub(crate) struct Peers {
    slots: Vec<Slot>,
    dialler: Dialler,
    first: AtomicUsize,
    pub timer: Timer,
    pub options: Options,
    is_looking: AtomicBool,
    looked_at: Mutex<Option<Instant>>,
}

/// An answer, and at which try it came: after the first, an earlier one may have
/// done what was asked.
pub(crate) struct Answer<T> {
    pub value: T,
    pub tries: u32,
}

impl Peers {
    pub(crate) fn new(addresses: &[String], options: Options) -> Result<Self, Error> {
        let refuse = |message: String| Err(Error::new(ErrorKind::InvalidArgument, message));
        if addresses.is_empty() {
            return refuse("give the address of one peer at least".into());
        }
        if let Some(bad) = addresses.iter().find(|a| a.is_empty() || a.contains('\0')) {
            return refuse(format!("{bad:?} is no address; give host:port"));
        }
        let timer = Timer::start()
            .map_err(|e| Error::new(ErrorKind::Client, format!("no thread for the timer: {e}")))?;
        let dialler = Dialler::new(addresses, &options)?;
        let slot = |(place, address): (usize, &String)| Slot {
            address: address.clone(),
            peer: Mutex::new(Arc::new(dialler.dial(place, address))),
        };
        Ok(Self {
            slots: addresses.iter().enumerate().map(slot).collect(),
            dialler,
            first: AtomicUsize::new(0),
            timer,
            options,
            is_looking: AtomicBool::new(false),
            looked_at: Mutex::new(None),
        })
    }

    fn first_place(&self) -> usize {
        self.first.load(Ordering::Relaxed) % self.slots.len()
    }

    /// The address that is asked first.
    pub(crate) fn first_address(&self) -> &str {
        &self.slots[self.first_place()].address
    }

    /// The peer that is asked first.
    pub(crate) fn first(&self) -> Arc<Peer> {
        self.at(self.first_place())
    }

    /// The peer with this [`Peer::place`], dialled anew when its channel is older than the
    /// files of TLS. Whoever has a stream open at it holds it as long.
    pub(crate) fn at(&self, place: usize) -> Arc<Peer> {
        let slot = &self.slots[place];
        let generation = self.dialler.generation();
        let mut peer = slot.peer.lock().unwrap_or_else(PoisonError::into_inner);
        if peer.generation < generation {
            *peer = Arc::new(self.dialler.dial(place, &slot.address));
        }
        Arc::clone(&peer)
    }

    /// The first that takes a connection, each asked once; it is asked first
    /// from then on.
    pub(crate) async fn reach(&self, within: Duration) -> Result<Arc<Peer>, Error> {
        let end = Instant::now() + within;
        let start = self.first.load(Ordering::Relaxed);
        let mut tries = Tries::new(Repeat::Round);
        for step in 0..self.slots.len() {
            let at = (start + step) % self.slots.len();
            let peer = self.at(at);
            match self.connected(&peer, end).await {
                Ok(()) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(peer);
                }
                Err(why) => tries.unreached(&self.slots[at].address, why),
            }
        }
        Err(tries.give_up(within))
    }

    /// `peer` failed: another is asked first. Does nothing when that has been
    /// said before.
    pub(crate) fn leave(&self, peer: &Peer) {
        let at = self.first_place();
        if at == peer.place {
            let next = (at + 1) % self.slots.len();
            let _ = self
                .first
                .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Asks the peers in turn, for as long as `repeat` and `timeout` allow.
    pub(crate) async fn ask<T: Unpin>(
        &self,
        repeat: Repeat,
        timeout: Duration,
        call: impl Fn(&Peer, CallOption) -> grpcio::Result<ClientUnaryReceiver<T>>,
    ) -> Result<Answer<T>, Error> {
        let (start, mut count) = (Instant::now(), 0);
        let end = start + timeout;
        let mut backoff = Backoff::new(limits::BACKOFF_MIN, limits::BACKOFF_MAX);
        let mut tries = Tries::new(repeat);
        loop {
            let first = self.first.load(Ordering::Relaxed);
            for step in 0..self.slots.len() {
                let at = (first + step) % self.slots.len();
                let (peer, address) = (self.at(at), &self.slots[at].address);
                if let Err(why) = self.connected(&peer, end).await {
                    tries.unreached(address, why);
                    continue;
                }
                count += 1;
                let (option, sent) = peer.option();
                let option = option.timeout(self.time_of_try(repeat, end));
                let answer = match call(&peer, option) {
                    Ok(receiver) => receiver.await,
                    Err(error) => Err(error),
                };
                match answer.map_err(|e| peer.judge(Error::of_call(e, repeat), sent)) {
                    Ok(value) => {
                        self.first.store(at, Ordering::Relaxed);
                        return Ok(Answer {
                            value,
                            tries: count,
                        });
                    }
                    Err(error) => {
                        if error.kind() == ErrorKind::Unavailable {
                            self.leave(&peer);
                        }
                        if !repeat.allows(error.kind()) && error.is_answer() {
                            return Err(tries.refused(error));
                        }
                        let is_over = !repeat.allows(error.kind());
                        tries.failed(address, error);
                        if is_over {
                            return Err(tries.give_up(start.elapsed()));
                        }
                    }
                }
                if Instant::now() >= end {
                    break;
                }
            }
            let pause = backoff.pause();
            let is_last = repeat == Repeat::Round || repeat.is_once();
            // A peer that is asked with too little time left cannot answer, and the
            // outcome of a change would be in doubt for nothing.
            if is_last || Instant::now() + pause + limits::TRY_MIN >= end {
                return Err(tries.give_up(start.elapsed()));
            }
            self.timer.sleep(pause).await;
        }
    }

    /// Ready when `peer` has lost the cluster while nothing else came of it: it cannot
    /// say so on a stream of deliveries that is quiet.
    pub(crate) async fn leaderless(&self, peer: &Peer) -> Error {
        loop {
            self.timer.sleep(limits::IDLE_CHECK).await;
            if let Err(error) = self.knows_leader(peer).await {
                return error;
            }
        }
    }

    /// Whether `peer` knows a leader; when it does not, it is asked once more after a
    /// moment, for leaders change.
    pub(crate) async fn knows_leader(&self, peer: &Peer) -> Result<(), Error> {
        if self.health_of(peer).await.is_ok() {
            return Ok(());
        }
        self.timer.sleep(limits::IDLE_CHECK_AGAIN).await;
        self.health_of(peer).await
    }

    async fn health_of(&self, peer: &Peer) -> Result<(), Error> {
        let (option, sent) = peer.option();
        let option = option.timeout(limits::TRY_TIMEOUT);
        let request = CheckHealthRequest::default();
        let answer = match peer.admin.check_health_async_opt(&request, option) {
            Ok(receiver) => receiver.await,
            Err(error) => Err(error),
        };
        answer
            .map(|_| ())
            .map_err(|error| peer.judge(Error::of_call(error, Repeat::Round), sent))
    }

    /// With others to ask, one that does not answer must not use up all time.
    fn time_of_try(&self, repeat: Repeat, end: Instant) -> Duration {
        let left = end.saturating_duration_since(Instant::now());
        let is_one_of_many = !repeat.is_once() && self.slots.len() > 1;
        match is_one_of_many {
            true => left.min(limits::TRY_TIMEOUT),
            false => left,
        }
    }

    /// Waits for a connection; else says why there is none, in a few words.
    async fn connected(&self, peer: &Peer, end: Instant) -> Result<(), String> {
        let channel = &peer.channel;
        let left = |until: Instant| until.saturating_duration_since(Instant::now());
        let share = match self.slots.len() {
            1 => left(end),
            _ => left(end).min(self.options.connect_timeout),
        };
        let until = Instant::now() + share;
        loop {
            let state = channel.check_connectivity_state(true);
            match state {
                ConnectivityState::GRPC_CHANNEL_READY => return Ok(()),
                ConnectivityState::GRPC_CHANNEL_TRANSIENT_FAILURE => {
                    return self.why_unreachable(peer).await;
                }
                ConnectivityState::GRPC_CHANNEL_SHUTDOWN => {
                    return Err("the client is closed".into());
                }
                _ => {}
            }
            let left = left(until);
            if left.is_zero() || !channel.wait_for_state_change(state, left).await {
                return Err(format!("no connection within {}", span(share)));
            }
        }
    }

    /// gRPC says why a connection failed to the calls that it fails for it, at
    /// once: one that changes nothing is made.
    async fn why_unreachable(&self, peer: &Peer) -> Result<(), String> {
        let option = peer.option().0.timeout(limits::REASON_TIMEOUT);
        let request = CheckHealthRequest::default();
        let call = peer.admin.check_health_async_opt(&request, option);
        let answer = match call {
            Ok(receiver) => receiver.await,
            Err(error) => Err(error),
        };
        match answer.map_err(Error::from) {
            Err(error) if !error.is_answer() => Err(self.dialler.explain(error.message())),
            // It is there again.
            _ => Ok(()),
        }
    }

    /// A peer forwarded a request: looks, in the background, for the one of the
    /// given addresses at which the leader is, and asks it first from then on.
    /// (What peers say of the leader's address is its port for peers.)
    pub(crate) fn look_for_leader(self: &Arc<Self>) {
        if self.slots.len() < 2 || !self.may_look() {
            return;
        }
        let peers = Arc::clone(self);
        self.first().admin.spawn(async move {
            peers.find_leader().await;
            peers.is_looking.store(false, Ordering::Release);
        });
    }

    fn may_look(&self) -> bool {
        let now = Instant::now();
        let mut looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_recent = looked_at.is_some_and(|at| now - at < limits::LEADER_INTERVAL);
        if is_recent || self.is_looking.swap(true, Ordering::AcqRel) {
            return false;
        }
        *looked_at = Some(now);
        true
    }

    async fn find_leader(&self) {
        let end = Instant::now() + limits::CONNECT_TIMEOUT;
        for at in 0..self.slots.len() {
            let peer = self.at(at);
            if self.connected(&peer, end).await.is_err() {
                continue;
            }
            let option = peer.option().0.timeout(limits::CONNECT_TIMEOUT);
            let request = GetClusterInfoRequest::default();
            let Ok(receiver) = peer.admin.get_cluster_info_async_opt(&request, option) else {
                continue;
            };
            let Ok(info) = receiver.await else { continue };
            if !info.get_leader_id().is_empty() && info.get_server_id() == info.get_leader_id() {
                self.first.store(at, Ordering::Relaxed);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use futures::executor::block_on;

    use super::*;

    fn peers(addresses: &[String]) -> Peers {
        Peers::new(addresses, Options::default()).unwrap()
    }

    fn closed_port() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    }

    #[test]
    fn a_port_nobody_listens_on_fails_at_once_and_by_name() {
        let address = closed_port();
        let peers = peers(std::slice::from_ref(&address));
        let start = Instant::now();
        let error = block_on(peers.reach(Duration::from_secs(20)))
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::NobodyAnswers);
        let said = format!("{address} (connection refused)");
        assert!(error.message().contains(&said), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_listener_that_says_nothing_is_given_up_on() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let peers = peers(&[silent.local_addr().unwrap().to_string()]);
        let error = block_on(peers.reach(Duration::from_millis(200))).err();
        let error = error.unwrap();
        assert!(
            error.message().contains("no connection within 0.2 s"),
            "{error}"
        );
    }

    #[test]
    fn a_port_that_speaks_something_else_is_named_as_that() {
        let web = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = web.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in web.incoming().flatten() {
                let mut stream = stream;
                let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                // Who asked may have gone.
                let _ = std::io::Write::write_all(&mut stream, answer);
            }
        });
        let peers = peers(&[address]);
        let error = block_on(peers.reach(Duration::from_secs(20)))
            .err()
            .unwrap();
        assert!(error.message().contains("does not speak gRPC"), "{error}");
    }

    #[test]
    fn a_name_that_does_not_resolve_is_named_as_that() {
        let peers = peers(&["no-such-host.invalid:6355".to_owned()]);
        let error = block_on(peers.reach(Duration::from_secs(60)))
            .err()
            .unwrap();
        let said = "no-such-host.invalid:6355 (the name does not resolve)";
        assert!(error.message().contains(said), "{error}");
    }

    #[test]
    fn a_peer_that_failed_is_left_once() {
        let peers = peers(&["a:1", "b:1", "c:1"].map(str::to_owned));
        let first = peers.first();
        assert_eq!(peers.first_address(), "a:1");
        peers.leave(&first);
        peers.leave(&first);
        assert_eq!(peers.first_address(), "b:1");
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for addresses in [&[][..], &[String::new()], &["a\0b:1".to_owned()]] {
            let error = Peers::new(addresses, Options::default()).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
