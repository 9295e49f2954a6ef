//! SetNamespace: settings change, deliveries stop or go on.

use super::gate::Rate;
use super::{Entry, Event, Machine};
use crate::command::{NamespacePatch, Outcome, SetNamespace};
use crate::error::Refusal;
use crate::state::{NamespaceConfig, State, StateError};

impl<S: State> Machine<S> {
    pub(super) fn set_namespace(
        &mut self,
        entry: &mut Entry<'_>,
        set: SetNamespace,
    ) -> Result<Outcome, StateError> {
        if let Err(refusal) = self.namespaces.admit(&set.namespace) {
            return Ok(Outcome::Refused(refusal));
        }
        let before = self.namespaces.get(&set.namespace);
        let before = before.map(|row| row.config.clone()).unwrap_or_default();
        let config = match patched(before, &set.patch) {
            Ok(config) => config,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        let namespace = self
            .namespaces
            .ensure(&set.namespace, &mut self.meta.namespace_next);
        let row = self.namespaces.edit(namespace)?;
        row.config = config.clone();
        if let Some(rate) = Rate::of(&config) {
            row.rate_tat_ns = rate.taken_over(row.rate_tat_ns, entry.now_ns);
        }
        match set.patch.paused {
            Some(true) => row.paused_at_ns = row.paused_at_ns.or(Some(entry.now_ns)),
            Some(false) => row.paused_at_ns = None,
            None => {}
        }
        let paused_at_ns = row.paused_at_ns;
        entry.events.push(Event::Namespace {
            namespace: set.namespace,
        });
        Ok(Outcome::NamespaceSet {
            config,
            paused_at_ns,
        })
    }
}

/// Settings with a patch laid over them.
///
/// # Errors
/// [`Refusal`] with code `Invalid`: the two bounds of the backoff would cross.
fn patched(
    mut config: NamespaceConfig,
    patch: &NamespacePatch,
) -> Result<NamespaceConfig, Refusal> {
    patch.lay_over(&mut config);
    if config.backoff_min_ms > config.backoff_max_ms {
        let rule = format!(
            "would be {} ms, above backoff_max, which is {} ms; set both",
            config.backoff_min_ms, config.backoff_max_ms
        );
        return Err(Refusal::invalid("backoff_min", rule));
    }
    Ok(config)
}
