//! The server behind a port, and the ones before it.
//!
//! grpcio cannot give a running server that takes connections from outside another
//! certificate. So one that is new has a server of its own, which takes the connections from
//! then on. The one before serves those that it has, and takes calls on them: to shut it down
//! would end calls that are on their way. Its connections grow old and are told to go
//! (GOAWAY), and it is shut down when none but open streams can be left.

use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::FutureExt;
use grpcio::{ChannelBuilder, Server, ServerBuilder, ShutdownFuture};

use super::handover::Handover;
use crate::limits;
use crate::timer::Timer;
use crate::tls::{server_credentials, PortTls};

/// Makes the services of a port anew.
pub(crate) type Services = Box<dyn Fn() -> ServerBuilder + Send + Sync>;
/// Makes the options of a port anew.
pub(crate) type ServerOptions = Box<dyn Fn() -> ChannelBuilder + Send + Sync>;

/// Serves the connections that are given to it.
pub(crate) struct Serving {
    services: Services,
    options: ServerOptions,
    tls: Option<PortTls>,
    servers: Mutex<Servers>,
}

struct Servers {
    /// `None`: it stops.
    now: Option<Handover>,
    /// Servers that take no connection any more.
    before: Vec<Before>,
}

/// A server that takes no connection any more.
struct Before {
    since: Instant,
    server: Server,
    /// Set once it was shut down.
    gone: Option<ShutdownFuture>,
}

impl Before {
    fn new(handover: Handover) -> Self {
        Self {
            since: Instant::now(),
            server: handover.into_server(),
            gone: None,
        }
    }

    /// Shuts it down when it is old; tells whether it is gone.
    fn is_gone(&mut self) -> bool {
        if self.gone.is_none() && self.since.elapsed() >= limits::OLD_SERVER_AGE {
            self.gone = Some(self.server.shutdown());
        }
        let gone = self.gone.as_mut();
        gone.is_some_and(|gone| gone.now_or_never().is_some())
    }
}

impl Serving {
    /// Starts to serve.
    ///
    /// # Errors
    /// For a person; see [`Handover::start`].
    pub(crate) fn start(
        services: Services,
        options: ServerOptions,
        tls: Option<PortTls>,
    ) -> Result<Self, String> {
        let mut serving = Self {
            services,
            options,
            tls,
            servers: Mutex::new(Servers {
                now: None,
                before: Vec::new(),
            }),
        };
        let first = serving.build()?;
        let servers = serving.servers.get_mut();
        servers.unwrap_or_else(PoisonError::into_inner).now = Some(first);
        Ok(serving)
    }

    fn build(&self) -> Result<Handover, String> {
        let credentials = server_credentials(self.tls.as_ref());
        let services = (self.services)().requests_slot_per_cq(limits::CALLS_AWAITED);
        Handover::start(services, (self.options)(), credentials)
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        // The list is whole after each statement.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves a connection. Does not block.
    pub(crate) fn take(&self, socket: TcpStream) {
        if let Some(now) = &self.lock().now {
            now.take(socket);
        }
    }

    /// Serves connections from now on with the certificate that its files hold now.
    ///
    /// # Errors
    /// For a person; all is as it was then.
    pub(crate) fn renew(&self) -> Result<(), String> {
        let next = self.build()?;
        let mut servers = self.lock();
        servers.before.retain_mut(|before| !before.is_gone());
        if let Some(last) = servers.now.take() {
            servers.now = Some(next);
            servers.before.push(Before::new(last));
        }
        Ok(())
    }

    /// Takes no more calls, waits for those in flight, and cancels what is not done after
    /// `grace`. Blocks; no connection may be given to it from now on.
    pub(crate) fn shutdown(&self, timer: &Timer, grace: Duration) {
        let started = Instant::now();
        let mut leaving = {
            let mut servers = self.lock();
            let now = servers.now.take().map(Before::new);
            let mut all = std::mem::take(&mut servers.before);
            all.extend(now);
            all
        };
        for one in &mut leaving {
            let gone = &mut one.gone;
            gone.get_or_insert_with(|| one.server.shutdown());
        }
        for mut one in leaving {
            let Some(mut gone) = one.gone.take() else {
                continue;
            };
            let left = grace.saturating_sub(started.elapsed());
            if block_on(timer.within(left, &mut gone)).is_some() {
                continue;
            }
            one.server.cancel_all_calls();
            // Cancelled calls end at once; a second bounds what should not happen.
            let left = grace.saturating_sub(started.elapsed()) + Duration::from_secs(1);
            let _ = block_on(timer.within(left, gone));
        }
    }
}
