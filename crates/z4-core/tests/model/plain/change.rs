//! Changes of tasks that wait or are dead.

use z4_core::command::{Outcome, RedriveTasks, RescheduleTasks, TaskRefs, Unchanged};
use z4_core::{Namespace, TaskId};

use super::create::due;
use super::{Place, Plain, Space};

impl Plain {
    pub fn cancel(&mut self, refs: &TaskRefs) -> Outcome {
        self.change_each(&refs.namespace, &refs.ids, |space, place| {
            space.waits(place)?;
            space.tasks.remove(place);
            space.gone.cancelled += 1;
            Ok(())
        })
    }

    pub fn reschedule(&mut self, change: &RescheduleTasks) -> Outcome {
        let (due_ns, _) = due(change.due, self.now_ns);
        self.change_each(&change.namespace, &change.ids, |space, place| {
            space.waits(place)?;
            space.wait_anew(place, due_ns);
            Ok(())
        })
    }

    pub fn redrive(&mut self, redrive: &RedriveTasks) -> Outcome {
        let now_ns = self.now_ns;
        self.change_each(&redrive.namespace, &redrive.ids, |space, place| {
            space.is_dead(place)?;
            let most = space.config.pending_max;
            if most > 0 && space.counts().pending >= most {
                return Err(Unchanged::Full);
            }
            if !redrive.keep_attempts {
                space.tasks[place].failures = 0;
            }
            space.wait_anew(place, now_ns);
            Ok(())
        })
    }

    pub fn purge(&mut self, refs: &TaskRefs) -> Outcome {
        self.change_each(&refs.namespace, &refs.ids, |space, place| {
            space.is_dead(place)?;
            space.drop_dead(space.tasks[place].id);
            Ok(())
        })
    }

    fn change_each(
        &mut self,
        name: &Namespace,
        ids: &[TaskId],
        change: impl Fn(&mut Space, usize) -> Result<(), Unchanged>,
    ) -> Outcome {
        let changed = ids.iter().map(|id| {
            let space = self.spaces.get_mut(name).ok_or(Unchanged::Gone)?;
            let place = space.find(*id).ok_or(Unchanged::Gone)?;
            change(space, place)
        });
        Outcome::Changed(changed.collect())
    }
}

impl Space {
    fn waits(&self, place: usize) -> Result<(), Unchanged> {
        match &self.tasks[place].place {
            Place::Waiting { .. } => Ok(()),
            Place::Dead { .. } => Err(Unchanged::Dead),
            leased => Err(held(leased)),
        }
    }

    fn is_dead(&self, place: usize) -> Result<(), Unchanged> {
        match &self.tasks[place].place {
            Place::Dead { .. } => Ok(()),
            Place::Waiting { .. } => Err(Unchanged::Waiting),
            leased => Err(held(leased)),
        }
    }

    fn wait_anew(&mut self, place: usize, due_ns: u64) {
        let task = &mut self.tasks[place];
        task.first_due_ns = due_ns;
        task.returns = 0;
        task.place = Place::Waiting { due_ns };
        task.alarm = task.ttl_ms > 0;
        task.touched = true;
    }
}

fn held(place: &Place) -> Unchanged {
    match place.clone() {
        Place::Leased {
            consumer,
            deadline_ns,
            ..
        } => Unchanged::Leased {
            consumer,
            deadline_ns,
        },
        _ => unreachable!("asked of a lease"),
    }
}
