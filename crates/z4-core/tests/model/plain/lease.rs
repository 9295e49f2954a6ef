//! Leases, and what holds them back.

use z4_core::command::{Grant, LeaseTasks, Outcome};
use z4_core::limits;
use z4_core::state::NamespaceConfig;
use z4_core::task::{DeathReason, LeaseToken};
use z4_core::TaskId;

use super::{Bucket, Place, Plain, Space, MS_NS};

impl Plain {
    pub fn lease(&mut self, lease: &LeaseTasks) -> Outcome {
        let (index, now_ns) = (self.index, self.now_ns);
        let mut grants = Vec::new();
        let Some(space) = self.spaces.get_mut(&lease.namespace) else {
            return Outcome::Leased {
                grants,
                more: false,
            };
        };
        let open = space.open(now_ns);
        if open == 0 {
            return Outcome::Leased { grants, more: true };
        }
        let due = space.due(now_ns);
        let mut rooms: Vec<u32> = lease.takers.iter().map(|taker| taker.room).collect();
        let room = rooms.iter().sum::<u32>() as usize;
        let room = room.min(limits::LEASE_COUNT_MAX).min(open);
        let more = due.len() > room;
        let lease_ms = match lease.lease_ms {
            0 => space.config.lease_ms,
            ms => ms,
        };
        let mut taken: Vec<_> = due.into_iter().take(room).collect();
        let due_count = taken.len();
        if !more && rate(&space.config).is_none() {
            taken.extend(space.ahead(now_ns, now_ns + lease.ahead_ms * MS_NS));
        }
        let token = LeaseToken(index);
        let (mut turn, mut old) = (0, 0);
        for (place, (_, due_ns, id)) in taken.into_iter().enumerate() {
            if place == due_count {
                rooms.iter_mut().for_each(|room| *room /= 2);
            }
            let is_full = rooms.iter().all(|room| *room == 0);
            if place >= due_count && (is_full || place - due_count >= (room - due_count) / 2) {
                break;
            }
            let deadline_ns = due_ns.max(now_ns) + lease_ms * MS_NS;
            let place = space.find(id).unwrap();
            let task = &mut space.tasks[place];
            space.line_ns[usize::from(task.priority)] = due_ns.min(now_ns);
            if task.too_old(now_ns) {
                space.bury(place, now_ns, DeathReason::Ttl);
                old += 1;
                continue;
            }
            while rooms[turn % rooms.len()] == 0 {
                turn += 1;
            }
            let seat = turn % rooms.len();
            rooms[seat] -= 1;
            turn += 1;
            let consumer = lease.takers[seat].consumer.clone();
            task.deliveries += 1;
            task.touched = true;
            grants.push(Grant {
                consumer: consumer.clone(),
                id,
                token,
                deadline_ns,
                due_at_ns: task.first_due_ns,
                attempt: task.failures + 1,
                deliveries: task.deliveries,
                bytes: task.bytes,
            });
            task.place = Place::Leased {
                consumer,
                token,
                deadline_ns,
            };
        }
        space.gone.deliveries += grants.len() as u64;
        if let Some((interval_ns, _)) = rate(&space.config) {
            for _ in &grants {
                space.bucket.fill(interval_ns, now_ns);
            }
        }
        for _ in 0..old {
            self.note("found too old to lease");
        }
        Outcome::Leased { grants, more }
    }
}

impl Space {
    /// How many leases may begin.
    fn open(&self, now_ns: u64) -> usize {
        if self.deleting || self.paused_at_ns.is_some() {
            return 0;
        }
        let config = &self.config;
        let mut open = limits::LEASE_COUNT_MAX;
        if config.leased_max > 0 {
            let free = config.leased_max.saturating_sub(self.counts().leased);
            open = open.min(free as usize);
        }
        if let Some((interval_ns, burst)) = rate(config) {
            let mut bucket = Bucket {
                level_ns: self.bucket.level(now_ns),
                at_ns: now_ns,
            };
            let mut tokens = 0;
            while tokens < open && bucket.level_ns <= (burst - 1) * interval_ns {
                bucket.fill(interval_ns, now_ns);
                tokens += 1;
            }
            open = tokens;
        }
        open
    }

    /// What is due, in the order of delivery.
    fn due(&self, now_ns: u64) -> Vec<(u8, u64, TaskId)> {
        let mut due: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|task| match task.place {
                Place::Waiting { due_ns } if due_ns <= now_ns => {
                    Some((9 - task.priority, due_ns, task.id))
                }
                _ => None,
            })
            .collect();
        due.sort_unstable();
        due
    }
}

impl Space {
    /// Tasks that will be due by then, in the order of delivery: of each priority, up to the first
    /// task that was leased or moved before.
    fn ahead(&self, now_ns: u64, by_ns: u64) -> Vec<(u8, u64, TaskId)> {
        let mut ahead = self.due(by_ns);
        ahead.retain(|(_, due_ns, _)| *due_ns > now_ns);
        let is_touched = |id| self.tasks[self.find(id).unwrap()].touched;
        let mut stopped = None;
        ahead.retain(|(rank, _, id)| {
            if stopped != Some(*rank) && is_touched(*id) {
                stopped = Some(*rank);
            }
            stopped != Some(*rank)
        });
        ahead
    }
}

impl Bucket {
    fn level(&self, now_ns: u64) -> u64 {
        self.level_ns.saturating_sub(now_ns - self.at_ns)
    }

    fn fill(&mut self, interval_ns: u64, now_ns: u64) {
        self.level_ns = self.level(now_ns) + interval_ns;
        self.at_ns = now_ns;
    }

    /// Another rate: no more than its own burst is held against it.
    pub fn change(&mut self, config: &NamespaceConfig, now_ns: u64) {
        if let Some((interval_ns, burst)) = rate(config) {
            self.level_ns = self.level(now_ns).min(burst * interval_ns);
            self.at_ns = now_ns;
        }
    }
}

/// Time between two deliveries, and how many may go at once.
fn rate(config: &NamespaceConfig) -> Option<(u64, u64)> {
    let (count, period_ms) = (u64::from(config.rate.count), config.rate.period_ms);
    let burst = match config.rate_burst {
        // A second's worth, and one at least.
        0 => (count * 1_000).div_ceil(period_ms),
        burst => u64::from(burst),
    };
    (count > 0).then(|| {
        let interval_ns = (period_ms * MS_NS).div_ceil(count);
        // Never more than a hundred years ahead.
        let most = 100 * 365 * 86_400 * 1_000 * MS_NS / interval_ns;
        (interval_ns, burst.min(most))
    })
}
