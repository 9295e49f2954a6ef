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
    fn is_gone(&mut self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        if self.gone.is_none() && age >= limits::OLD_SERVER_AGE {
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
        if let Some(last) = servers.now.take() {
            servers.now = Some(next);
            servers.before.push(Before::new(last));
        }
        Ok(())
    }

    /// Shuts down servers of earlier certificates that are old, and forgets those that are gone.
    /// Does not block. It has to be called again and again, because nothing else ends them.
    pub(crate) fn end_old(&self, now: Instant) {
        let mut servers = self.lock();
        servers.before.retain_mut(|before| !before.is_gone(now));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::thread;

    use grpcio::Environment;

    use super::*;

    #[test]
    fn a_server_before_the_last_certificate_is_shut_down_when_it_is_old() {
        let env = Arc::new(Environment::new(1));
        let services = {
            let env = Arc::clone(&env);
            move || ServerBuilder::new(Arc::clone(&env))
        };
        let options = move || ChannelBuilder::new(Arc::clone(&env));
        let serving = Serving::start(Box::new(services), Box::new(options), None).unwrap();
        let count = || serving.lock().before.len();
        let renewed = Instant::now();
        serving.renew().unwrap();
        serving.end_old(renewed + limits::OLD_SERVER_AGE - Duration::from_nanos(1));
        assert_eq!(count(), 1);
        assert!(serving.lock().before[0].gone.is_none());

        let old = Instant::now() + limits::OLD_SERVER_AGE;
        serving.renew().unwrap();
        assert_eq!(count(), 2);
        let limit = Instant::now() + Duration::from_secs(10);
        while count() > 1 {
            assert!(Instant::now() < limit, "the server is not gone");
            serving.end_old(old);
            thread::sleep(Duration::from_millis(1));
        }
        // The second one has its whole time.
        serving.end_old(old);
        assert_eq!(count(), 1);
        assert!(serving.lock().now.is_some());
    }
}
