//! How a run went.

use std::collections::BTreeMap;

use crate::sometimes::Seen;

/// Counts of one run, or of many.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Fingerprint of all that happened; of the last run that was added.
    pub trace: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Events of the simulation.
    pub events: u64,
    /// Entries committed.
    pub entries: u64,
    /// Requests of clients, each try counted.
    pub operations: u64,
    /// Creates acknowledged.
    pub acked: u64,
    /// Deliveries.
    pub leases: u64,
    /// Reads answered.
    pub reads: u64,
    /// Operations on tasks whose order was found (linearizability).
    pub linearized: u64,
    /// Crashes of peers.
    pub crashes: u64,
    /// Snapshots installed.
    pub installs: u64,
    /// Changes of members that were committed.
    pub changes: u64,
    /// Leaders elected.
    pub leaders: u64,
    /// Comparisons of the states of two peers at one index.
    pub hashes: u64,
    /// From the end of the faults until all was settled, in milliseconds; the
    /// longest of many runs.
    pub settled_ms: u64,
    /// Of that, what came on top of the lead that machine time had over the
    /// clocks; the longest of many runs.
    pub beyond_lead_ms: u64,
    /// Sudden faults, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rare events that were reached.
    pub seen: Seen,
}

impl Report {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        // Every field is named: a new one cannot be forgotten here.
        let Self {
            trace,
            simulated_ms,
            events,
            entries,
            operations,
            acked,
            leases,
            reads,
            linearized,
            crashes,
            installs,
            changes,
            leaders,
            hashes,
            settled_ms,
            beyond_lead_ms,
            faults,
            seen,
        } = other;
        self.trace = *trace;
        self.simulated_ms += simulated_ms;
        self.events += events;
        self.entries += entries;
        self.operations += operations;
        self.acked += acked;
        self.leases += leases;
        self.reads += reads;
        self.linearized += linearized;
        self.crashes += crashes;
        self.installs += installs;
        self.changes += changes;
        self.leaders += leaders;
        self.hashes += hashes;
        self.settled_ms = self.settled_ms.max(*settled_ms);
        self.beyond_lead_ms = self.beyond_lead_ms.max(*beyond_lead_ms);
        for (name, count) in faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in seen {
            *self.seen.entry(name).or_default() += count;
        }
    }
}
