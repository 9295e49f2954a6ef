//! The counts of a namespace: what its row says, what its tasks account for,
//! and what its tables hold.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;

use super::{scan, Report};
use crate::state::{MetaRow, NamespaceRow, Row, RowKey, StateError, View};
use crate::task::{Namespace, NamespaceId, Priority};

/// How many rows of each kind a namespace has, or should have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Counted {
    pub(super) due: [u64; Priority::COUNT],
    pub(super) leases: u64,
    pub(super) dead: u64,
    pub(super) timers: u64,
    pub(super) statuses: u64,
    pub(super) expiries: u64,
}

/// A namespace and what was counted of it.
pub(super) struct Tally {
    pub(super) name: Namespace,
    pub(super) row: NamespaceRow,
    /// Bytes of all bodies.
    pub(super) bytes: u64,
    /// What bodies and request ids account for.
    pub(super) wanted: Counted,
    /// What the tables hold.
    pub(super) found: Counted,
}

/// All namespaces.
pub(super) struct Tallies(BTreeMap<NamespaceId, Tally>);

impl Tallies {
    pub(super) fn load(
        view: &(impl View + ?Sized),
        meta: &MetaRow,
        report: &mut Report,
    ) -> Result<Self, StateError> {
        let mut all = BTreeMap::new();
        scan(view, RowKey::namespaces(), |key, row| {
            report.rows += 1;
            match (key, row) {
                (RowKey::Meta, _) => {}
                (RowKey::Namespace(name), Row::Namespace(row)) => {
                    if row.id.0 >= meta.namespace_next {
                        let next = meta.namespace_next;
                        let id = row.id.0;
                        report.say(|| format!("namespace {name}: its number {id} is not below the next one, which is {next}"));
                    }
                    match all.entry(row.id) {
                        Entry::Vacant(free) => {
                            free.insert(Tally::new(name, *row));
                        }
                        Entry::Occupied(taken) => {
                            let taken: &Tally = taken.get();
                            report.say(|| {
                                format!("namespaces {name} and {} share a number", taken.name)
                            });
                        }
                    }
                }
                (key, _) => report.say(|| format!("{key:?} has a row of another kind")),
            }
            Ok(())
        })?;
        Ok(Self(all))
    }

    /// The tally of a namespace that a row names; `None`, with a violation, when
    /// there is no such namespace.
    pub(super) fn of(
        &mut self,
        namespace: NamespaceId,
        report: &mut Report,
        key: impl std::fmt::Debug,
    ) -> Option<&mut Tally> {
        let found = self.0.get_mut(&namespace);
        if found.is_none() {
            report.say(|| format!("{key:?} is of a namespace that is not"));
        }
        found
    }

    /// Compares what was counted, once everything is.
    pub(super) fn settle(&self, report: &mut Report) {
        for tally in self.0.values() {
            tally.settle(report);
        }
    }
}

impl Tally {
    fn new(name: Namespace, row: NamespaceRow) -> Self {
        Self {
            name,
            row,
            bytes: 0,
            wanted: Counted::default(),
            found: Counted::default(),
        }
    }

    fn settle(&self, report: &mut Report) {
        let name = &self.name;
        let (wanted, found) = (&self.wanted, &self.found);
        if wanted != found {
            report.say(|| {
                format!("namespace {name}: its tables hold {found:?}, but its tasks and request ids account for {wanted:?}")
            });
        }
        let counts = &self.row.counts;
        let parts = [
            counts.pending,
            counts.leased,
            counts.done,
            counts.dead,
            counts.cancelled,
            counts.purged,
        ];
        if parts.into_iter().try_fold(0, u64::checked_add) != Some(counts.created) {
            report.say(|| {
                format!("namespace {name}: created is not the sum of where tasks are or went: {counts:?}")
            });
        }
        if counts.failures > counts.deliveries {
            report.say(|| format!("namespace {name}: more failures than deliveries: {counts:?}"));
        }
        let pending: u64 = found.due.iter().sum();
        let here = (pending, found.leases, found.dead, self.bytes);
        if here != (counts.pending, counts.leased, counts.dead, counts.bytes) {
            report.say(|| {
                format!("namespace {name}: has (pending, leased, dead, bytes) {here:?}, but counts {counts:?}")
            });
        }
        for (place, (head, rows)) in self.row.queues.iter().zip(found.due).enumerate() {
            if head.count != rows {
                report.say(|| {
                    format!("namespace {name}: queue {place} has {rows} rows, but counts {head:?}")
                });
            }
        }
    }
}
