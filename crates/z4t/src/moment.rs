//! Times in and out: RFC 3339 with any offset, or the time of a clock on the wall;
//! spans as people write them.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::civil::DateTime;
use jiff::Timestamp;

/// A time from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// With its offset: the same everywhere.
    Exact(SystemTime),
    /// What a clock on a wall shows: `crate::zone` knows which one.
    Wall(DateTime),
}

/// Reads a time, with an offset or without.
pub(crate) fn parse(text: &str) -> Result<Moment, &'static str> {
    let exact = Timestamp::from_str(text).and_then(SystemTime::try_from);
    if let Ok(time) = exact {
        return Ok(Moment::Exact(time));
    }
    DateTime::from_str(text)
        .map(Moment::Wall)
        .map_err(|_| "give a time like 2030-01-31T08:00:00Z, \"2030-01-31 08:00:00+01:00\" or, in your own zone or that of --tz, \"2030-01-31 08:00\"")
}

/// Writes a time in UTC. One that no calendar holds is written as its seconds.
pub(crate) fn show(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.to_string(),
        Err(_) => beyond(time),
    }
}

/// A time that no calendar holds.
pub(crate) fn beyond(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::from(since.as_secs()),
        Err(before) => -i128::from(before.duration().as_secs()),
    };
    format!("{seconds} s after 1970")
}

/// Reads a span.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; give a span like 30s, 5m or 1h30m"))
}

/// Reads a span in whole seconds, which the leader's clock counts.
pub(crate) fn whole_seconds(text: &str) -> Result<Duration, String> {
    let span = span(text)?;
    if span.subsec_nanos() > 0 {
        return Err("give whole seconds; for finer times use --at".to_owned());
    }
    match span.as_secs() > z4_core::limits::TTS_SECONDS_MAX.unsigned_abs() {
        true => Err("give less than 100 years".to_owned()),
        false => Ok(span),
    }
}

/// Reads a span, or `forever` for none.
pub(crate) fn span_or_forever(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "forever" => Ok(None),
        _ => span(text).map(Some).map_err(|e| format!("{e}, or forever")),
    }
}

/// Writes a span as people do, to the millisecond (below one: exactly).
pub(crate) fn show_span(span: Duration) -> String {
    let shown = match span >= Duration::from_millis(1) {
        true => Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        false => span,
    };
    humantime::format_duration(shown).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn exact(text: &str) -> SystemTime {
        match parse(text) {
            Ok(Moment::Exact(time)) => time,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn offsets_count() {
        let utc = exact("2030-01-31T07:00:00Z");
        assert_eq!(utc, exact("2030-01-31T08:00:00+01:00"));
        assert_eq!(utc, exact("2030-01-31 08:00:00+01:00"), "a blank for the T");
        assert_eq!(utc, exact("2030-01-31 07:00Z"));
        let seconds = Duration::from_secs(1_896_073_200);
        assert_eq!(utc, SystemTime::UNIX_EPOCH + seconds);
        let later = exact("2030-01-31T07:00:00.25Z");
        assert_eq!(later, utc + Duration::from_millis(250));
    }

    #[test]
    fn without_an_offset_it_is_what_a_clock_on_the_wall_shows() {
        let wall = jiff::civil::date(2030, 1, 31).at(7, 0, 0, 0);
        for text in ["2030-01-31T07:00:00", "2030-01-31 07:00"] {
            assert_eq!(parse(text), Ok(Moment::Wall(wall)), "{text}");
        }
        let midnight = jiff::civil::date(2030, 1, 31).at(0, 0, 0, 0);
        assert_eq!(parse("2030-01-31"), Ok(Moment::Wall(midnight)));
        for text in [
            "",
            "now",
            "07:00",
            "2030-13-01",
            "2030-01-31 25:00",
            "31.1.2030",
        ] {
            assert!(parse(text).unwrap_err().contains("2030-01-31"), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_what_was_read() {
        for text in ["2030-01-31T07:00:00Z", "1969-12-31T23:59:59.5Z"] {
            assert_eq!(show(exact(text)), text);
        }
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 50);
        assert!(show(far).contains("after 1970"));
    }

    #[test]
    fn spans_as_people_write_them() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h30m", 5_400),
            ("1h 30m", 5_400),
        ] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(whole_seconds(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(span("250ms"), Ok(Duration::from_millis(250)));
        assert!(whole_seconds("1500ms").unwrap_err().contains("whole"));
        assert!(whole_seconds("200years").unwrap_err().contains("100 years"));
        assert!(span("soon").unwrap_err().contains("1h30m"));
        assert_eq!(span_or_forever("forever"), Ok(None));
        assert_eq!(span_or_forever("1m"), Ok(Some(Duration::from_secs(60))));
    }

    #[test]
    fn spans_are_shown_to_the_millisecond() {
        assert_eq!(show_span(Duration::from_secs(5_400)), "1h 30m");
        assert_eq!(show_span(Duration::from_nanos(1_500_999_999)), "1s 500ms");
        assert_eq!(show_span(Duration::from_micros(250)), "250us");
        assert_eq!(show_span(Duration::ZERO), "0s");
    }
}
