//! How long the caller of a call waits, so that it is answered before it leaves:
//! what is known then says more than DEADLINE_EXCEEDED, which gRPC would say.

use std::mem::size_of;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use grpcio::Deadline;

use crate::limits;

/// gRPC's moment, as its C header has it. grpcio keeps it in [`Deadline`] and
/// does not show it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Moment {
    seconds: i64,
    nanos: i32,
    _clock: u32,
}

const _: () = assert!(size_of::<Deadline>() == size_of::<Moment>());

/// When a call that has just come must be answered; `None`: whenever.
pub(crate) fn answer_by(deadline: Deadline) -> Option<Instant> {
    let left = time_left(deadline)?;
    let margin = (left / limits::ANSWER_MARGIN_SHARE)
        .clamp(limits::ANSWER_MARGIN_MIN, limits::ANSWER_MARGIN_MAX);
    Instant::now().checked_add(left.saturating_sub(margin))
}

/// What is left of a call; `None`: it has no deadline.
fn time_left(deadline: Deadline) -> Option<Duration> {
    // SAFETY: `Deadline` is a struct with one field, of the C type that `Moment`
    // mirrors; both have one size (asserted above), so the field is all there is.
    // Every bit pattern is a `Moment`.
    #[allow(unsafe_code)]
    let moment = unsafe { std::mem::transmute::<Deadline, Moment>(deadline) };
    let seconds = u64::try_from(moment.seconds).ok()?;
    let nanos = u32::try_from(moment.nanos).unwrap_or(0);
    let at = UNIX_EPOCH.checked_add(Duration::new(seconds, nanos.min(999_999_999)))?;
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    // A call without a deadline has its own at the end of time.
    (left < limits::CALL_TIME_MAX).then_some(left)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_time_left_is_read_and_a_margin_kept() {
        for ms in [50, 1_000, 10_000, 3_600_000] {
            let asked = Duration::from_millis(ms);
            let left = time_left(asked.into()).unwrap();
            assert!(
                left <= asked && left > asked.mul_f64(0.5),
                "{left:?} of {asked:?}"
            );
            let now = Instant::now();
            let by = answer_by(asked.into()).unwrap();
            assert!(by < now + asked, "{ms} ms");
            assert!(
                by + limits::ANSWER_MARGIN_MAX >= now + asked.mul_f64(0.5),
                "{ms} ms"
            );
        }
        assert_eq!(time_left(Duration::ZERO.into()), Some(Duration::ZERO));
    }

    #[test]
    fn a_call_without_a_deadline_has_none() {
        // gRPC's end of time, and what a time zone or a rounding makes of it.
        let endless = || Deadline::from(Duration::from_secs(i64::MAX as u64));
        let century = Duration::from_secs(100 * 365 * 86_400);
        assert_eq!(answer_by(century.into()), None);
        assert_eq!(answer_by(endless()), None, "{:?}", time_left(endless()));
    }
}
