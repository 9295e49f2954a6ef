//! ExpireLeases: the pulse. Tasks whose holders let the deadline pass are due
//! again.

use super::{Entry, Machine};
use crate::command::Outcome;
use crate::limits;
use crate::state::{State, StateError};
use crate::task::{Phase, TaskStatus};

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
            let leased = |status: &TaskStatus| matches!(status.phase, Phase::Leased { .. });
            let Some(mut status) = self.status(*namespace, *id)?.filter(leased) else {
                return Err(StateError(format!(
                    "task {id} has a lease but is not leased"
                )));
            };
            self.drop_lease(*deadline_ns, *namespace, *id);
            status.failures = status.failures.saturating_add(1);
            self.put_back(entry, *namespace, *id, status)?;
        }
        Ok(Outcome::Expired {
            count: over.len() as u32,
        })
    }
}
