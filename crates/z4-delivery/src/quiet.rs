//! Which news need not wake the delivery thread.
//!
//! New tasks matter to the dispatcher of a leader that has consumers, and to nobody
//! else: whoever comes later looks into the state for what is due. So a peer without
//! consumers need not wake its delivery thread for each of them.

use z4_core::{planted, Event};

use crate::input::AppliedEvents;

/// Decides for each run of applied entries whether the sessions must be told of it.
///
/// Whoever applies asks after the commit. The delivery thread says who is there before it
/// looks into the state. Both calls take one lock, so one comes before the other: either
/// the delivery thread finds the new task in the state, or whoever applies finds that
/// somebody waits.
///
/// ```
/// use z4_core::{Event, Namespace};
/// use z4_delivery::{AppliedEvents, Quiet};
///
/// let due = Event::Due { namespace: Namespace::new("mail").unwrap(), due_at_ns: 7 };
/// let applied = AppliedEvents { events: vec![due], stamp_ns: 7, ..AppliedEvents::default() };
/// let mut quiet = Quiet::default();
/// assert!(quiet.must_tell(&applied), "nobody has said yet who is there");
/// assert_eq!(quiet.before_turn(false), None);
/// assert!(!quiet.must_tell(&applied));
/// assert_eq!(quiet.before_turn(true), Some(7), "machine time, as of what was kept back");
/// assert!(quiet.must_tell(&applied));
/// ```
#[derive(Debug, Default)]
pub struct Quiet {
    is_nobody_there: bool,
    /// What the sessions were told last.
    pulse_next_ns: Option<u64>,
    kept_stamp_ns: Option<u64>,
}

impl Quiet {
    /// Whether the sessions must be told of this run now. If not, only its machine time
    /// is of interest, which [`before_turn`](Self::before_turn) gives.
    pub fn must_tell(&mut self, applied: &AppliedEvents) -> bool {
        let is_due_only = |event: &Event| matches!(event, Event::Due { .. });
        let may_wait = (self.is_nobody_there || planted!("due-kept-from-consumers"))
            && !applied.is_jump
            && applied.pulse_next_ns == self.pulse_next_ns
            && applied.events.iter().all(is_due_only);
        if may_wait {
            self.kept_stamp_ns = Some(applied.stamp_ns);
        } else {
            self.pulse_next_ns = applied.pulse_next_ns;
        }
        !may_wait
    }

    /// To be called before each turn, with whether anybody awaits tasks that fall due
    /// ([`Sessions::turn_shared`](crate::Sessions::turn_shared) does). Gives the machine
    /// time that was kept back, in nanoseconds.
    pub fn before_turn(&mut self, awaits_due: bool) -> Option<u64> {
        self.is_nobody_there = !awaits_due;
        self.kept_stamp_ns.take()
    }
}
