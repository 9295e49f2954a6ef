//! The certificates of the ports: read at the start, and again while the peer runs.
//!
//! A thread looks at the files every few seconds. New ones are shown to all who connect
//! from then on, and bad ones change nothing: they are told of, in the log and by a metric,
//! until they are good.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use slog::{info, warn, Logger};
use z4_rpc::server::Renewal;
use z4_rpc::{PeerTls, PortTls};
use z4_tls::{Looked, Watched};

use crate::limits;
use crate::options::TlsOptions;

/// TLS of the ports, where they have it.
#[derive(Clone)]
pub(crate) struct Certificates {
    /// The service and the status port.
    pub service: Option<PortTls>,
    /// The peer port and lanes.
    pub peers: Option<PeerTls>,
    metrics: Metrics,
}

#[derive(Clone)]
struct Metrics {
    expires: IntGaugeVec,
    bad: IntGaugeVec,
    renewed: IntCounterVec,
}

impl Metrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let expires = Opts::new(
            "z4_tls_certificate_expiry_timestamp_seconds",
            "When a certificate runs out: the own one of a port, and the first of its CAs",
        );
        let bad = Opts::new(
            "z4_tls_files_bad",
            "1 while the files of a port cannot be used, and those before are",
        );
        let renewed = Opts::new("z4_tls_renewed_total", "New certificates of a port");
        let metrics = Self {
            expires: IntGaugeVec::new(expires, &["port", "certificate"])?,
            bad: IntGaugeVec::new(bad, &["port"])?,
            renewed: IntCounterVec::new(renewed, &["port"])?,
        };
        registry.register(Box::new(metrics.expires.clone()))?;
        registry.register(Box::new(metrics.bad.clone()))?;
        registry.register(Box::new(metrics.renewed.clone()))?;
        Ok(metrics)
    }
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// For a person: the setting, the file, the line and the remedy.
    pub(crate) fn read(options: &TlsOptions, registry: &Registry) -> Result<Self, String> {
        let watched = |files| Watched::open(files).map(Arc::new);
        let service = options.files().map(watched).transpose();
        let peers = options.peer_files().map(watched).transpose();
        Ok(Self {
            service: service.map_err(|e| e.to_string())?.map(|watched| PortTls {
                watched,
                auth: options.auth(),
            }),
            peers: peers.map_err(|e| e.to_string())?.map(|watched| PeerTls {
                watched,
                names: options.names(),
            }),
            metrics: Metrics::new(registry).map_err(|e| e.to_string())?,
        })
    }

    /// Follows the files for as long as the process lives.
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn follow(
        &self,
        service_port: Renewal,
        peer_port: Renewal,
        logger: &Logger,
    ) -> std::io::Result<()> {
        let followed = |port, watched: &Arc<Watched>, show| Followed {
            port,
            watched: Arc::clone(watched),
            show,
            metrics: self.metrics.clone(),
            logger: logger.clone(),
            is_due: false,
            trouble_said: None,
            expiry_said: None,
        };
        let service = self.service.as_ref();
        let service = service.map(|tls| followed("service", &tls.watched, service_port));
        let peers = self.peers.as_ref();
        let peers = peers.map(|tls| followed("peer", &tls.watched, peer_port));
        let mut all: Vec<Followed> = service.into_iter().chain(peers).collect();
        if all.is_empty() {
            return Ok(());
        }
        all.iter_mut().for_each(Followed::begin);
        let follow = move || loop {
            thread::sleep(limits::CERTIFICATE_LOOK_INTERVAL);
            all.iter_mut().for_each(Followed::look);
        };
        let thread = thread::Builder::new().name("certificates".into());
        thread.spawn(follow).map(drop)
    }
}

/// Shows the certificate of a port.
trait Show: Send {
    /// Shows what was read last; see [`Renewal::renew`].
    fn renew(&self) -> Result<(), String>;
    /// Ends what showed another one; see [`Renewal::end_old`].
    fn end_old(&self);
}

impl Show for Renewal {
    fn renew(&self) -> Result<(), String> {
        Self::renew(self)
    }

    fn end_old(&self) {
        Self::end_old(self);
    }
}

/// The files of a port.
struct Followed<S = Renewal> {
    port: &'static str,
    watched: Arc<Watched>,
    show: S,
    metrics: Metrics,
    logger: Logger,
    /// There is a new certificate that the port does not show yet.
    is_due: bool,
    /// The last complaint about bad files, and its time.
    trouble_said: Option<(String, Instant)>,
    /// When it was last said that a certificate runs out.
    expiry_said: Option<Instant>,
}

impl<S: Show> Followed<S> {
    fn begin(&mut self) {
        // There from the first scrape on: a rate needs a zero to rise from.
        self.metrics.renewed.with_label_values(&[self.port]);
        self.is_bad(false);
        self.tell_expiry();
    }

    fn look(&mut self) {
        self.show.end_old();
        match self.watched.look() {
            Looked::Same => {}
            Looked::New(_) => {
                self.is_due = true;
                self.expiry_said = None;
            }
            Looked::Bad(error) => return self.trouble(error.to_string()),
        }
        if self.is_due {
            if let Err(reason) = self.show.renew() {
                // The renewal is tried again at the next look.
                return self.trouble(reason);
            }
            self.is_due = false;
            self.renewed();
        }
        if self.trouble_said.take().is_some() {
            info!(self.logger, "the certificate files are good again"; "port" => self.port);
        }
        self.is_bad(false);
        self.tell_expiry();
    }

    fn renewed(&self) {
        self.metrics.renewed.with_label_values(&[self.port]).inc();
        let names = self.watched.current().1.names().text();
        info!(self.logger, "a new certificate is shown"; "port" => self.port, "names" => names);
    }

    fn trouble(&mut self, error: String) {
        self.is_bad(true);
        let is_told = |(said, at): &(String, Instant)| {
            *said == error && at.elapsed() < limits::CERTIFICATE_SAY_INTERVAL
        };
        if self.trouble_said.as_ref().is_some_and(is_told) {
            return;
        }
        warn!(self.logger, "bad certificate files, the certificate before is in use";
            "port" => self.port, "error" => &error);
        self.trouble_said = Some((error, Instant::now()));
    }

    fn is_bad(&self, is_bad: bool) {
        let gauge = self.metrics.bad.with_label_values(&[self.port]);
        gauge.set(i64::from(is_bad));
    }

    fn tell_expiry(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_s = since.map_or(0, |since| since.as_secs() as i64);
        let is_said = |at: Instant| at.elapsed() < limits::CERTIFICATE_SAY_INTERVAL;
        let is_said = self.expiry_said.is_some_and(is_said);
        for expiry in self.watched.current().1.expiries() {
            let labels = [self.port, expiry.part.name()];
            let gauge = self.metrics.expires.with_label_values(&labels);
            gauge.set(expiry.at_s);
            let left_s = expiry.at_s - now_s;
            if left_s < limits::CERTIFICATE_WARN_AHEAD.as_secs() as i64 && !is_said {
                self.expiry_said = Some(Instant::now());
                warn!(self.logger, "a certificate runs out; replace its file, no restart is needed";
                    "port" => self.port, "certificate" => expiry.part.name(),
                    "left" => humane(left_s));
            }
        }
    }
}

/// A span of time in days, or in what is left of the last one.
fn humane(left_s: i64) -> String {
    match left_s {
        ..=0 => "none, it ran out".to_owned(),
        1..172_800 => format!("{} h", Duration::from_secs(left_s as u64).as_secs() / 3600),
        _ => format!("{} days", left_s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;
    use std::path::Path;

    use slog::{o, Discard};
    use z4_tls::{Authority, Files, Issued, NamedFile, Role, Use};

    use super::*;

    /// A port that refuses so many renewals.
    #[derive(Default)]
    struct Port {
        refusals: Cell<u32>,
        renewals: Cell<u32>,
        ends: Cell<u32>,
    }

    impl Show for Port {
        fn renew(&self) -> Result<(), String> {
            self.renewals.set(self.renewals.get() + 1);
            match self.refusals.replace(self.refusals.get().saturating_sub(1)) {
                0 => Ok(()),
                _ => Err("no port".to_owned()),
            }
        }

        fn end_old(&self) {
            self.ends.set(self.ends.get() + 1);
        }
    }

    fn issued() -> (Issued, Vec<u8>) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now_s = since.as_secs() as i64;
        let ca = Authority::create("ca", 30, now_s).unwrap();
        let own = ca.issue(Role::Peer, "peer1", &[], 30, now_s).unwrap();
        (own, ca.to_pem().unwrap().cert_pem)
    }

    fn write(dir: &Path) -> Files {
        let (own, ca_pem) = issued();
        let put = |name: &str, text: &[u8]| {
            std::fs::write(dir.join(name), text).unwrap();
            NamedFile::new("a file", dir.join(name))
        };
        Files {
            usage: Use::Peer,
            own: Some((put("cert", &own.cert_pem), put("key", &own.key_pem))),
            ca: Some(put("ca", &ca_pem)),
        }
    }

    #[test]
    fn a_renewal_that_is_refused_is_tried_again_until_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let mut followed = Followed {
            port: "service",
            watched: Arc::new(Watched::open(write(dir.path())).unwrap()),
            show: Port::default(),
            metrics: Metrics::new(&Registry::new()).unwrap(),
            logger: Logger::root(Discard, o!()),
            is_due: false,
            trouble_said: None,
            expiry_said: None,
        };
        followed.begin();
        followed.look();
        let seen = |followed: &Followed<Port>| {
            let metrics = &followed.metrics;
            let bad = metrics.bad.with_label_values(&["service"]).get();
            let renewed = metrics.renewed.with_label_values(&["service"]).get();
            (followed.show.renewals.get(), renewed, bad)
        };
        assert_eq!(seen(&followed), (0, 0, 0));

        write(dir.path());
        followed.show.refusals.set(2);
        // Files that change may be half written, so that they are read twice first.
        followed.look();
        assert_eq!(seen(&followed), (0, 0, 0));
        followed.look();
        assert_eq!(seen(&followed), (1, 0, 1));
        followed.look();
        assert_eq!(seen(&followed), (2, 0, 1));
        followed.look();
        assert_eq!(seen(&followed), (3, 1, 0));
        followed.look();
        assert_eq!(seen(&followed), (3, 1, 0));
        assert_eq!(followed.show.ends.get(), 6);
    }
}
