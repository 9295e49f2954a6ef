//! Promise 1: an acknowledged create is not lost. Promise 4: a request id makes
//! its tasks once.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::Rng;
use z4_core::command::{CreateTasks, CreatedTask};
use z4_core::{Namespace, TaskId};

use super::leases::Leases;

#[derive(Default)]
pub(crate) struct Creates {
    by_request: BTreeMap<String, Vec<TaskId>>,
    committed: BTreeMap<TaskId, String>,
    acked: Vec<(Namespace, TaskId)>,
}

impl Creates {
    /// A create was committed.
    pub(crate) fn created(
        &mut self,
        create: &CreateTasks,
        tasks: &[CreatedTask],
    ) -> Result<(), String> {
        let ids: Vec<_> = tasks.iter().map(|t| t.id).collect();
        let request = &create.request_id;
        let known = self
            .by_request
            .entry(request.clone())
            .or_insert_with(|| ids.clone());
        if *known != ids {
            return Err(format!(
                "promise 4: request {request} made {known:?} and {ids:?}"
            ));
        }
        for id in ids {
            let other = self.committed.insert(id, request.clone());
            if other.is_some_and(|other| other != *request) {
                return Err(format!("task id {id} was given twice"));
            }
        }
        Ok(())
    }

    /// A client was told that its create is done.
    pub(crate) fn acked(&mut self, create: &CreateTasks, ids: &[TaskId]) -> Result<(), String> {
        for id in ids {
            if self.committed.get(id) != Some(&create.request_id) {
                return Err(format!(
                    "promise 1: task {id} of request {} was acknowledged and is not committed",
                    create.request_id
                ));
            }
            self.acked.push((create.namespace.clone(), *id));
        }
        Ok(())
    }

    /// A task whose create was acknowledged, mostly a recent one.
    pub(crate) fn some_acked(&self, rng: &mut StdRng) -> Option<(Namespace, TaskId)> {
        let back = rng.gen_range(1..20);
        let at = self.acked.len().checked_sub(back)?;
        self.acked.get(at).cloned()
    }

    /// Tasks that were created and are not ended.
    pub(crate) fn not_in(&self, leases: &Leases) -> Vec<TaskId> {
        let open = |id: &&TaskId| leases.ended_at(**id).is_none();
        self.committed.keys().filter(open).copied().collect()
    }
}
