//! When a call is tried again, and how long to wait before.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::error::ErrorKind;

/// Whether a call may be given to a peer after another has had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repeat {
    /// Nothing is changed: asking twice is as good as once, and there is no
    /// outcome that could be unknown.
    Read,
    /// As `Read`, but one peer is asked, once: the answer takes long.
    ReadOnce,
    /// A change that does no harm when it is made twice.
    Safe,
    /// As `Safe`, and also when the outcome is unknown: a request id makes two
    /// of them one.
    Identified,
    /// As `Read`, but each peer is asked once: the answer "not now" is one.
    Round,
    /// A change that is sent to one peer, once: a second answer would be about a
    /// changed state.
    Never,
}

impl Repeat {
    /// Whether a call that failed so may be tried again.
    pub(crate) fn allows(self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Unavailable | ErrorKind::Cancelled => !self.is_once(),
            // Of one try: the time of the call is looked at elsewhere.
            ErrorKind::DeadlineExceeded => !self.is_once(),
            ErrorKind::Unknown => self == Self::Identified,
            _ => false,
        }
    }

    /// Whether one peer is asked, once.
    pub(crate) fn is_once(self) -> bool {
        matches!(self, Self::ReadOnce | Self::Never)
    }

    /// Whether nothing is changed by it.
    pub(crate) fn is_read(self) -> bool {
        matches!(self, Self::Read | Self::ReadOnce | Self::Round)
    }
}

/// Pauses between tries: doubling, with jitter, so that clients that failed
/// together do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next pause: between a half and the whole of the span, as `share` (0
    /// to 1) says.
    pub(crate) fn next(&mut self, share: f64) -> Duration {
        let span = self.next;
        self.next = (span * 2).min(self.max);
        span.mul_f64(0.5 + share.clamp(0.0, 1.0) / 2.0)
    }

    /// As [`Backoff::next`] with a random share.
    pub(crate) fn pause(&mut self) -> Duration {
        self.next(random_share())
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

/// 64 random bits: the standard library draws them for its hash tables.
pub(crate) fn random_bits() -> u64 {
    RandomState::new().hash_one(0u8)
}

fn random_share() -> f64 {
    random_bits() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_is_repeated_only_with_an_id() {
        assert!(Repeat::Identified.allows(ErrorKind::Unknown));
        assert!(!Repeat::Safe.allows(ErrorKind::Unknown));
        assert!(!Repeat::Round.allows(ErrorKind::Unknown));
        assert!(!Repeat::Never.allows(ErrorKind::Unavailable));
        assert!(!Repeat::ReadOnce.allows(ErrorKind::Unavailable));
        for repeat in [
            Repeat::Read,
            Repeat::Safe,
            Repeat::Identified,
            Repeat::Round,
        ] {
            assert!(repeat.allows(ErrorKind::Unavailable));
            assert!(!repeat.allows(ErrorKind::NotFound));
            assert!(!repeat.allows(ErrorKind::Exhausted));
            assert!(!repeat.allows(ErrorKind::Unauthenticated));
            assert!(!repeat.allows(ErrorKind::PermissionDenied));
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(20), ms(100));
        let whole: Vec<_> = (0..4).map(|_| backoff.next(1.0)).collect();
        assert_eq!(whole, [ms(20), ms(40), ms(80), ms(100)]);
        assert_eq!(backoff.next(0.0), ms(50));
        backoff.reset();
        assert_eq!(backoff.next(0.0), ms(10));
    }

    #[test]
    fn pauses_have_jitter() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let pauses: std::collections::HashSet<_> = (0..8).map(|_| backoff.pause()).collect();
        assert!(pauses.len() > 1, "{pauses:?}");
    }
}
