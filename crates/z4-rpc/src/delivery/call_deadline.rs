//! Until when a caller waits. gRPC says it by the clock of the machine, which may
//! be set at any time; a call is not over because somebody did.

use std::time::{Duration, Instant, SystemTime};

use grpcio::Deadline;

/// The two clocks may come apart by this much during a call: one that is slewed
/// gains less in a minute.
const APART_MAX: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct CallDeadline {
    deadline: Deadline,
    came_at: Instant,
    /// The same moment by the clock of the machine.
    came_wall: SystemTime,
}

impl CallDeadline {
    /// For a call that has just come.
    pub(crate) fn of(deadline: Deadline) -> Self {
        Self {
            deadline,
            came_at: Instant::now(),
            came_wall: SystemTime::now(),
        }
    }

    /// Whether the caller has left for sure. When the clock was set since it came,
    /// nobody knows: then it has not, and gRPC says what becomes of the answer.
    pub(crate) fn is_over(&self) -> bool {
        let wall = SystemTime::now().duration_since(self.came_wall).ok();
        is_trusted(self.came_at.elapsed(), wall) && self.deadline.exceeded()
    }
}

/// Whether the clock of the machine went on like one that nobody sets. `wall`:
/// how far it came meanwhile; `None`: back.
fn is_trusted(passed: Duration, wall: Option<Duration>) -> bool {
    wall.is_some_and(|wall| wall.abs_diff(passed) <= APART_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(after: Duration, came_wall: SystemTime) -> CallDeadline {
        CallDeadline {
            deadline: after.into(),
            came_at: Instant::now(),
            came_wall,
        }
    }

    #[test]
    fn a_clock_that_was_set_ends_no_call() {
        let hour = Duration::from_secs(3_600);
        let now = SystemTime::now;
        // A busy machine may stop this thread between the two clocks.
        assert!((0..1_000).any(|_| after(Duration::ZERO, now()).is_over()));
        assert!(!after(hour, now()).is_over());
        // The clock was put forward, back, since the call came.
        assert!(!after(Duration::ZERO, now() - hour).is_over());
        assert!(!after(Duration::ZERO, now() + hour).is_over());
    }

    #[test]
    fn a_clock_that_is_slewed_is_trusted() {
        let minute = Duration::from_secs(60);
        let apart = Duration::from_millis(30);
        assert!(is_trusted(minute, Some(minute + apart)));
        assert!(is_trusted(minute, Some(minute - apart)));
        assert!(!is_trusted(minute, Some(minute + 4 * apart)));
        assert!(!is_trusted(minute, Some(minute - 4 * apart)));
        assert!(!is_trusted(minute, None));
    }
}
