//! Settings and deletion of namespaces.

use z4_core::command::{NamespacePatch, Outcome, SetNamespace};
use z4_core::state::NamespaceConfig;
use z4_core::{limits, Code, Namespace};

use super::{refused, Plain};

impl Plain {
    pub fn set_namespace(&mut self, set: &SetNamespace) -> Outcome {
        let now_ns = self.now_ns;
        let known = self.spaces.get(&set.namespace);
        if known.is_some_and(|space| space.deleting) {
            return refused(Code::Precondition);
        }
        let before = known.map(|space| space.config.clone()).unwrap_or_default();
        let config = patched(&before, &set.patch);
        if config.backoff_min_ms > config.backoff_max_ms {
            return refused(Code::Invalid);
        }
        let space = self.ensure(&set.namespace);
        space.bucket.change(&config, now_ns);
        space.config = config.clone();
        match (set.patch.paused, space.paused_at_ns) {
            (Some(true), None) => space.paused_at_ns = Some(now_ns),
            (Some(false), _) => space.paused_at_ns = None,
            _ => {}
        }
        Outcome::NamespaceSet {
            config,
            paused_at_ns: space.paused_at_ns,
        }
    }

    pub fn delete_namespace(&mut self, name: &Namespace) -> Outcome {
        match self.spaces.get_mut(name) {
            Some(space) => {
                space.deleting = true;
                Outcome::NamespaceDeleting
            }
            None => refused(Code::NotFound),
        }
    }

    /// A bounded part of the oldest namespace that is being deleted goes. How
    /// many tasks and request ids that was.
    pub fn delete_step(&mut self) -> usize {
        let deleting = self.spaces.iter_mut().filter(|(_, space)| space.deleting);
        let Some((name, space)) = deleting.min_by_key(|(_, space)| space.number) else {
            return 0;
        };
        space.tasks.sort_by_key(|task| task.id);
        let tasks = space.tasks.len().min(limits::PULSE_COUNT_MAX);
        space.tasks.drain(..tasks);
        space.gone.purged += tasks as u64;
        if !space.tasks.is_empty() {
            self.note("deleted in part");
            return tasks;
        }
        let requests = space.requests.len().min(limits::PULSE_COUNT_MAX - tasks);
        space.requests.sort_by_key(|r| r.request_id.clone());
        space.requests.drain(..requests);
        if space.requests.is_empty() {
            let name = name.clone();
            self.spaces.remove(&name);
            self.note("deleted whole");
        }
        tasks + requests
    }
}

fn patched(old: &NamespaceConfig, patch: &NamespacePatch) -> NamespaceConfig {
    NamespaceConfig {
        lease_ms: patch.lease_ms.unwrap_or(old.lease_ms),
        dedupe_ms: patch.dedupe_ms.unwrap_or(old.dedupe_ms),
        max_attempts: patch.max_attempts.unwrap_or(old.max_attempts),
        backoff_min_ms: patch.backoff_min_ms.unwrap_or(old.backoff_min_ms),
        backoff_max_ms: patch.backoff_max_ms.unwrap_or(old.backoff_max_ms),
        pending_max: patch.pending_max.unwrap_or(old.pending_max),
        bytes_max: patch.bytes_max.unwrap_or(old.bytes_max),
        leased_max: patch.leased_max.unwrap_or(old.leased_max),
        rate: patch.rate.unwrap_or(old.rate),
        rate_burst: patch.rate_burst.unwrap_or(old.rate_burst),
        dead_keep_ms: patch.dead_keep_ms.unwrap_or(old.dead_keep_ms),
        dead_keep_count: patch.dead_keep_count.unwrap_or(old.dead_keep_count),
    }
}
