//! One request, one set of tasks, whatever the retries; and every task was made
//! by one request.
//!
//! Source: promise 4 of z4; Jepsen's unique-ids checker.

use std::collections::{BTreeMap, HashMap, HashSet};

use z4_core::TaskId;

use crate::violation::{Rule, Violation};

/// What requests made.
///
/// A request is a number: of the request id (see
/// [`request_number`](crate::history::request_number)), within its dedupe
/// window; or, of a create without one, a number of the caller's own for this
/// very call, which is not repeated.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    made: HashMap<u64, Box<[TaskId]>>,
    /// By which request, and at which place in it.
    by: HashMap<TaskId, (u64, u32)>,
    /// What stands at each place of a request.
    at: BTreeMap<(u64, u32), TaskId>,
    /// Those of which no task can be.
    refused: HashSet<u64>,
    repeated: u64,
}

impl Requests {
    /// A request was answered with these tasks.
    ///
    /// # Errors
    ///
    /// [`Rule::RequestSplit`]: it had been answered with others.
    /// [`Rule::MadeTwice`]: one of them was made by another request, or twice by
    /// this one, or is not the one that was seen in the store.
    pub fn answered(&mut self, request: u64, tasks: &[TaskId]) -> Result<(), Violation> {
        if let Some(known) = self.made.get(&request) {
            self.repeated += 1;
            if **known != *tasks {
                return Err(Violation::new(
                    Rule::RequestSplit,
                    format!(
                        "request {request:016x} was answered with {}, and with {}",
                        list(known),
                        list(tasks)
                    ),
                ));
            }
            return Ok(());
        }
        for (place, task) in tasks.iter().enumerate() {
            self.owned(request, place as u32, *task)?;
            self.is_one(request, place as u32, *task)?;
        }
        self.made.insert(request, tasks.into());
        Ok(())
    }

    /// A task was seen, in a read or a delivery, that by what is in it was asked
    /// for at this place (from 0) of this request, whether it was answered or
    /// not.
    ///
    /// # Errors
    ///
    /// [`Rule::MadeTwice`]: another task was made for the same place, or the task
    /// by another request. [`Rule::MadeThoughRefused`]: the request was refused.
    pub fn seen(&mut self, request: u64, place: u32, task: TaskId) -> Result<(), Violation> {
        if self.refused.contains(&request) {
            return Err(though_refused(request, place, task));
        }
        self.owned(request, place, task)?;
        self.is_one(request, place, task)
    }

    /// Every try of a request was answered, each with a refusal that says that
    /// nothing was done: no task of it can be.
    ///
    /// # Errors
    ///
    /// [`Rule::MadeThoughRefused`]: one was seen.
    pub fn refused(&mut self, request: u64) -> Result<(), Violation> {
        self.refused.insert(request);
        match self.at.range((request, 0)..=(request, u32::MAX)).next() {
            None => Ok(()),
            Some(((_, place), task)) => Err(though_refused(request, *place, *task)),
        }
    }

    /// How often a request was answered again.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    fn owned(&mut self, request: u64, place: u32, task: TaskId) -> Result<(), Violation> {
        let mine = (request, place);
        let (other, at) = *self.by.entry(task).or_insert(mine);
        if (other, at) == mine {
            return Ok(());
        }
        Err(Violation::new(
            Rule::MadeTwice,
            format!(
                "task {task} is of request {request:016x}, place {place}, and of request \
                 {other:016x}, place {at}"
            ),
        ))
    }

    fn is_one(&mut self, request: u64, place: u32, task: TaskId) -> Result<(), Violation> {
        let known = *self.at.entry((request, place)).or_insert(task);
        if known == task {
            return Ok(());
        }
        Err(Violation::new(
            Rule::MadeTwice,
            format!("request {request:016x}, place {place}, made task {known} and task {task}"),
        ))
    }
}

fn though_refused(request: u64, place: u32, task: TaskId) -> Violation {
    Violation::new(
        Rule::MadeThoughRefused,
        format!("request {request:016x} was refused, and at place {place} made task {task}"),
    )
}

fn list(tasks: &[TaskId]) -> String {
    const SHOWN: usize = 4;
    let mut names: Vec<String> = tasks.iter().take(SHOWN).map(ToString::to_string).collect();
    if tasks.len() > SHOWN {
        names.push(format!("{} more", tasks.len() - SHOWN));
    }
    format!("[{}]", names.join(", "))
}
