//! Counters of storage.

use std::path::Path;
use std::time::Duration;

use prometheus::{
    exponential_buckets, Histogram, HistogramOpts, IntCounter, IntGaugeVec, Opts, Registry,
};
use rocksdb::DB;

use crate::db::size_of_files;

/// Counters of storage, in a given registry. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    log_append: Histogram,
    log_sync: Histogram,
    log_bytes: IntCounter,
    flush: Histogram,
    file_bytes: IntGaugeVec,
    memory_bytes: IntGaugeVec,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// When the registry has counters of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let histogram = |name: &str, help: &str| {
            // 50 µs to 13 s.
            let buckets = exponential_buckets(0.000_05, 2.0, 19)?;
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let gauges = |name: &str, help: &str, label: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), label)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let log_bytes = IntCounter::new(
            "z4_storage_log_bytes_total",
            "Bytes of raft entries written to the log",
        )?;
        registry.register(Box::new(log_bytes.clone()))?;
        Ok(Self {
            log_append: histogram(
                "z4_storage_log_append_seconds",
                "Time of one write to the raft log that need not be durable at once",
            )?,
            log_sync: histogram(
                "z4_storage_log_sync_seconds",
                "Time of one write to the raft log with its sync to stable storage",
            )?,
            log_bytes,
            flush: histogram(
                "z4_storage_flush_seconds",
                "Time of one flush of the task state to stable storage",
            )?,
            file_bytes: gauges(
                "z4_storage_rocksdb_file_bytes",
                "Size of the files of a database",
                &["database"],
            )?,
            memory_bytes: gauges(
                "z4_storage_rocksdb_memory_bytes",
                "Memory that a database uses; the cache is shared by both",
                &["database", "what"],
            )?,
        })
    }

    pub(crate) fn log_written(&self, sync: bool, bytes: u64, took: Duration) {
        let histogram = if sync {
            &self.log_sync
        } else {
            &self.log_append
        };
        histogram.observe(took.as_secs_f64());
        self.log_bytes.inc_by(bytes);
    }

    pub(crate) fn flushed(&self, took: Duration) {
        self.flush.observe(took.as_secs_f64());
    }

    /// A number that RocksDB knows of itself; `None` when it does not tell now.
    pub(crate) fn property(db: &DB, name: &str) -> Option<u64> {
        db.property_int_value(name).ok().flatten()
    }

    /// Reads the sizes of a database into the gauges.
    pub(crate) fn sample(&self, database: &str, path: &Path, db: &DB) {
        let gauge = |what: &str, property: &str| {
            // A property that RocksDB does not tell now keeps its last value.
            if let Some(value) = Self::property(db, property) {
                self.memory(database, what, value);
            }
        };
        gauge("write_buffers", "rocksdb.cur-size-all-mem-tables");
        gauge("cache", "rocksdb.block-cache-usage");
        gauge("readers", "rocksdb.estimate-table-readers-mem");
        let bytes = i64::try_from(size_of_files(path)).unwrap_or(i64::MAX);
        self.file_bytes.with_label_values(&[database]).set(bytes);
    }

    /// Notes what the task state holds in memory above its database.
    pub(crate) fn layers(&self, bytes: usize) {
        self.memory("state", "layers", bytes as u64);
    }

    fn memory(&self, database: &str, what: &str, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let gauge = self.memory_bytes.with_label_values(&[database, what]);
        gauge.set(bytes);
    }
}
