//! What a peer does for all consumers of the cluster while it leads: the dispatcher,
//! and who reports which consumers to it.

use std::collections::{BTreeSet, HashMap};

use z4_core::command::{Command, Grant, LeaseTasks};
use z4_core::dispatch::Dispatcher;
use z4_core::state::StateError;
use z4_core::{Namespace, View};

use crate::consumer_id;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{Output, Report, Retry};

/// [`Riders::recall`](z4_core::dispatch::Riders::recall), wherever the riders are.
pub(crate) type Recall<'a> = &'a mut dyn FnMut(&Namespace) -> Vec<LeaseTasks>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Leading {
    pub(crate) dispatcher: Dispatcher,
    /// Consumers of other peers, by the connection that reported them last.
    links: HashMap<u64, BTreeSet<String>>,
    link_of: HashMap<String, u64>,
    /// When tasks are due that other peers hold, in machine nanoseconds, and which peers:
    /// they are told of the clock then.
    held: BTreeSet<(u64, u64)>,
    /// The clock is not told before it shows this, in nanoseconds.
    tell_from_ns: u64,
}

impl Leading {
    pub(crate) fn become_leader(&mut self, machine_ns: u64) {
        self.forget_remote();
        self.dispatcher.become_leader(machine_ns);
    }

    pub(crate) fn step_down(&mut self) {
        self.forget_remote();
        self.dispatcher.step_down();
    }

    /// Leases were granted to consumers of no session here, by an entry with this stamp.
    /// `own` is this peer.
    pub(crate) fn held_elsewhere(&mut self, grants: &[Grant], stamp_ns: u64, own: u64) {
        for grant in grants.iter().filter(|g| g.due_at_ns > stamp_ns) {
            let raft_id = consumer_id::raft_id(&grant.consumer);
            if let Some(raft_id) = raft_id.filter(|raft_id| *raft_id != own) {
                self.held.insert((grant.due_at_ns, raft_id));
            }
        }
    }

    /// Says what the clock shows to those who hold tasks that are due by it. Gives the
    /// machine time of the next, in nanoseconds.
    pub(crate) fn tell_clock<E>(
        &mut self,
        (wall_ns, term): (u64, u64),
        out: &mut Outbox<E>,
    ) -> Option<u64> {
        let mut peers = BTreeSet::new();
        if wall_ns < self.tell_from_ns && self.tell_from_ns - wall_ns <= limits::CLOCK_TELL_NS {
            return Some(self.tell_from_ns).filter(|_| !self.held.is_empty());
        }
        while let Some((at_ns, raft_id)) = self.held.first().copied() {
            if at_ns > wall_ns {
                break;
            }
            self.held.pop_first();
            peers.insert(raft_id);
        }
        if !peers.is_empty() {
            self.tell_from_ns = wall_ns + limits::CLOCK_TELL_NS;
        }
        for to in peers {
            let at_ns = wall_ns;
            out.push(Output::TellClock { to, term, at_ns });
        }
        let first = self.held.first();
        first.map(|(at_ns, _)| (*at_ns).max(self.tell_from_ns))
    }

    fn forget_remote(&mut self) {
        self.held.clear();
        self.links.clear();
        self.link_of.clear();
    }

    /// Of a consumer of this peer.
    pub(crate) fn report(&mut self, report: Report) {
        match report {
            Report::There(report) => self.dispatcher.consumer_report(report),
            Report::Left(consumer) => self.dispatcher.consumer_gone(&consumer),
        }
    }

    /// Of a consumer of another peer.
    pub(crate) fn remote(&mut self, link: u64, report: Report) {
        let consumer = report.consumer();
        let is_taken = match &report {
            Report::There(_) => self.link(link, consumer),
            // Only what came from another peer may be taken away by one.
            Report::Left(_) => self.unlink(consumer),
        };
        if is_taken {
            self.report(report);
        }
    }

    /// A consumer is reported on a connection. `false`: there are too many.
    fn link(&mut self, link: u64, consumer: &str) -> bool {
        let known = self.link_of.get(consumer).copied();
        if known == Some(link) {
            return true;
        }
        if known.is_none() && self.link_of.len() >= limits::REMOTE_CONSUMER_COUNT_MAX {
            return false;
        }
        self.unlink(consumer);
        self.link_of.insert(consumer.to_owned(), link);
        let names = self.links.entry(link).or_default();
        names.insert(consumer.to_owned())
    }

    /// A connection ended: its consumers report anew, or are gone.
    pub(crate) fn remote_lost(&mut self, link: u64) {
        for consumer in self.links.remove(&link).unwrap_or_default() {
            self.link_of.remove(&consumer);
            self.dispatcher.consumer_gone(&consumer);
        }
    }

    fn unlink(&mut self, consumer: &str) -> bool {
        let Some(link) = self.link_of.remove(consumer) else {
            return false;
        };
        if let Some(names) = self.links.get_mut(&link) {
            names.remove(consumer);
            if names.is_empty() {
                self.links.remove(&link);
            }
        }
        true
    }

    /// Proposes what is due, in this term, and offers leases to ride with new tasks if
    /// they can be recalled. Gives the machine time of the next look, in nanoseconds.
    pub(crate) fn dispatch<E>(
        &mut self,
        (machine_ns, term): (u64, u64),
        view: &impl View,
        recall: Option<Recall<'_>>,
        out: &mut Outbox<E>,
    ) -> Result<Option<u64>, StateError> {
        let polled = match recall {
            Some(recall) => self.dispatcher.poll_offering(machine_ns, view, recall)?,
            None => self.dispatcher.poll(machine_ns, view)?,
        };
        for lease in polled.riders {
            out.push(Output::Offer { term, lease });
        }
        for command in polled.commands {
            let asked = match &command {
                Command::LeaseTasks(lease) => Asked::Lease {
                    term,
                    namespace: lease.namespace.clone(),
                    takers: lease.takers.clone(),
                },
                _ => Asked::Pulse,
            };
            out.propose(asked, command, Retry::Here { term });
        }
        Ok(polled.wake_at_ns)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use z4_core::dispatch::ConsumerReport;
    use z4_core::Namespace;

    fn report(consumer: &str) -> Report {
        Report::There(ConsumerReport {
            consumer: consumer.into(),
            namespace: Namespace::new("n").unwrap(),
            received_total: 0,
            allowed_total: 1,
            lease_ms: 0,
        })
    }

    #[test]
    fn the_end_of_an_old_connection_leaves_who_came_over_a_new_one() {
        let mut leading = Leading::default();
        leading.become_leader(1);
        leading.remote(1, report("a"));
        leading.remote(1, report("b"));
        leading.remote(2, report("a"));
        leading.remote_lost(1);
        assert_eq!(leading.link_of.keys().collect::<Vec<_>>(), ["a"]);
        for consumer in ["a", "nobody"] {
            leading.remote(3, Report::Left(consumer.into()));
        }
        assert!(leading.link_of.is_empty() && leading.links.is_empty());
    }
}
