//! LeaseTasks: due tasks go to consumers, in (priority, due time, id) order,
//! dealt one each in turn. Tasks that will be due soon may follow, behind all that is due.

use super::gate::{gate, Gate, Rate};
use super::place::is_too_old;
use super::{Entry, Event, Machine};
use crate::command::{Grant, LeaseTasks, Outcome, Taker};
use crate::limits;
use crate::planted::planted;
use crate::state::{rank, Row, RowKey, State, StateError};
use crate::task::{
    DeathReason, LeaseToken, Namespace, NamespaceId, Phase, Priority, TaskId, TaskStatus,
};
use crate::time::MS_NS;

/// A window of the due index: the rows in it are taken.
#[derive(Clone, Copy)]
struct Window {
    /// Machine time, in nanoseconds.
    now_ns: u64,
    /// The last due time that is taken, in machine nanoseconds. Beyond machine time, the
    /// row of a task that was leased or moved before stays, and those behind it in its
    /// queue: such a task may be due later than it was first due, and the lease does not
    /// say so.
    due_by_ns: u64,
}

/// A row taken out of the due index.
struct Popped {
    due_at_ns: u64,
    id: TaskId,
    priority: Priority,
    touched: bool,
    bytes: u64,
    max_attempts: u32,
    ttl_ms: u64,
}

impl<S: State> Machine<S> {
    pub(super) fn lease(
        &mut self,
        entry: &mut Entry<'_>,
        lease: LeaseTasks,
    ) -> Result<Outcome, StateError> {
        let (grants, more) = self.grant(entry, &lease)?;
        entry.events.push(Event::Leased {
            namespace: lease.namespace,
            stamp_ns: entry.now_ns,
            takers: lease.takers,
            grants: grants.clone(),
            more,
        });
        Ok(Outcome::Leased { grants, more })
    }

    fn grant(
        &mut self,
        entry: &mut Entry<'_>,
        lease: &LeaseTasks,
    ) -> Result<(Vec<Grant>, bool), StateError> {
        let Some(row) = self.namespaces.get(&lease.namespace) else {
            return Ok((Vec::new(), false));
        };
        let open = match gate(row, entry.now_ns) {
            Gate::Open { room } => room,
            // Whether something is due is not looked at: when the gate opens,
            // somebody asks anew.
            _ => return Ok((Vec::new(), true)),
        };
        let namespace = row.id;
        let rate = Rate::of(&row.config);
        let room: u64 = lease.takers.iter().map(|t| u64::from(t.room)).sum();
        let room = room.min(limits::LEASE_COUNT_MAX as u64).min(open) as usize;
        let lease_ms = match lease.lease_ms {
            0 => row.config.lease_ms,
            asked => asked,
        };
        let due_by_ns = if planted!("deliver-early") {
            entry.now_ns.saturating_add(1_100 * MS_NS)
        } else {
            entry.now_ns
        };
        let now = Window {
            now_ns: entry.now_ns,
            due_by_ns,
        };
        let (mut popped, more) = self.pop_due(&lease.namespace, now, room)?;
        if !more {
            entry.note_leased(namespace);
        }
        // A rate counts from the lease, so what it allows must be delivered at once.
        let mut is_ahead_wanted = !more && lease.ahead_ms > 0 && rate.is_none();
        let mut deal = Deal::new(&lease.takers);
        let mut grants = Vec::with_capacity(popped.len());
        let mut lateness = Vec::new();
        loop {
            let left = room.saturating_sub(popped.len());
            for task in popped {
                let status = self.popped_status(namespace, &task)?;
                if is_too_old(status.first_due_at_ns, status.ttl_ms, entry.now_ns) {
                    self.namespaces.edit(namespace)?.counts.pending -= 1;
                    self.bury(entry, namespace, task.id, status, DeathReason::Ttl)?;
                    continue;
                }
                let Some(consumer) = deal.next() else {
                    return Err(StateError(
                        "more tasks were popped than there is room".into(),
                    ));
                };
                let token = LeaseToken(entry.index);
                let from_ns = match planted!("lease-lasts-from-the-grant") {
                    true => entry.now_ns,
                    false => entry.now_ns.max(task.due_at_ns),
                };
                let deadline_ns = from_ns.saturating_add(lease_ms.saturating_mul(MS_NS));
                let status =
                    self.mark_leased(namespace, &task, status, consumer, token, deadline_ns);
                if status.deliveries == 1 {
                    lateness.push(entry.now_ns.saturating_sub(status.first_due_at_ns));
                }
                grants.push(Grant {
                    consumer: consumer.to_owned(),
                    id: task.id,
                    token,
                    deadline_ns,
                    due_at_ns: status.first_due_at_ns,
                    attempt: status.attempt(),
                    deliveries: status.deliveries,
                    bytes: status.bytes,
                });
            }
            if !std::mem::take(&mut is_ahead_wanted) {
                break;
            }
            let ahead = Window {
                due_by_ns: due_by_ns.saturating_add(lease.ahead_ms.saturating_mul(MS_NS)),
                ..now
            };
            let room = deal.halve().min(left / 2);
            popped = self.pop_due(&lease.namespace, ahead, room)?.0;
        }
        if !grants.is_empty() {
            let count = grants.len() as u64;
            let row = self.namespaces.edit(namespace)?;
            row.counts.pending -= count;
            row.counts.leased += count;
            row.counts.deliveries += count;
            row.leased_at_ns = entry.now_ns;
            if let Some(rate) = rate {
                row.rate_tat_ns = rate.after(row.rate_tat_ns, entry.now_ns, count);
            }
            for late_ns in lateness {
                let mean_ns = row.lateness_mean_ns;
                row.lateness_mean_ns = match mean_ns {
                    0 => late_ns,
                    _ => mean_ns - mean_ns / 64 + late_ns / 64,
                };
            }
        }
        Ok((grants, more))
    }

    /// Takes up to `room` rows out of the index that are due in a window. Also says whether
    /// one was left for want of room.
    fn pop_due(
        &mut self,
        name: &Namespace,
        window: Window,
        room: usize,
    ) -> Result<(Vec<Popped>, bool), StateError> {
        let (mut popped, due_by_ns) = (Vec::new(), window.due_by_ns);
        let Some(row) = self.namespaces.get(name) else {
            return Ok((popped, false));
        };
        let namespace = row.id;
        for priority in Priority::highest_first() {
            let rank = rank(priority);
            let Some(row) = self.namespaces.get(name) else {
                break;
            };
            let head = &row.queues[usize::from(rank)];
            if head.count == 0 || head.cursor.0 > due_by_ns {
                continue;
            }
            let first = popped.len();
            // The first row that stays.
            let mut left = None;
            let from = RowKey::Due {
                namespace,
                rank,
                due_at_ns: head.cursor.0,
                id: head.cursor.1,
            };
            let to = RowKey::queue_end(namespace, rank);
            self.state.scan(&from, &to, &mut |key, row| {
                let RowKey::Due { due_at_ns, id, .. } = key else {
                    return true;
                };
                let Row::Due {
                    touched,
                    bytes,
                    max_attempts,
                    ttl_ms,
                } = row
                else {
                    return true;
                };
                let is_kept = touched && due_at_ns > window.now_ns;
                if due_at_ns > due_by_ns || popped.len() == room || is_kept {
                    left = Some((due_at_ns, id));
                    return false;
                }
                popped.push(Popped {
                    due_at_ns,
                    id,
                    priority,
                    touched,
                    bytes,
                    max_attempts,
                    ttl_ms,
                });
                true
            })?;
            self.take_out(namespace, rank, &popped[first..], left, window.now_ns)?;
            if popped.len() == room && left.is_some_and(|(due_at_ns, _)| due_at_ns <= due_by_ns) {
                return Ok((popped, true));
            }
        }
        Ok((popped, false))
    }

    /// Deletes popped rows of one queue, notes how far it is consumed, and moves
    /// its cursor up to the first row that stays. No row comes in below machine time, so
    /// the queue is consumed up to there when rows beyond it were popped.
    fn take_out(
        &mut self,
        namespace: NamespaceId,
        rank: u8,
        popped: &[Popped],
        left: Option<(u64, TaskId)>,
        now_ns: u64,
    ) -> Result<(), StateError> {
        for task in popped {
            if planted!("due-row-stays") && task.touched {
                continue;
            }
            self.state.delete(&RowKey::Due {
                namespace,
                rank,
                due_at_ns: task.due_at_ns,
                id: task.id,
            });
        }
        let head = &mut self.namespaces.edit(namespace)?.queues[usize::from(rank)];
        head.count = head
            .count
            .checked_sub(popped.len() as u64)
            .ok_or_else(|| StateError("a due queue holds more rows than it counts".into()))?;
        if let Some(last) = popped.last() {
            head.consumed_ns = last.due_at_ns.min(now_ns);
        }
        if let Some(place) = left {
            head.cursor = place;
        } else if head.count != 0 {
            return Err(StateError(
                "a due queue holds fewer rows than it counts".into(),
            ));
        }
        Ok(())
    }

    /// Where a popped task stands.
    fn popped_status(
        &self,
        namespace: NamespaceId,
        task: &Popped,
    ) -> Result<TaskStatus, StateError> {
        if task.touched {
            return self
                .status(namespace, task.id)?
                .ok_or_else(|| StateError(format!("task {} lost its status", task.id)));
        }
        Ok(TaskStatus {
            phase: Phase::Waiting {
                due_at_ns: task.due_at_ns,
            },
            deliveries: 0,
            failures: 0,
            returns: 0,
            first_due_at_ns: task.due_at_ns,
            priority: task.priority,
            bytes: task.bytes,
            max_attempts: task.max_attempts,
            ttl_ms: task.ttl_ms,
            last_error: String::new(),
        })
    }

    /// Writes the lease and status rows of a task. Returns its status.
    fn mark_leased(
        &mut self,
        namespace: NamespaceId,
        task: &Popped,
        mut status: TaskStatus,
        consumer: &str,
        token: LeaseToken,
        deadline_ns: u64,
    ) -> TaskStatus {
        status.deliveries = status.deliveries.saturating_add(1);
        status.phase = Phase::Leased {
            consumer: consumer.to_owned(),
            token,
            deadline_ns,
        };
        let key = RowKey::Status(namespace, task.id);
        let row = Row::Status(status.clone());
        match task.touched {
            true => self.state.put(key, row),
            false => self.state.put_new(key, row),
        }
        self.put_lease(deadline_ns, namespace, task.id, consumer.to_owned(), token);
        status
    }
}

/// Deals one each in turn; who is full drops out.
struct Deal<'a> {
    /// Who still has room, and how much.
    seats: Vec<(&'a str, u32)>,
    turn: usize,
}

impl<'a> Deal<'a> {
    fn new(takers: &'a [Taker]) -> Self {
        let seat = |taker: &'a Taker| (taker.consumer.as_str(), taker.room);
        Self {
            seats: takers.iter().map(seat).collect(),
            turn: 0,
        }
    }

    /// Leaves half of the room that each has. How much that is together.
    fn halve(&mut self) -> usize {
        let (mut turn, mut place, mut room) = (0, 0, 0);
        self.seats.retain_mut(|(_, left)| {
            *left /= 2;
            turn += usize::from(*left > 0 && place < self.turn);
            place += 1;
            room += *left as usize;
            *left > 0
        });
        self.turn = turn;
        room
    }

    fn next(&mut self) -> Option<&'a str> {
        if self.turn >= self.seats.len() {
            self.turn = 0;
        }
        let (consumer, room) = self.seats.get_mut(self.turn)?;
        let consumer = *consumer;
        *room -= 1;
        if *room == 0 {
            // The next one moves into this seat.
            self.seats.remove(self.turn);
        } else {
            self.turn += 1;
        }
        Some(consumer)
    }
}
