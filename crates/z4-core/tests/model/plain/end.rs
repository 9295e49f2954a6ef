//! Leases that end or change, and what becomes of their tasks.

use xxhash_rust::xxh3::xxh3_64_with_seed;
use z4_core::command::{
    Ended, ExtendLeases, HeldLeases, LeaseLost, LeaseRefs, NackTasks, Outcome, ResumeLeases,
};
use z4_core::state::NamespaceConfig;
use z4_core::task::{DeathReason, LeaseToken};
use z4_core::{limits, Namespace, TaskId};

use super::{Place, Plain, Space, MS_NS};

impl Plain {
    pub fn ack(&mut self, refs: &LeaseRefs) -> Outcome {
        self.end_each((&refs.namespace, ""), &refs.leases, |space, place, _, _| {
            space.tasks.remove(place);
            space.gone.done += 1;
            Ended::Done
        })
    }

    pub fn release(&mut self, held: &HeldLeases) -> Outcome {
        let whose = (&held.refs.namespace, &*held.consumer);
        self.end_each(whose, &held.refs.leases, |space, place, now_ns, _| {
            space.give_back(place, now_ns)
        })
    }

    pub fn return_tasks(&mut self, held: &HeldLeases) -> Outcome {
        let whose = (&held.refs.namespace, &*held.consumer);
        self.end_each(whose, &held.refs.leases, |space, place, now_ns, _| {
            let task = &mut space.tasks[place];
            task.returns += 1;
            let wait_ms = match task.returns {
                0..=3 => 0,
                many => backoff(&space.config, task.id, many - 3),
            };
            if wait_ms == 0 || task.too_old(now_ns) {
                return space.give_back(place, now_ns);
            }
            let due_ns = now_ns.max(task.first_due_ns) + wait_ms * MS_NS;
            task.place = Place::Waiting { due_ns };
            Ended::Waiting { due_at_ns: due_ns }
        })
    }

    pub fn nack(&mut self, nacks: &NackTasks) -> Outcome {
        let leases: Vec<_> = nacks.nacks.iter().map(|n| (n.id, n.token)).collect();
        self.end_each(
            (&nacks.namespace, ""),
            &leases,
            |space, place, now_ns, n| {
                let nack = &nacks.nacks[n];
                let delay_ms = nack.delay_ms;
                space.fail(place, now_ns, delay_ms, &nack.error, nack.permanent)
            },
        )
    }

    pub fn extend(&mut self, extends: &ExtendLeases) -> Outcome {
        let now_ns = self.now_ns;
        let space = self.spaces.get_mut(&extends.namespace);
        let Some(space) = space else {
            let results = vec![Err(LeaseLost::Gone); extends.extends.len()];
            return Outcome::Extended {
                stamp_ns: now_ns,
                results,
            };
        };
        let default_ms = space.config.lease_ms;
        let results = extends.extends.iter().map(|extend| {
            let place = space.held(extend.id, extend.token, now_ns)?;
            let ms = match extend.lease_ms {
                0 => default_ms,
                ms => ms,
            };
            let from_ns = now_ns.max(space.tasks[place].first_due_ns);
            let until_ns = from_ns + ms * MS_NS;
            if let Place::Leased { deadline_ns, .. } = &mut space.tasks[place].place {
                *deadline_ns = until_ns;
            }
            Ok(until_ns)
        });
        Outcome::Extended {
            stamp_ns: now_ns,
            results: results.collect(),
        }
    }

    pub fn resume(&mut self, resume: &ResumeLeases) -> Outcome {
        let ResumeLeases { held, by } = resume;
        let now_ns = self.now_ns;
        let mut results = Vec::new();
        for (id, token) in &held.refs.leases {
            let Some(space) = self.spaces.get_mut(&held.refs.namespace) else {
                results.push(Err(LeaseLost::Gone));
                continue;
            };
            results.push(space.held(*id, *token, now_ns).and_then(|place| {
                let task = &mut space.tasks[place];
                if !task.is_held_by(&held.consumer) && !task.is_held_by(by) {
                    return Err(LeaseLost::Taken);
                }
                Ok(match &mut task.place {
                    Place::Leased {
                        consumer,
                        deadline_ns,
                        ..
                    } => {
                        consumer.clone_from(by);
                        *deadline_ns
                    }
                    Place::Waiting { .. } | Place::Dead { .. } => unreachable!("it is held"),
                })
            }));
        }
        Outcome::Extended {
            stamp_ns: now_ns,
            results,
        }
    }

    fn end_each(
        &mut self,
        (name, holder): (&Namespace, &str),
        leases: &[(TaskId, LeaseToken)],
        end: impl Fn(&mut Space, usize, u64, usize) -> Ended,
    ) -> Outcome {
        let now_ns = self.now_ns;
        let mut results = Vec::new();
        for (n, (id, token)) in leases.iter().enumerate() {
            results.push(match self.spaces.get_mut(name) {
                Some(space) => match space.held(*id, *token, now_ns) {
                    Ok(place) if !space.tasks[place].is_held_by(holder) => Err(LeaseLost::Taken),
                    held => held.map(|place| end(space, place, now_ns, n)),
                },
                None => Err(LeaseLost::Gone),
            });
        }
        Outcome::Ended {
            stamp_ns: now_ns,
            results,
        }
    }
}

impl Space {
    fn held(&self, id: TaskId, token: LeaseToken, now_ns: u64) -> Result<usize, LeaseLost> {
        let place = self.find(id).ok_or(LeaseLost::Gone)?;
        match &self.tasks[place].place {
            Place::Waiting { .. } => Err(LeaseLost::Expired),
            Place::Dead { .. } => Err(LeaseLost::Dead),
            Place::Leased { deadline_ns, .. } if *deadline_ns <= now_ns => Err(LeaseLost::Expired),
            Place::Leased { token: live, .. } if *live != token => Err(LeaseLost::Taken),
            Place::Leased { .. } => Ok(place),
        }
    }

    /// A leased task comes back, to the head of its line.
    fn give_back(&mut self, place: usize, now_ns: u64) -> Ended {
        if self.tasks[place].too_old(now_ns) {
            return self.bury(place, now_ns, DeathReason::Ttl);
        }
        let line_ns = self.line_ns[usize::from(self.tasks[place].priority)];
        assert!(line_ns <= now_ns);
        // The task may have been leased ahead of its time.
        let due_ns = line_ns.max(self.tasks[place].first_due_ns);
        self.tasks[place].place = Place::Waiting { due_ns };
        Ended::Waiting { due_at_ns: due_ns }
    }

    pub fn fail(
        &mut self,
        place: usize,
        now_ns: u64,
        delay_ms: Option<u64>,
        error: &str,
        permanent: bool,
    ) -> Ended {
        self.gone.failures += 1;
        let task = &mut self.tasks[place];
        task.failures += 1;
        task.returns = 0;
        task.error = error.into();
        let most = match task.max_attempts {
            0 => self.config.max_attempts,
            own => own,
        };
        if permanent {
            return self.bury(place, now_ns, DeathReason::Permanent);
        }
        if most > 0 && task.failures >= most {
            return self.bury(place, now_ns, DeathReason::Attempts);
        }
        if task.too_old(now_ns) {
            return self.bury(place, now_ns, DeathReason::Ttl);
        }
        let wait_ms = delay_ms.unwrap_or_else(|| backoff(&self.config, task.id, task.failures));
        if wait_ms == 0 {
            return self.give_back(place, now_ns);
        }
        let due_ns = now_ns.max(task.first_due_ns) + wait_ms * MS_NS;
        task.place = Place::Waiting { due_ns };
        Ended::Waiting { due_at_ns: due_ns }
    }

    /// The task is dead; the oldest go when there are too many.
    pub fn bury(&mut self, place: usize, now_ns: u64, reason: DeathReason) -> Ended {
        let keep_ms = self.config.dead_keep_ms;
        let task = &mut self.tasks[place];
        task.alarm = false;
        task.touched = true;
        task.place = Place::Dead {
            at_ns: now_ns,
            reason,
            forget_ns: (keep_ms > 0).then(|| now_ns + keep_ms * MS_NS),
        };
        let mut dead: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|task| match task.place {
                Place::Dead { at_ns, .. } => Some((at_ns, task.id)),
                _ => None,
            })
            .collect();
        dead.sort_unstable();
        let most = self.config.dead_keep_count as usize;
        if most > 0 && dead.len() > most {
            let surplus = (dead.len() - most).min(limits::DEAD_TRIM_MAX);
            self.trimmed += surplus as u64;
            for (_, id) in &dead[..surplus] {
                self.drop_dead(*id);
            }
        }
        Ended::Dead(reason)
    }

    /// A dead letter goes for good.
    pub fn drop_dead(&mut self, id: TaskId) {
        let place = self.find(id).unwrap();
        self.tasks.remove(place);
        self.gone.purged += 1;
    }
}

/// The least wait, doubled with each failure up to the longest, and a quarter
/// of jitter that does not leave the two.
fn backoff(config: &NamespaceConfig, id: TaskId, failures: u32) -> u64 {
    let (min_ms, max_ms) = (config.backoff_min_ms, config.backoff_max_ms);
    let mut wait_ms = min_ms;
    for _ in 1..failures {
        wait_ms = (2 * wait_ms).min(max_ms);
    }
    let quarter_ms = wait_ms / 4;
    let share = u128::from(xxh3_64_with_seed(id.as_bytes(), failures.into()));
    let jitter_ms = (share * (u128::from(quarter_ms) + 1) / (1 << 64)) as u64;
    match wait_ms + quarter_ms <= max_ms {
        true => wait_ms + jitter_ms,
        false => (wait_ms - jitter_ms).max(min_ms),
    }
}
