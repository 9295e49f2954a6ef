//! Counters of the connections of all ports.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Counters of connections, by port: `service`, `peer`, `status`. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    /// Connections that are open.
    pub(super) open: IntGaugeVec,
    /// How many may be.
    pub(super) max: IntGaugeVec,
    /// Connections that were accepted and served.
    pub(super) accepted: IntCounterVec,
    /// Connections that were closed at once, because a bound was reached.
    pub(super) refused: IntCounterVec,
}

impl ConnectionMetrics {
    /// The number of connections that are open at all ports together, as far as is known.
    #[must_use]
    pub fn open_count(&self) -> u64 {
        let ports = ["service", "peer", "lane", "status"];
        let of = |port| self.open.with_label_values(&[port]).get();
        ports
            .map(|port| u64::try_from(of(port)).unwrap_or(0))
            .iter()
            .sum()
    }

    /// Connections of clients that are open, and how many may be.
    #[must_use]
    pub fn of_clients(&self) -> (u64, u64) {
        let of = |gauges: &IntGaugeVec| gauges.with_label_values(&["service"]).get();
        let number = |count| u64::try_from(count).unwrap_or(0);
        (number(of(&self.open)), number(of(&self.max)))
    }

    /// Registers the counters.
    ///
    /// # Errors
    /// When the registry has counters of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str| {
            let metric = IntGaugeVec::new(Opts::new(name, help), &["port"])?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let counters = |name: &str, help: &str| {
            let metric = IntCounterVec::new(Opts::new(name, help), &["port"])?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        Ok(Self {
            open: gauges(
                "z4_server_connections",
                "Connections that are open, by port.",
            )?,
            max: gauges(
                "z4_server_connections_max",
                "Connections that may be open, by port.",
            )?,
            accepted: counters(
                "z4_server_connections_accepted_total",
                "Connections accepted and served, by port.",
            )?,
            refused: counters(
                "z4_server_connections_refused_total",
                "Connections closed at once because a bound was reached, by port.",
            )?,
        })
    }
}
