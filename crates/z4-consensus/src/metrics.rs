//! Counters of consensus, in a given registry: several peers can share a
//! process.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    exponential_buckets, GaugeVec, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry,
    Result,
};

use crate::status::{Role, Status};

/// Counters of consensus.
#[derive(Clone, Debug)]
pub struct Metrics {
    leader: IntGauge,
    term: IntGauge,
    commit_index: IntGauge,
    applied_index: IntGauge,
    leader_changes: IntCounter,
    proposals: IntCounter,
    messages_sent: IntCounter,
    messages_refused: IntCounter,
    snapshots_installed: IntCounter,
    log_write_seconds: Histogram,
    log_sync_writes: IntCounter,
    log_entries: IntCounter,
    log_bytes: IntCounter,
    log_group_entries: Histogram,
    apply_seconds: Histogram,
    apply_run_entries: Histogram,
    flush_seconds: Histogram,
    clock_offset: GaugeVec,
    clock_error: GaugeVec,
    clock_refuses: IntGauge,
    /// The members whose clocks are shown.
    clocks_shown: Arc<Mutex<BTreeSet<String>>>,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// When the registry has counters of these names.
    pub fn new(registry: &Registry) -> Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("z4_consensus_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("z4_consensus_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let opts = HistogramOpts::new(format!("z4_consensus_{name}"), help).buckets(buckets);
            let histogram = Histogram::with_opts(opts)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let clock_of_peer = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(format!("z4_clock_{name}"), help), &["peer"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let clock_refuses = IntGauge::new(
            "z4_clock_refuses",
            "1 while this peer leads and its clock keeps it from stamping, else 0",
        )?;
        registry.register(Box::new(clock_refuses.clone()))?;
        // 50 us to 3.3 s.
        let seconds = || exponential_buckets(0.000_05, 2.0, 17);
        let sizes = || exponential_buckets(1.0, 2.0, 14);
        Ok(Self {
            leader: gauge("leader", "1 while this peer leads, else 0")?,
            term: gauge("term", "Term of this peer")?,
            commit_index: gauge("commit_index", "Highest log index known to be committed")?,
            applied_index: gauge("applied_index", "Highest log index applied")?,
            leader_changes: counter("leader_changes_total", "Times this peer saw a new leader")?,
            proposals: counter("proposals_total", "Commands proposed at this peer")?,
            messages_sent: counter(
                "messages_sent_total",
                "Raft messages given to the transport",
            )?,
            messages_refused: counter("messages_refused_total", "Raft messages the gate refused")?,
            snapshots_installed: counter("snapshots_installed_total", "Snapshots installed")?,
            log_write_seconds: histogram(
                "log_write_seconds",
                "Time of one group write to the log, sync included",
                seconds()?,
            )?,
            log_sync_writes: counter("log_sync_writes_total", "Group writes with a sync")?,
            log_entries: counter("log_entries_total", "Entries written to the log")?,
            log_bytes: counter("log_bytes_total", "Bytes of entries written to the log")?,
            log_group_entries: histogram(
                "log_group_entries",
                "Entries in one group write",
                sizes()?,
            )?,
            apply_seconds: histogram("apply_seconds", "Time to apply one run", seconds()?)?,
            apply_run_entries: histogram(
                "apply_run_entries",
                "Entries applied in one run",
                sizes()?,
            )?,
            flush_seconds: histogram("flush_seconds", "Time of one state flush", seconds()?)?,
            clock_offset: clock_of_peer(
                "offset_seconds",
                "Clock of another peer minus that of this one, where it was measured lately",
            )?,
            clock_error: clock_of_peer(
                "error_seconds",
                "Most that z4_clock_offset_seconds is off by: half a round trip",
            )?,
            clock_refuses,
            clocks_shown: Arc::default(),
        })
    }

    /// Group writes to the log that were synced, since the registry was made.
    #[must_use]
    pub fn log_sync_writes(&self) -> u64 {
        self.log_sync_writes.get()
    }

    pub(crate) fn proposed(&self, count: usize) {
        self.proposals.inc_by(count as u64);
    }

    pub(crate) fn sent(&self, count: usize) {
        self.messages_sent.inc_by(count as u64);
    }

    pub(crate) fn refused(&self) {
        self.messages_refused.inc();
    }

    pub(crate) fn snapshot_installed(&self) {
        self.snapshots_installed.inc();
    }

    pub(crate) fn log_written(&self, time: Duration, entries: usize, bytes: usize, sync: bool) {
        self.log_write_seconds.observe(time.as_secs_f64());
        self.log_sync_writes.inc_by(u64::from(sync));
        self.log_entries.inc_by(entries as u64);
        self.log_bytes.inc_by(bytes as u64);
        self.log_group_entries.observe(entries as f64);
    }

    pub(crate) fn applied(&self, time: Duration, entries: usize) {
        self.apply_seconds.observe(time.as_secs_f64());
        self.apply_run_entries.observe(entries as f64);
    }

    pub(crate) fn flushed(&self, time: Duration) {
        self.flush_seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn status(&self, status: &Status) {
        self.leader.set(i64::from(status.role == Role::Leader));
        if self.term.get() != status.term as i64 && status.leader != 0 {
            self.leader_changes.inc();
            self.term.set(status.term as i64);
        }
        self.commit_index.set(status.commit_index as i64);
        self.applied_index.set(status.applied_index as i64);
        self.clocks(status);
    }

    fn clocks(&self, status: &Status) {
        self.clock_refuses
            .set(i64::from(status.clock_fault.is_some()));
        let mut shown = BTreeSet::new();
        for (raft_id, clock) in &status.clocks {
            let Some(member) = status.membership.members.get(raft_id) else {
                continue;
            };
            let labels = [member.peer_id.as_str()];
            let seconds = |ns: f64| ns / 1e9;
            let (offset, error) = (clock.offset_ns as f64, clock.error_ns as f64);
            self.clock_offset
                .with_label_values(&labels)
                .set(seconds(offset));
            self.clock_error
                .with_label_values(&labels)
                .set(seconds(error));
            shown.insert(member.peer_id.clone());
        }
        // A set of names, which a panic leaves whole.
        let before = self.clocks_shown.lock();
        let mut before = before.unwrap_or_else(PoisonError::into_inner);
        for gone in before.difference(&shown) {
            let _ = self.clock_offset.remove_label_values(&[gone.as_str()]);
            let _ = self.clock_error.remove_label_values(&[gone.as_str()]);
        }
        *before = shown;
    }
}
