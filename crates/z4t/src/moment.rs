//! Times in and out: RFC 3339 with any offset, spans in whole seconds.

use protobuf::well_known_types::Timestamp;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// A time as the wire has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    seconds: i64,
    nanos: i32,
}

impl From<Moment> for Timestamp {
    fn from(moment: Moment) -> Self {
        let mut timestamp = Self::default();
        timestamp.set_seconds(moment.seconds);
        timestamp.set_nanos(moment.nanos);
        timestamp
    }
}

/// Reads a time with its offset.
pub(crate) fn parse(text: &str) -> Result<Moment, &'static str> {
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "give a time like 2030-01-31T08:00:00Z or 2030-01-31T08:00:00+01:00")?;
    let nanos = i32::try_from(time.nanosecond()).unwrap_or(0);
    Ok(Moment {
        seconds: time.unix_timestamp(),
        nanos,
    })
}

/// Writes a time in UTC. One that no calendar holds is written as its seconds.
pub(crate) fn show(timestamp: &Timestamp) -> String {
    let seconds = timestamp.get_seconds();
    let nanos = time::Duration::nanoseconds(i64::from(timestamp.get_nanos()));
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.checked_add(nanos))
        .map(|time| time.to_offset(UtcOffset::UTC))
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// Reads a span. The wire counts whole seconds from the leader's clock.
pub(crate) fn whole_seconds(text: &str) -> Result<i64, String> {
    let span = humantime::parse_duration(text)
        .map_err(|e| format!("{e}; give a span like 30s, 5m or 2days"))?;
    if span.subsec_nanos() > 0 {
        return Err("give whole seconds; for finer times use --at".to_owned());
    }
    i64::try_from(span.as_secs()).map_err(|_| "give less than 100 years".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn offsets_count() {
        let utc = parse("2030-01-31T07:00:00Z").unwrap();
        assert_eq!(utc, parse("2030-01-31T08:00:00+01:00").unwrap());
        assert_eq!(utc.seconds, 1_896_073_200);
        assert_eq!(parse("2030-01-31T07:00:00.25Z").unwrap().nanos, 250_000_000);
        assert!(parse("2030-01-31 07:00").is_err());
    }

    #[test]
    fn what_is_shown_is_what_was_read() {
        for text in ["2030-01-31T07:00:00Z", "1969-12-31T23:59:59.5Z"] {
            assert_eq!(show(&parse(text).unwrap().into()), text);
        }
        let mut far = Timestamp::default();
        far.set_seconds(i64::MAX);
        assert!(show(&far).contains("after 1970"));
    }

    #[test]
    fn spans_are_whole_seconds() {
        assert_eq!(whole_seconds("5m"), Ok(300));
        assert_eq!(whole_seconds("1h 30m"), Ok(5_400));
        assert!(whole_seconds("1500ms").unwrap_err().contains("whole"));
        assert!(whole_seconds("soon").is_err());
    }
}
