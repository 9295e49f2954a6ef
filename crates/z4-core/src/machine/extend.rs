//! ExtendLeases: holders that need longer, or shorter, move their deadlines.

use super::{Entry, Machine};
use crate::command::{Extend, ExtendLeases, LeaseLost, Outcome};
use crate::state::{Row, RowKey, State, StateError};
use crate::task::{NamespaceId, Phase};
use crate::time::MS_NS;

impl<S: State> Machine<S> {
    pub(super) fn extend(
        &mut self,
        entry: &Entry<'_>,
        extends: &ExtendLeases,
    ) -> Result<Outcome, StateError> {
        let stamp_ns = entry.now_ns;
        let Some(row) = self.namespaces.get(&extends.namespace) else {
            let results = vec![Err(LeaseLost::Gone); extends.extends.len()];
            return Ok(Outcome::Extended { stamp_ns, results });
        };
        let (namespace, default_ms) = (row.id, row.config.lease_ms);
        let extend = |one| self.extend_one(entry, namespace, default_ms, one);
        let results = extends.extends.iter().map(extend);
        let results = results.collect::<Result<_, _>>()?;
        Ok(Outcome::Extended { stamp_ns, results })
    }

    fn extend_one(
        &mut self,
        entry: &Entry<'_>,
        namespace: NamespaceId,
        default_ms: u64,
        extend: &Extend,
    ) -> Result<Result<u64, LeaseLost>, StateError> {
        let id = extend.id;
        let mut held = match self.held(entry, namespace, id, extend.token)? {
            Ok(held) => held,
            Err(lost) => return Ok(Err(lost)),
        };
        let lease_ms = match extend.lease_ms {
            0 => default_ms,
            asked => asked,
        };
        // A lease that was granted ahead of the due time lasts from there.
        let from_ns = entry.now_ns.max(held.status.first_due_at_ns);
        let deadline_ns = from_ns.saturating_add(lease_ms.saturating_mul(MS_NS));
        self.unlease(held.deadline_ns, namespace, id);
        let (consumer, token) = (held.consumer, extend.token);
        self.put_lease(deadline_ns, namespace, id, consumer.clone(), token);
        held.status.phase = Phase::Leased {
            consumer,
            token,
            deadline_ns,
        };
        let row = Row::Status(held.status);
        self.state.put(RowKey::Status(namespace, id), row);
        Ok(Ok(deadline_ns))
    }
}
