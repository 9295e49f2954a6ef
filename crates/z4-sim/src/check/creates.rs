//! Promise 1: an acknowledged create is not lost. Promise 4: a request id makes
//! its tasks once, as long as it is remembered.
//!
//! And a client that is told that surely nothing was done may ask again without a
//! request id: no two tasks of a namespace have one payload, for clients ask for
//! none twice.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::Rng;
use z4_core::command::{CreateTasks, CreatedTask};
use z4_core::{Namespace, TaskId};

/// What a request made.
struct Made {
    ids: Vec<TaskId>,
    /// Its namespace is going, and what is remembered with it: the request may
    /// be answered as before, or make its tasks anew.
    going: bool,
}

#[derive(Default)]
pub(crate) struct Creates {
    by_request: BTreeMap<(Namespace, String), Made>,
    /// All tasks, with their namespace and payload, which tells them apart.
    committed: BTreeMap<TaskId, (Namespace, Vec<u8>)>,
    /// The task that has this payload.
    by_payload: BTreeMap<(Namespace, Vec<u8>), TaskId>,
    acked: Vec<(Namespace, TaskId)>,
}

impl Creates {
    /// A create was committed. Whether it made its tasks, or answered with those
    /// of an earlier one.
    pub(crate) fn created(
        &mut self,
        create: &CreateTasks,
        tasks: &[CreatedTask],
        now_ns: u64,
    ) -> Result<bool, String> {
        let ids: Vec<_> = tasks.iter().map(|t| t.id).collect();
        if !create.request_id.is_empty() {
            let key = (create.namespace.clone(), create.request_id.clone());
            match self.by_request.get(&key) {
                Some(known) if known.ids == ids => return Ok(false),
                Some(known) if !known.going => {
                    return Err(format!(
                        "promise 4: request {} made {:?}, and {ids:?} at {now_ns}",
                        create.request_id, known.ids
                    ));
                }
                _ => {
                    let made = Made {
                        ids: ids.clone(),
                        going: false,
                    };
                    self.by_request.insert(key, made);
                }
            }
        }
        for (id, new) in ids.iter().zip(&create.tasks) {
            let task = (create.namespace.clone(), new.payload.clone());
            if self.committed.insert(*id, task.clone()).is_some() {
                return Err(format!("promise 4: task id {id} was given twice"));
            }
            if let Some(known) = self.by_payload.insert(task, *id) {
                let payload = String::from_utf8_lossy(&new.payload);
                return Err(format!(
                    "promise 4: {payload} of {} was made twice, {known} and at {now_ns} {id}; its \
                     client asked again only for what was surely not done",
                    create.namespace
                ));
            }
        }
        Ok(true)
    }

    /// A client was told that its create is done.
    pub(crate) fn acked(&mut self, create: &CreateTasks, ids: &[TaskId]) -> Result<(), String> {
        if ids.len() != create.tasks.len() {
            return Err(format!(
                "promise 1: {} tasks were asked for and {} acknowledged",
                create.tasks.len(),
                ids.len()
            ));
        }
        for (id, new) in ids.iter().zip(&create.tasks) {
            let asked = (create.namespace.clone(), new.payload.clone());
            if self.committed.get(id) != Some(&asked) {
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
        let back = rng.gen_range(1..25);
        let at = self.acked.len().checked_sub(back)?;
        self.acked.get(at).cloned()
    }

    /// A namespace goes, and with it what was remembered of its requests.
    pub(crate) fn forget(&mut self, name: &Namespace) {
        let its = self.by_request.iter_mut().filter(|((n, _), _)| n == name);
        for (_, made) in its {
            made.going = true;
        }
        self.by_payload.retain(|(n, _), _| n != name);
    }

    /// The tasks of a namespace.
    pub(crate) fn of<'a>(&'a self, name: &'a Namespace) -> impl Iterator<Item = TaskId> + 'a {
        let its = self.committed.iter().filter(move |(_, (n, _))| n == name);
        its.map(|(id, _)| *id)
    }

    /// All tasks that were ever created.
    pub(crate) fn all(&self) -> impl Iterator<Item = (TaskId, &Namespace)> {
        self.committed.iter().map(|(id, (name, _))| (*id, name))
    }
}
