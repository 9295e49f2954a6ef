//! ExpireLeases: the pulse. Tasks whose holders let the deadline pass are due
//! again.

use super::{Entry, Machine};
use crate::command::Outcome;
use crate::limits;
use crate::state::{State, StateError};
use crate::task::Phase;

impl<S: State> Machine<S> {
    pub(super) fn expire(&mut self, entry: &mut Entry<'_>) -> Result<Outcome, StateError> {
        let over: Vec<_> = self
            .deadlines
            .iter()
            .take_while(|(deadline_ns, _, _)| *deadline_ns <= entry.now_ns)
            .take(limits::EXPIRE_COUNT_MAX)
            .copied()
            .collect();
        for (deadline_ns, namespace, id) in &over {
            let leased = self.status(*namespace, *id)?.and_then(|status| {
                let Phase::Leased { due_at_ns, .. } = status.phase else {
                    return None;
                };
                Some((status, due_at_ns))
            });
            let Some((mut status, due_at_ns)) = leased else {
                return Err(StateError(format!(
                    "task {id} has a lease but is not leased"
                )));
            };
            self.drop_lease(*deadline_ns, *namespace, *id);
            status.failures = status.failures.saturating_add(1);
            self.put_back(entry, *namespace, *id, due_at_ns, status)?;
        }
        Ok(Outcome::Expired {
            count: over.len() as u32,
        })
    }
}
