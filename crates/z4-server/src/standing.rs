//! How far a peer has come, for probes and scrapers: they may ask from the
//! first moment on, also while the start waits for something.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::{Registry, TextEncoder};
use z4_consensus::Handle;
use z4_core::state::machine_ns;
use z4_core::Outcome;
use z4_rpc::accept::PortWatch;
use z4_storage::Store;

use crate::cluster_metrics::ClusterMetrics;
use crate::membership;
use crate::peer::{wall_clock_ns, LEVELS};
use crate::process_metrics::ProcessMetrics;
use crate::task_metrics::TaskMetrics;

/// What the status port tells of.
pub(crate) struct Standing {
    registry: Registry,
    tasks: TaskMetrics,
    cluster: ClusterMetrics,
    process: ProcessMetrics,
    waits_for: Mutex<String>,
    running: OnceLock<Running>,
    /// Sampling empties and fills gauges: one scrape at a time.
    scrape: Mutex<()>,
}

/// A peer that serves.
struct Running {
    store: Arc<Store>,
    handle: Handle<Outcome>,
    ports: [PortWatch; 2],
}

impl Standing {
    /// A peer that starts, and may have so many files open.
    ///
    /// # Errors
    /// When the registry has gauges of these names.
    pub(crate) fn new(registry: &Registry, descriptors_max: u64) -> prometheus::Result<Self> {
        Ok(Self {
            registry: registry.clone(),
            tasks: TaskMetrics::new(registry)?,
            cluster: ClusterMetrics::new(registry, LEVELS)?,
            process: ProcessMetrics::new(registry, descriptors_max)?,
            waits_for: Mutex::new("starts".to_owned()),
            running: OnceLock::new(),
            scrape: Mutex::new(()),
        })
    }

    /// What the start waits for, for a person.
    pub(crate) fn waits_for(&self, what: &str) {
        let mut waits_for = self
            .waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        what.clone_into(&mut waits_for);
    }

    /// The peer serves.
    pub(crate) fn runs(&self, store: &Arc<Store>, handle: &Handle<Outcome>, ports: [PortWatch; 2]) {
        // Said once; a second time would change nothing.
        let _ = self.running.set(Running {
            store: Arc::clone(store),
            handle: handle.clone(),
            ports,
        });
    }

    /// Whether the peer can serve; if not, why.
    ///
    /// # Errors
    /// The reason, for a person.
    pub(crate) fn ready(&self) -> Result<(), String> {
        match self.running.get() {
            Some(running) => {
                running.ports.iter().try_for_each(PortWatch::accepts)?;
                membership::ready(&running.handle.status())
            }
            None => {
                let waits_for = self.waits_for.lock();
                Err(waits_for.unwrap_or_else(PoisonError::into_inner).to_owned())
            }
        }
    }

    /// All metrics in the text format.
    ///
    /// # Errors
    /// The reason, for a person.
    pub(crate) fn metrics(&self) -> Result<String, String> {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.process.sample();
        if let Some(running) = self.running.get() {
            running.store.sample();
            self.cluster.sample(&running.handle.status());
            let view = running.store.view();
            let now_ns = machine_ns(&view).map(|ns| ns.max(wall_clock_ns()));
            now_ns
                .and_then(|now_ns| self.tasks.sample(&view, now_ns))
                .map_err(|e| e.to_string())?;
        }
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        text.map_err(|e| format!("metrics cannot be written: {e}"))
    }
}
