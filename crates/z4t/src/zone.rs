//! Where the clock on the wall hangs: the zone in which times without an offset
//! are meant, and in which people see times.
//!
//! Both are settled once, before the command runs.

use std::collections::BTreeSet;
use std::io::Write;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::Timestamp;

use crate::error::Error;
use crate::moment::{self, Moment};

/// A zone by its name, such as Europe/Berlin, or by its offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Zone {
    zone: TimeZone,
    name: String,
}

impl Zone {
    fn utc() -> Self {
        Self {
            zone: TimeZone::UTC,
            name: "UTC".to_owned(),
        }
    }

    /// The zone of this machine, or of the variable TZ.
    fn local() -> Self {
        let zone = TimeZone::system();
        let name = match zone.iana_name() {
            Some(name) => format!("{name}, the local zone"),
            None => "the local zone".to_owned(),
        };
        Self { zone, name }
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_owned();
        if let Some(offset) = offset(text) {
            let zone = TimeZone::fixed(offset);
            return Ok(Self { zone, name });
        }
        match TimeZone::get(text) {
            Ok(zone) => Ok(Self { zone, name }),
            Err(_) => Err(
                "give a zone that this machine knows, such as Europe/Berlin or UTC, or an offset such as +01:00 (--tz=-05:00)"
                    .to_owned(),
            ),
        }
    }
}

/// `+01:00`, `-0530`, `+01`.
fn offset(text: &str) -> Option<Offset> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None => digits.split_at_checked(2)?,
    };
    let number = |text: &str, most: i32| {
        let is_right = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i32>().ok().filter(|n| is_right && *n <= most)
    };
    let hours = number(hours, 23)?;
    let minutes = match minutes {
        "" if !digits.contains(':') => 0,
        minutes => number(minutes, 59)?,
    };
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

struct Settled {
    meant: Zone,
    /// Whether nobody said which zone is meant.
    is_a_guess: bool,
    /// `None`: UTC, as programs read it.
    shown: Option<TimeZone>,
    /// Of which flags it was said how they are taken.
    said: Mutex<BTreeSet<String>>,
}

static SETTLED: OnceLock<Settled> = OnceLock::new();

/// Settles the zones by `--tz`, `--utc`, and whether the output is a terminal.
/// Only the first call counts.
pub(crate) fn settle(given: Option<Zone>, is_utc: bool, is_terminal: bool) {
    let _ = SETTLED.set(settled(given, is_utc, is_terminal));
}

fn settled(given: Option<Zone>, is_utc: bool, is_terminal: bool) -> Settled {
    let is_a_guess = given.is_none() && !is_utc;
    let shown = match (&given, is_utc) {
        (_, true) => None,
        (Some(zone), false) => Some(zone.zone.clone()),
        (None, false) => is_terminal.then(TimeZone::system),
    };
    let meant = match given {
        Some(zone) => zone,
        None if is_utc => Zone::utc(),
        None => Zone::local(),
    };
    Settled {
        meant,
        is_a_guess,
        shown,
        said: Mutex::default(),
    }
}

fn now() -> &'static Settled {
    SETTLED.get_or_init(|| settled(None, true, false))
}

/// The time that `flag` means. In the zone of this machine, when nobody named
/// another; then it says so on standard error, once for each flag.
///
/// # Errors
/// [`Error::Usage`] when the clocks of the zone never show this time, or twice.
pub(crate) fn meant(flag: &str, moment: Moment) -> Result<SystemTime, Error> {
    let wall = match moment {
        Moment::Exact(time) => return Ok(time),
        Moment::Wall(wall) => wall,
    };
    let settled = now();
    let (time, offset) =
        on_the_wall(&settled.meant, wall).map_err(|why| Error::Usage(format!("{flag}: {why}")))?;
    let is_new = settled
        .said
        .lock()
        .is_ok_and(|mut said| said.insert(flag.to_owned()));
    if settled.is_a_guess && is_new {
        let zone = &settled.meant.name;
        let taken = time.display_with_offset(offset);
        // With no standard error there is nobody to tell.
        let _ = writeln!(
            std::io::stderr(),
            "z4t: {flag}: {wall} has no offset: taken as {taken} ({zone}); --tz names another zone",
            wall = shown_wall(wall),
        );
    }
    SystemTime::try_from(time).map_err(|e| Error::Usage(format!("{flag}: {e}; give another time")))
}

/// As [`meant`], for a flag that may be left out.
///
/// # Errors
/// Those of [`meant`].
pub(crate) fn meant_if_given(
    flag: &str,
    moment: Option<Moment>,
) -> Result<Option<SystemTime>, Error> {
    moment.map(|moment| meant(flag, moment)).transpose()
}

fn on_the_wall(zone: &Zone, wall: DateTime) -> Result<(Timestamp, Offset), String> {
    let name = &zone.name;
    let shown = shown_wall(wall);
    let at = |offset: Offset| {
        let time = offset.to_timestamp(wall);
        time.map_err(|_| format!("{shown} is beyond what the calendar holds; give an earlier time"))
    };
    match zone.zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => Ok((at(offset)?, offset)),
        AmbiguousOffset::Gap { before, after } => {
            // The moment at which the clocks are put forward lies between the two.
            let (late, early) = (at(before)?, at(after)?);
            Err(format!(
                "there is no {shown} in {name}, for the clocks are put forward over it; give {} or {}",
                early.display_with_offset(before),
                late.display_with_offset(after)
            ))
        }
        AmbiguousOffset::Fold { before, after } => Err(format!(
            "{shown} comes twice in {name}, for the clocks are put back over it; give {} or {}",
            at(before)?.display_with_offset(before),
            at(after)?.display_with_offset(after)
        )),
    }
}

fn shown_wall(wall: DateTime) -> String {
    wall.to_string().replacen('T', " ", 1)
}

/// Writes a time for people: where they are, as far as they look on.
pub(crate) fn show(time: SystemTime) -> String {
    show_in(now().shown.as_ref(), time)
}

fn show_in(zone: Option<&TimeZone>, time: SystemTime) -> String {
    match (zone, Timestamp::try_from(time)) {
        (Some(zone), Ok(time)) => time.display_with_offset(zone.to_offset(time)).to_string(),
        _ => moment::show(time),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn berlin() -> Zone {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let name = "Europe/Berlin".to_owned();
        Zone { zone, name }
    }

    fn wall(text: &str) -> DateTime {
        match moment::parse(text).unwrap() {
            Moment::Wall(wall) => wall,
            other => panic!("{other:?}"),
        }
    }

    fn taken(text: &str) -> Result<String, String> {
        let (time, _) = on_the_wall(&berlin(), wall(text))?;
        Ok(time.to_string())
    }

    #[test]
    fn a_wall_time_has_the_offset_of_its_day() {
        assert_eq!(taken("2030-01-31 08:00").unwrap(), "2030-01-31T07:00:00Z");
        assert_eq!(taken("2030-07-31 08:00").unwrap(), "2030-07-31T06:00:00Z");
        let fixed: Zone = "-05:30".parse().unwrap();
        let (time, _) = on_the_wall(&fixed, wall("2030-01-31 08:00")).unwrap();
        assert_eq!(time.to_string(), "2030-01-31T13:30:00Z");
        let end = on_the_wall(&"-12".parse().unwrap(), wall("9999-12-31 23:59")).unwrap_err();
        assert!(end.contains("earlier"), "{end}");
    }

    #[test]
    fn times_that_clocks_skip_or_show_twice_are_told() {
        let gap = taken("2030-03-31 02:30").unwrap_err();
        assert!(gap.contains("there is no 2030-03-31 02:30:00"), "{gap}");
        assert!(gap.contains("2030-03-31T01:30:00+01:00"), "{gap}");
        assert!(gap.contains("2030-03-31T03:30:00+02:00"), "{gap}");
        let fold = taken("2030-10-27 02:30").unwrap_err();
        assert!(fold.contains("comes twice"), "{fold}");
        assert!(fold.contains("2030-10-27T02:30:00+02:00"), "{fold}");
        assert!(fold.contains("2030-10-27T02:30:00+01:00"), "{fold}");
    }

    #[test]
    fn zones_have_names_or_offsets() {
        for (text, seconds) in [
            ("+01:00", 3_600),
            ("-0530", -19_800),
            ("+14", 50_400),
            ("-00:00", 0),
        ] {
            let zone: Zone = text.parse().unwrap();
            let offset = zone.zone.to_offset(Timestamp::UNIX_EPOCH);
            assert_eq!(offset.seconds(), seconds, "{text}");
        }
        for text in [
            "",
            "+",
            "+1",
            "+24:00",
            "+01:60",
            "+01:",
            "+0100:",
            "Mars/Olympus",
            "+é",
        ] {
            let error = text.parse::<Zone>().unwrap_err();
            assert!(error.contains("Europe/Berlin"), "{text}");
        }
        assert_eq!("UTC".parse::<Zone>().unwrap().name, "UTC");
    }

    #[test]
    fn people_see_their_own_time_and_programs_utc() {
        let time: Timestamp = "2030-07-31T06:00:00.5Z".parse().unwrap();
        let time = SystemTime::try_from(time).unwrap();
        let berlin = berlin();
        let shown = |settled: Settled| show_in(settled.shown.as_ref(), time);
        let given = settled(Some(berlin.clone()), false, false);
        assert_eq!(shown(given), "2030-07-31T08:00:00.5+02:00");
        assert_eq!(shown(settled(None, false, false)), "2030-07-31T06:00:00.5Z");
        assert_eq!(shown(settled(None, true, true)), "2030-07-31T06:00:00.5Z");
        assert!(settled(None, false, true).shown.is_some());
        assert!(settled(None, false, false).is_a_guess);
        assert!(!settled(None, true, false).is_a_guess);
    }
}
