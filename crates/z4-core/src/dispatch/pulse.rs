//! The pulse: when leases have to be expired.

use crate::limits::PULSE_RETRY_NS;
use crate::planted::planted;

/// One pulse in flight at most.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// The earliest deadline of a live lease, in machine nanoseconds.
    pub(super) deadline_ns: Option<u64>,
    /// When the pulse in flight was proposed.
    sent_at_ns: Option<u64>,
}

impl Pulse {
    /// Whether a pulse is to be proposed now; it then counts as in flight.
    pub(super) fn beats(&mut self, now_ns: u64) -> bool {
        let beats = self.wake_at_ns().is_some_and(|at_ns| at_ns <= now_ns);
        if beats {
            self.sent_at_ns = Some(now_ns);
        }
        beats
    }

    /// When to propose one.
    pub(super) fn wake_at_ns(&self) -> Option<u64> {
        let deadline_ns = self.deadline_ns?;
        if planted!("pulse-not-repeated") && self.sent_at_ns.is_some() {
            return None;
        }
        let retry_ns = self
            .sent_at_ns
            .map(|at_ns| at_ns.saturating_add(PULSE_RETRY_NS));
        Some(retry_ns.map_or(deadline_ns, |retry_ns| retry_ns.max(deadline_ns)))
    }

    pub(super) fn forget_in_flight(&mut self) {
        self.sent_at_ns = None;
    }

    /// This peer leads no more: the next leader has a pulse of its own.
    pub(super) fn step_down(&mut self) {
        if !planted!("pulse-not-repeated") {
            self.sent_at_ns = None;
        }
    }
}
