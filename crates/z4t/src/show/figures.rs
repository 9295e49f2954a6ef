//! Figures for people.

/// Bytes as people read them: three digits or so.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let fits = |(_, shift): &&(&str, u32)| count >> shift > 0;
    let (unit, shift) = UNITS.iter().find(fits).copied().unwrap_or(("B", 0));
    let whole = count >> shift;
    match (shift, whole) {
        (0, _) | (_, 10..) => format!("{whole} {unit}"),
        _ => format!("{:.1} {unit}", count as f64 / f64::from(1_u32 << shift)),
    }
}

/// A rate: with a decimal where it is small.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        ..10.0 => format!("{per_second:.1}"),
        _ => format!("{per_second:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_people_read_them() {
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (12 << 20, "12 MiB"),
            (5 << 29, "2.5 GiB"),
            (u64::MAX, "17179869183 GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn small_rates_have_a_decimal() {
        let shown = [0.0, 0.25, 9.94, 10.4, 12_345.6].map(rate);
        assert_eq!(shown, ["0.0", "0.2", "9.9", "10", "12346"]);
    }
}
