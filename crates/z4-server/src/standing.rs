//! How far a peer has come, for probes and scrapers: they may ask from the
//! first moment on, also while the start waits for something.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus::{Registry, TextEncoder};
use z4_consensus::{Handle, Role};
use z4_core::state::machine_ns;
use z4_core::Outcome;
use z4_rpc::accept::PortWatch;
use z4_rpc::Network;
use z4_storage::Store;

use crate::backups::BackupAge;
use crate::cluster_metrics::ClusterMetrics;
use crate::membership;
use crate::peer::{wall_clock_ns, Peer, LEVELS};
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
    /// What a peer says that was removed before this start.
    removed: OnceLock<String>,
    /// Sampling empties and fills gauges: one scrape at a time.
    scrape: Mutex<()>,
}

/// A peer that serves.
struct Running {
    store: Arc<Store>,
    handle: Handle<Outcome>,
    ports: [PortWatch; 2],
    backup_age: Arc<BackupAge>,
    network: Network,
    /// What it says when it is removed.
    removed_text: String,
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
            removed: OnceLock::new(),
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

    /// The peer was removed before this start, and serves nothing.
    pub(crate) fn is_removed(&self, text: &str) {
        // Said once; a second time would change nothing.
        let _ = self.removed.set(text.to_owned());
    }

    /// The peer serves; `removed_text` is what it says when it is removed.
    pub(crate) fn runs(
        &self,
        store: &Arc<Store>,
        peer: &Peer,
        backup_age: Arc<BackupAge>,
        removed_text: String,
    ) {
        // Said once; a second time would change nothing.
        let _ = self.running.set(Running {
            store: Arc::clone(store),
            handle: peer.handle().clone(),
            ports: peer.ports(),
            backup_age,
            network: peer.network().clone(),
            removed_text,
        });
    }

    /// What was removed, and the remedy; `None` for a peer that was not removed.
    pub(crate) fn removed(&self) -> Option<String> {
        let runs = self.running.get();
        let runs = runs.filter(|running| running.handle.status().role == Role::Removed);
        let removed = self.removed.get();
        removed
            .or(runs.map(|running| &running.removed_text))
            .cloned()
    }

    /// Whether the peer can serve; if not, why.
    ///
    /// # Errors
    /// The reason, for a person.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if let Some(removed) = self.removed() {
            return Err(removed);
        }
        match self.running.get() {
            Some(running) => {
                running.ports.iter().try_for_each(PortWatch::accepts)?;
                let waits_for = running.network.assembling().waits_for();
                membership::ready(&running.handle.status(), waits_for.as_deref())
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
            running.backup_age.sample().map_err(|e| e.to_string())?;
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
