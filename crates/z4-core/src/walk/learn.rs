//! What the walk learns of outcomes.

use super::{Walk, REMEMBERED, TASKS_MANY};
use crate::command::{Command, Ended, HeldLeases, LeaseLost, Outcome, Unchanged};
use crate::task::{LeaseToken, Namespace, TaskId};

impl Walk {
    /// Takes note of what became of the commands of the last step.
    pub fn learn(&mut self, commands: &[Command], outcomes: &[Outcome]) {
        for (command, outcome) in commands.iter().zip(outcomes) {
            self.learn_one(command, outcome);
        }
        let surplus = self.leases.len().saturating_sub(REMEMBERED);
        self.leases.drain(..surplus);
        // Those of a flood are forgotten: they go with their namespace.
        self.tasks.truncate(2 * TASKS_MANY);
    }

    fn learn_one(&mut self, command: &Command, outcome: &Outcome) {
        match (command, outcome) {
            (Command::CreateTasks(create), Outcome::Created(made)) => {
                let made = made.iter().map(|task| task.id);
                let new: Vec<_> = made
                    .map(|id| (create.namespace.clone(), id))
                    .filter(|task| !self.tasks.contains(task))
                    .take(2 * TASKS_MANY)
                    .collect();
                self.tasks.extend(new);
            }
            (Command::LeaseTasks(lease), Outcome::Leased { grants, .. }) => {
                let space = &lease.namespace;
                let granted = grants.iter().map(|g| (space.clone(), g.id, g.token));
                self.leases.extend(granted);
            }
            (
                Command::AckTasks(refs)
                | Command::ReleaseTasks(HeldLeases { refs, .. })
                | Command::ReturnTasks(HeldLeases { refs, .. }),
                Outcome::Ended { results, .. },
            ) => {
                for ((id, token), result) in refs.leases.iter().zip(results) {
                    self.learn_end(&refs.namespace, *id, *token, *result);
                }
            }
            (Command::NackTasks(nacks), Outcome::Ended { results, .. }) => {
                for (nack, result) in nacks.nacks.iter().zip(results) {
                    self.learn_end(&nacks.namespace, nack.id, nack.token, *result);
                }
            }
            (Command::CancelTasks(refs) | Command::PurgeTasks(refs), Outcome::Changed(results)) => {
                for (id, result) in refs.ids.iter().zip(results) {
                    if matches!(result, Ok(()) | Err(Unchanged::Gone)) {
                        self.forget(&refs.namespace, *id);
                    }
                }
            }
            (Command::DeleteNamespace(name), _) => {
                let mut left = 5;
                self.tasks.retain(|(space, _)| {
                    left -= i32::from(space == name);
                    space != name || left > 0
                });
            }
            // Nothing goes on from these, whatever their outcomes; and from the rest
            // when it was refused.
            (
                Command::ExtendLeases(_)
                | Command::ResumeLeases(_)
                | Command::RescheduleTasks(_)
                | Command::RedriveTasks(_)
                | Command::SetNamespace(_)
                | Command::ChangePrincipal(_)
                | Command::Pulse
                | Command::Mark { .. },
                _,
            )
            | (
                Command::CreateTasks(_)
                | Command::LeaseTasks(_)
                | Command::AckTasks(_)
                | Command::ReleaseTasks(_)
                | Command::ReturnTasks(_)
                | Command::NackTasks(_)
                | Command::CancelTasks(_)
                | Command::PurgeTasks(_),
                _,
            ) => {}
        }
    }

    fn learn_end(
        &mut self,
        space: &Namespace,
        id: TaskId,
        token: LeaseToken,
        result: Result<Ended, LeaseLost>,
    ) {
        if matches!(result, Ok(Ended::Done) | Err(LeaseLost::Gone)) {
            self.forget(space, id);
        }
        // Some stay, to be ended once more.
        if !self.dice.one_in(4) {
            self.leases
                .retain(|lease| (&lease.0, lease.1, lease.2) != (space, id, token));
        }
    }

    fn forget(&mut self, space: &Namespace, id: TaskId) {
        if !self.dice.one_in(8) {
            self.tasks.retain(|task| (&task.0, task.1) != (space, id));
        }
    }
}
