//! Times and spans of the wire to those of Rust and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protobuf::well_known_types::{Duration as WireSpan, Timestamp};
use protobuf::SingularPtrField;

use crate::error::{Error, ErrorKind};

/// A time; `None` when it is not given, or not one that this system can hold.
pub(crate) fn time(time: &SingularPtrField<Timestamp>) -> Option<SystemTime> {
    let time = time.as_ref()?;
    let nanos = Duration::from_nanos(u64::try_from(time.get_nanos()).ok()?);
    let seconds = Duration::from_secs(time.get_seconds().unsigned_abs());
    let whole = if time.get_seconds() < 0 {
        UNIX_EPOCH.checked_sub(seconds)?
    } else {
        UNIX_EPOCH.checked_add(seconds)?
    };
    whole.checked_add(nanos)
}

/// A span; `None` when it is not given. A negative one is none at all.
pub(crate) fn span(span: &SingularPtrField<WireSpan>) -> Option<Duration> {
    let span = span.as_ref()?;
    let seconds = u64::try_from(span.get_seconds()).unwrap_or(0);
    let nanos = u32::try_from(span.get_nanos()).unwrap_or(0);
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into())))
}

/// A span that may be negative, in nanoseconds.
pub(crate) fn signed_ns(span: &WireSpan) -> i64 {
    let seconds_ns = span.get_seconds().saturating_mul(1_000_000_000);
    seconds_ns.saturating_add(i64::from(span.get_nanos()))
}

/// The time as the wire has it: whole seconds down, nanoseconds up from there.
pub(crate) fn wire_time(time: SystemTime) -> Timestamp {
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(since) => (whole(since), since.subsec_nanos()),
        Err(before) => {
            let before = before.duration();
            match before.subsec_nanos() {
                0 => (-whole(before), 0),
                nanos => (-whole(before) - 1, 1_000_000_000 - nanos),
            }
        }
    };
    let mut timestamp = Timestamp::default();
    timestamp.set_seconds(seconds);
    timestamp.set_nanos(i32::try_from(nanos).unwrap_or(0));
    timestamp
}

/// The span as the wire has it.
pub(crate) fn wire_span(span: Duration) -> WireSpan {
    let mut wire = WireSpan::default();
    wire.set_seconds(whole(span));
    wire.set_nanos(i32::try_from(span.subsec_nanos()).unwrap_or(0));
    wire
}

/// Seconds; what does not fit is far beyond every limit of the peers.
fn whole(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX - 1)
}

/// A part of an answer that must be there.
pub(crate) fn given<T: Default>(part: SingularPtrField<T>, name: &str) -> Result<T, Error> {
    part.into_option().ok_or_else(|| {
        let message = format!("the answer holds no {name}; is the peer an older z4?");
        Error::new(ErrorKind::Internal, message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_come_back_as_they_went() {
        let second = Duration::from_secs(1);
        let times = [
            UNIX_EPOCH,
            UNIX_EPOCH + second * 1_896_073_200 + Duration::from_nanos(7),
            UNIX_EPOCH - second * 3,
            UNIX_EPOCH - Duration::from_millis(1_500),
        ];
        for given in times {
            let wire = wire_time(given);
            assert!((0..1_000_000_000).contains(&wire.get_nanos()));
            assert_eq!(time(&SingularPtrField::some(wire)), Some(given));
        }
        assert_eq!(wire_time(times[3]).get_seconds(), -2);
    }

    #[test]
    fn what_no_clock_holds_is_no_time() {
        let mut odd = Timestamp::default();
        odd.set_nanos(-1);
        assert_eq!(time(&SingularPtrField::some(odd)), None);
        let mut far = Timestamp::default();
        far.set_seconds(i64::MAX);
        far.set_nanos(i32::MAX);
        assert_eq!(time(&SingularPtrField::some(far)), None);
        assert_eq!(time(&SingularPtrField::none()), None);
    }

    #[test]
    fn spans_come_back_as_they_went() {
        for given in [Duration::ZERO, Duration::from_millis(1_500), Duration::MAX] {
            let back = span(&SingularPtrField::some(wire_span(given))).unwrap();
            assert!(back == given || given == Duration::MAX);
        }
        let mut negative = WireSpan::default();
        negative.set_seconds(-1);
        assert_eq!(
            span(&SingularPtrField::some(negative)),
            Some(Duration::ZERO)
        );
    }
}
