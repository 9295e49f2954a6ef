//! Finding a peer that answers.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use grpcio::{CallOption, Channel, ChannelBuilder, ConnectivityState, Environment, RpcStatusCode};

use crate::error::Error;
use crate::options::Target;

/// Largest message taken from a peer, in bytes: the limit of the services.
const MESSAGE_LEN_MAX: i32 = 8 << 20;
/// How long one of several peers may take to be reached; a single one has the
/// whole `--timeout`.
const CONNECT_SHARE: Duration = Duration::from_secs(2);

/// How long to wait for an answer, unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The peers of `-t`, asked in turn.
pub(crate) struct Peers {
    targets: Vec<String>,
    timeout: Duration,
    env: Arc<Environment>,
}

/// Whether a request may be given to the next peer after one has had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repeat {
    /// Asking twice is as good as once.
    Safe,
    /// A second answer would be about a changed cluster.
    Never,
}

impl Peers {
    pub(crate) fn new(target: &Target) -> Self {
        Self {
            targets: target.targets.clone(),
            timeout: target.timeout.unwrap_or(TIMEOUT),
            env: Arc::new(Environment::new(1)),
        }
    }

    /// With more time for an answer, unless `--timeout` was given.
    pub(crate) fn patient(target: &Target, timeout: Duration) -> Self {
        Self {
            timeout: target.timeout.unwrap_or(timeout),
            ..Self::new(target)
        }
    }

    /// Asks the first peer that answers. When a peer says UNAVAILABLE, and it
    /// is safe to repeat, the next one is asked.
    pub(crate) fn ask<T>(
        &self,
        repeat: Repeat,
        call: impl Fn(Channel, CallOption) -> grpcio::Result<T>,
    ) -> Result<T, Error> {
        let mut refused = None;
        for target in &self.targets {
            let Some(channel) = self.connect(target) else {
                continue;
            };
            let option = CallOption::default().timeout(self.timeout);
            match call(channel, option).map_err(Error::from) {
                Ok(answer) => return Ok(answer),
                Err(Error::Refused(status))
                    if repeat == Repeat::Safe && status.code() == RpcStatusCode::UNAVAILABLE =>
                {
                    refused = Some(Error::Refused(status));
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| self.nobody()))
    }

    /// Opens a stream at each peer in turn, for as long as one of them can be
    /// reached. `follow` reads a stream to its end: `Ok(true)` when all is
    /// done, `Ok(false)` when the peer went away.
    pub(crate) fn follow(
        &self,
        mut follow: impl FnMut(Channel) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut lost = Instant::now();
        loop {
            let mut refused = None;
            for target in &self.targets {
                let Some(channel) = self.connect(target) else {
                    continue;
                };
                let opened = Instant::now();
                match follow(channel) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(Error::Refused(status)) if status.code() == RpcStatusCode::UNAVAILABLE => {
                        refused = Some(Error::Refused(status));
                    }
                    Err(error) => return Err(error),
                }
                if opened.elapsed() > CONNECT_SHARE {
                    lost = Instant::now();
                }
            }
            if lost.elapsed() >= self.timeout {
                return Err(refused.unwrap_or_else(|| self.nobody()));
            }
            // Between two rounds: an election takes about so long.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn connect(&self, target: &str) -> Option<Channel> {
        let channel = ChannelBuilder::new(Arc::clone(&self.env))
            .max_receive_message_len(MESSAGE_LEN_MAX)
            .max_send_message_len(MESSAGE_LEN_MAX)
            .keepalive_time(Duration::from_secs(20))
            .keepalive_timeout(Duration::from_secs(5))
            // Peers are dialled directly, whatever http_proxy says.
            .raw_cfg_int(CString::from(c"grpc.enable_http_proxy"), 0)
            .connect(target);
        let share = match self.targets.len() {
            1 => self.timeout,
            _ => self.timeout.min(CONNECT_SHARE),
        };
        let deadline = Instant::now() + share;
        loop {
            let state = channel.check_connectivity_state(true);
            match state {
                ConnectivityState::GRPC_CHANNEL_READY => return Some(channel),
                ConnectivityState::GRPC_CHANNEL_TRANSIENT_FAILURE
                | ConnectivityState::GRPC_CHANNEL_SHUTDOWN => return None,
                _ => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !block_on(channel.wait_for_state_change(state, left)) {
                return None;
            }
        }
    }

    fn nobody(&self) -> Error {
        Error::NoPeer(format!(
            "no answer from {}; is a peer running there, and is this its service port?",
            self.targets.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;

    use super::*;

    fn peers(targets: &[String], timeout: Duration) -> Peers {
        Peers::new(&Target {
            targets: targets.to_vec(),
            timeout: Some(timeout),
        })
    }

    #[test]
    fn a_port_nobody_listens_on_fails_at_once_and_by_name() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let peers = peers(&[address.to_string()], Duration::from_secs(20));
        let start = Instant::now();
        let error = peers
            .ask(Repeat::Safe, |_, _| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&address.to_string()), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_listener_that_says_nothing_is_given_up_on() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let peers = peers(&[address], Duration::from_millis(200));
        assert!(peers.ask(Repeat::Safe, |_, _| Ok(())).is_err());
    }
}
