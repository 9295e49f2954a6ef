//! Counters of services, streams and peer connections.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Counters of this crate, in a given registry.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests by method and gRPC code.
    pub requests: IntCounterVec,
    /// Their latency in seconds, by method.
    pub latency: HistogramVec,
    /// Raft messages handed to connections, by kind.
    pub sent: IntCounterVec,
    /// Raft messages handed to connections, by the way they went: `lane` or `grpc`.
    pub sent_by_way: IntCounterVec,
    /// 1 while messages to a peer can go over its lane, by raft id.
    pub lane_up: IntGaugeVec,
    /// Connections closed at the port of lanes because they broke a rule, by reason.
    pub lanes_refused: IntCounterVec,
    /// Raft messages dropped, by reason.
    pub dropped: IntCounterVec,
    /// Raft messages let in.
    pub received: IntCounter,
    /// Snapshots sent, by result.
    pub snapshots_sent: IntCounterVec,
    /// Snapshots received, by result.
    pub snapshots_received: IntCounterVec,
    /// Bytes of snapshots sent and received, by direction.
    pub snapshot_bytes: IntCounterVec,
    /// Consumer streams open.
    pub streams: IntGauge,
    /// Tasks created through this peer.
    pub created: IntCounter,
    /// Tasks handed to consumers by this peer: written to streams, and in
    /// answers.
    pub delivered: IntCounter,
    /// Acks, nacks, extends and releases of consumers, by what came of them.
    pub lease_results: IntCounterVec,
    /// Requests sent on to a leader.
    pub forwarded: IntCounter,
    /// Seconds between due time and writing to the stream.
    pub lateness: Histogram,
}

/// Bounds of the latency of requests, in seconds.
const LATENCY_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0,
];
/// Bounds of the lateness of deliveries, in seconds.
const LATENESS_BUCKETS: [f64; 15] = [
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// When the registry has counters of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let counter = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            prometheus::Result::Ok(metric)
        };
        let latency = HistogramVec::new(
            HistogramOpts::new("z4_rpc_request_seconds", "Latency of requests by method.")
                .buckets(LATENCY_BUCKETS.to_vec()),
            &["method"],
        )?;
        registry.register(Box::new(latency.clone()))?;
        let lateness = Histogram::with_opts(
            HistogramOpts::new(
                "z4_rpc_delivery_lateness_seconds",
                "Time from due to written to a stream.",
            )
            .buckets(LATENESS_BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(lateness.clone()))?;
        let streams = IntGauge::new("z4_rpc_streams_open", "Consumer streams open.")?;
        registry.register(Box::new(streams.clone()))?;
        let dropped = counters(
            "z4_rpc_raft_messages_dropped_total",
            "Raft messages dropped by reason.",
            &["reason"],
        )?;
        // There from the first scrape: a rate needs a zero to rise from.
        for reason in DROP_REASONS {
            dropped.with_label_values(&[reason]).inc_by(0);
        }
        let snapshots_sent = counters(
            "z4_rpc_snapshots_sent_total",
            "Snapshots sent by result.",
            &["result"],
        )?;
        let snapshots_received = counters(
            "z4_rpc_snapshots_received_total",
            "Snapshots received by result.",
            &["result"],
        )?;
        for result in ["ok", "failed"] {
            snapshots_sent.with_label_values(&[result]).inc_by(0);
            snapshots_received.with_label_values(&[result]).inc_by(0);
        }
        let snapshot_bytes = counters(
            "z4_rpc_snapshot_bytes_total",
            "Bytes of snapshots by direction.",
            &["direction"],
        )?;
        for direction in ["sent", "received"] {
            snapshot_bytes.with_label_values(&[direction]).inc_by(0);
        }
        let sent_by_way = counters(
            "z4_rpc_raft_messages_sent_by_way_total",
            "Raft messages sent by way: lane or grpc.",
            &["way"],
        )?;
        for way in [WAY_LANE, WAY_GRPC] {
            sent_by_way.with_label_values(&[way]).inc_by(0);
        }
        let lanes_refused = counters(
            "z4_rpc_lane_connections_refused_total",
            "Connections closed at the port of lanes because they broke a rule, by reason.",
            &["reason"],
        )?;
        for reason in LANE_REFUSALS {
            lanes_refused.with_label_values(&[reason]).inc_by(0);
        }
        let lane_up = IntGaugeVec::new(
            Opts::new(
                "z4_rpc_lane_up",
                "1 while raft messages to a peer can go over its lane, by raft id.",
            ),
            &["peer"],
        )?;
        registry.register(Box::new(lane_up.clone()))?;
        Ok(Self {
            requests: counters(
                "z4_rpc_requests_total",
                "Requests by method and gRPC code.",
                &["method", "code"],
            )?,
            latency,
            sent: counters(
                "z4_rpc_raft_messages_sent_total",
                "Raft messages sent by kind.",
                &["kind"],
            )?,
            sent_by_way,
            lane_up,
            lanes_refused,
            dropped,
            received: counter(
                "z4_rpc_raft_messages_received_total",
                "Raft messages let in.",
            )?,
            snapshots_sent,
            snapshots_received,
            snapshot_bytes,
            streams,
            created: counter(
                "z4_rpc_tasks_created_total",
                "Tasks created through this peer.",
            )?,
            delivered: counter(
                "z4_rpc_tasks_delivered_total",
                "Tasks handed to consumers by this peer.",
            )?,
            lease_results: counters(
                "z4_rpc_lease_results_total",
                "Acks, nacks, extends and releases of consumers by outcome.",
                &["ask", "outcome"],
            )?,
            forwarded: counter("z4_rpc_forwarded_total", "Requests sent on to a leader.")?,
            lateness,
        })
    }

    /// Counts a request that ended, with the code it ended in.
    pub fn request(&self, method: &str, code: grpcio::RpcStatusCode, seconds: f64) {
        let code = code_name(code);
        self.requests.with_label_values(&[method, code]).inc();
        self.latency.with_label_values(&[method]).observe(seconds);
    }
}

/// The way of a message that a lane carried.
pub(crate) const WAY_LANE: &str = "lane";
/// The way of a message that gRPC carried.
pub(crate) const WAY_GRPC: &str = "grpc";
/// Why connections are closed at the port of lanes.
const LANE_REFUSALS: [&str; 6] = ["frame", "slow", "hello", "kind", "batch", "crowd"];

/// Why raft messages are dropped.
const DROP_REASONS: [&str; 7] = [
    "queue_full",
    "disconnected",
    "unserializable",
    "too_large",
    "no_address",
    "snapshot_under_way",
    "inbox_full",
];

/// The name of a code as people know it. A client cannot make labels up: codes
/// beyond the known ones share one name.
#[must_use]
pub fn code_name(code: grpcio::RpcStatusCode) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let number = usize::try_from(i32::from(code)).unwrap_or(usize::MAX);
    NAMES.get(number).copied().unwrap_or("OTHER")
}
