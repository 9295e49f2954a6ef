//! Rates as people write them: 5/s, 100/h, 3/90s.

use std::time::Duration;

use z4_client::Rate;

use crate::moment;

/// The units that have a letter, in seconds.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// Reads a rate; `0` is none, whatever its unit.
pub(crate) fn parse(text: &str) -> Result<Rate, String> {
    let complaint = || {
        "give COUNT/UNIT with a unit of s, m, h or d, such as 5/s or 100/h; or 0 for no limit"
            .to_owned()
    };
    let (count, period) = match text.split_once('/') {
        None if text == "0" => ("0", "s"),
        None => return Err(complaint()),
        Some(parts) => parts,
    };
    let count = count.trim().parse().map_err(|_| complaint())?;
    let period = period.trim();
    let period = match UNITS.iter().find(|(unit, _)| *unit == period) {
        Some((_, seconds)) => Duration::from_secs(*seconds),
        None => moment::span(period).map_err(|_| complaint())?,
    };
    Ok(Rate { count, period })
}

/// Writes a rate so that it can be read again.
pub(crate) fn show(rate: &Rate) -> String {
    let is_whole = rate.period.subsec_nanos() == 0;
    let unit = UNITS
        .iter()
        .find(|(_, seconds)| is_whole && *seconds == rate.period.as_secs());
    match unit {
        Some((unit, _)) => format!("{}/{unit}", rate.count),
        None => {
            let period = moment::show_span(rate.period).replace(' ', "");
            format!("{}/{period}", rate.count)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn rates_as_people_write_them() {
        for (text, count, seconds, shown) in [
            ("5/s", 5, 1, "5/s"),
            ("7 / m", 7, 60, "7/m"),
            ("100/h", 100, 3_600, "100/h"),
            ("2/d", 2, 86_400, "2/d"),
            ("2/24h", 2, 86_400, "2/d"),
            ("3/90s", 3, 90, "3/1m30s"),
            ("0", 0, 1, "0/s"),
        ] {
            let rate = parse(text).unwrap();
            let period = Duration::from_secs(seconds);
            assert_eq!(rate, Rate { count, period }, "{text}");
            assert_eq!(show(&rate), shown);
            assert_eq!(parse(shown).unwrap(), rate);
        }
        for text in ["", "5", "/s", "5/", "-1/s", "5/y", "5000000000/s", "1.5/s"] {
            assert!(parse(text).unwrap_err().contains("100/h"), "{text}");
        }
    }
}
