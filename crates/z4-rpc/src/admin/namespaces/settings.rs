//! From settings and a field mask (<https://google.aip.dev/161>) to a patch.

use std::ops::RangeInclusive;

use protobuf::well_known_types::Duration;
use z4_core::command::NamespacePatch;
use z4_core::settings::{Kind, Setting, SETTINGS};
use z4_core::state::RateLimit;
use z4_core::{each_setting, limits as core, Refusal};
use z4_proto::generated::admin::NamespaceSettings;

use crate::validate::span_ms;

/// The fields that a mask may name. The rate limit has two.
fn fields() -> impl Iterator<Item = &'static str> {
    let name = |setting: &'static Setting| match setting.kind {
        Kind::Rate(_) => "rate_per_s",
        Kind::Span(_) | Kind::Count(_) | Kind::Small(_) => setting.name,
    };
    SETTINGS.iter().map(name).chain(["rate"])
}

/// What changes. A field that the mask names and that is not given goes back to
/// its default.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub(crate) fn patch(
    settings: &NamespaceSettings,
    mask: &[String],
) -> Result<NamespacePatch, Refusal> {
    let all = mask.iter().any(|name| name == "*");
    let unknown = |name: &&String| *name != "*" && !fields().any(|field| field == *name);
    if let Some(name) = mask.iter().find(unknown) {
        let fields: Vec<_> = fields().collect();
        let rule = format!("has {name:?}; it must be * or among {}", fields.join(", "));
        return Err(Refusal::invalid("update_mask", rule));
    }
    // Whether a field changes, when its value is, or is not, zero.
    let changes = |field: &str, zero: bool| {
        if mask.is_empty() {
            !zero
        } else {
            all || mask.iter().any(|name| name == field)
        }
    };
    let span = |field, given: Option<&Duration>, default_ms, bounds: RangeInclusive<u64>| {
        let zero = given.is_none_or(|span| span.seconds == 0 && span.nanos == 0);
        match given {
            _ if !changes(field, zero) => Ok(None),
            None => Ok(Some(default_ms)),
            Some(span) => span_ms(field, span, *bounds.start(), *bounds.end()).map(Some),
        }
    };
    let mut patch = NamespacePatch::default();
    macro_rules! read {
        ($($(#[$doc:meta])* $field:ident: $type:ty, $name:ident: $kind:ident {
            number: $number:literal,
            default: $default:expr,
            bounds: $bounds:expr,
            few: $few:expr,
        };)*) => {
            $(patch.$field = read!(@$kind $name $default, $bounds);)*
        };
        (@Span $name:ident $default:expr, $bounds:expr) => {
            span(stringify!($name), settings.$name.as_ref(), $default, $bounds)?
        };
        (@Rate $name:ident $default:expr, $bounds:expr) => {
            rate(settings, changes)?
        };
        (@$number:ident $name:ident $default:expr, $bounds:expr) => {
            changes(stringify!($name), settings.$name == 0).then_some(settings.$name)
        };
    }
    each_setting!(read);
    patch.check()?;
    Ok(patch)
}

/// The rate limit, which has two names: `rate`, and `rate_per_s` of clients that
/// know of no other period than a second. `changes` says whether a field changes,
/// when its value is, or is not, zero.
fn rate(
    settings: &NamespaceSettings,
    changes: impl Fn(&str, bool) -> bool,
) -> Result<Option<RateLimit>, Refusal> {
    let given = match settings.rate.as_ref() {
        Some(rate) if rate.count > 0 => Some(RateLimit {
            count: rate.count,
            period_ms: match rate.period.as_ref() {
                None => core::RATE_PERIOD_MS_MIN,
                Some(period) => span_ms(
                    "rate.period",
                    period,
                    core::RATE_PERIOD_MS_MIN,
                    core::RATE_PERIOD_MS_MAX,
                )?,
            },
        }),
        _ => None,
    };
    let per_s = settings.rate_per_s;
    if per_s > core::RATE_COUNT_MAX {
        let rule = format!("is {per_s}; it must be 0 to {}", core::RATE_COUNT_MAX);
        return Err(Refusal::invalid("rate_per_s", rule));
    }
    match (
        changes("rate", given.is_none()),
        changes("rate_per_s", per_s == 0),
    ) {
        (false, false) => Ok(None),
        (true, false) => Ok(Some(given.unwrap_or_default())),
        (false, true) => Ok(Some(RateLimit::per_s(per_s))),
        (true, true) => match given {
            None => Ok(Some(RateLimit::per_s(per_s))),
            // What an answer said is sent back.
            Some(rate) if per_s == 0 || per_s == rate.per_s_rounded_up() => Ok(Some(rate)),
            Some(rate) => Err(Refusal::invalid(
                "rate_per_s",
                format!("is {per_s}, but rate is {rate}; give one of the two"),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::convert::duration_of_ms;

    fn given() -> NamespaceSettings {
        let mut settings = NamespaceSettings::default();
        settings.set_lease(duration_of_ms(7_000));
        settings.set_backoff_min(duration_of_ms(0));
        settings.set_max_attempts(5);
        settings.set_rate_per_s(9);
        settings
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn without_a_mask_what_is_not_zero_changes() {
        let expected = NamespacePatch {
            lease_ms: Some(7_000),
            max_attempts: Some(5),
            rate: Some(RateLimit::per_s(9)),
            ..NamespacePatch::default()
        };
        assert_eq!(patch(&given(), &[]).unwrap(), expected);
        let nothing = patch(&NamespaceSettings::default(), &[]).unwrap();
        assert_eq!(nothing, NamespacePatch::default());
    }

    #[test]
    fn a_mask_says_what_changes_and_zero_counts() {
        let mask = names(&["backoff_min", "backoff_max", "leased_max", "rate_per_s"]);
        let expected = NamespacePatch {
            backoff_min_ms: Some(0),
            // Not given: its default.
            backoff_max_ms: Some(600_000),
            leased_max: Some(0),
            rate: Some(RateLimit::per_s(9)),
            ..NamespacePatch::default()
        };
        assert_eq!(patch(&given(), &mask).unwrap(), expected);
    }

    #[test]
    fn a_star_replaces_all() {
        let all = patch(&given(), &names(&["*"])).unwrap();
        let mut expected = NamespacePatch::default();
        for setting in SETTINGS {
            match &setting.kind {
                Kind::Span(values) | Kind::Count(values) => {
                    (values.give)(&mut expected, values.default);
                }
                Kind::Small(values) => (values.give)(&mut expected, values.default),
                Kind::Rate(values) => (values.give)(&mut expected, values.default),
            }
        }
        expected.lease_ms = Some(7_000);
        expected.max_attempts = Some(5);
        expected.backoff_min_ms = Some(0);
        expected.rate = Some(RateLimit::per_s(9));
        assert_eq!(all, expected);
        // Each field has a name, and each name a field.
        for name in fields() {
            let one = patch(&given(), &names(&[name])).unwrap();
            assert_ne!(one, NamespacePatch::default(), "{name}");
        }
    }

    #[test]
    fn a_rate_has_two_names_and_one_value() {
        let hourly = RateLimit {
            count: 100,
            period_ms: 3_600_000,
        };
        let with = |count: u32, period_ms: u64, per_s: u32| {
            let mut settings = NamespaceSettings::default();
            settings.mut_rate().set_count(count);
            settings.mut_rate().set_period(duration_of_ms(period_ms));
            settings.set_rate_per_s(per_s);
            settings
        };
        let rate = |settings: &NamespaceSettings, mask: &[&str]| {
            patch(settings, &names(mask)).map(|patch| patch.rate)
        };
        let hour = with(100, 3_600_000, 0);
        assert_eq!(rate(&hour, &[]), Ok(Some(hourly)));
        assert_eq!(rate(&hour, &["rate"]), Ok(Some(hourly)));
        assert_eq!(rate(&hour, &["rate_burst"]), Ok(None));
        // An old client sends back what it was shown, rounded up.
        let shown = with(100, 3_600_000, 1);
        assert_eq!(rate(&shown, &["*"]), Ok(Some(hourly)));
        assert_eq!(rate(&shown, &["rate_per_s"]), Ok(Some(RateLimit::per_s(1))));
        let refused = rate(&with(100, 3_600_000, 5), &["*"]).unwrap_err();
        assert!(refused.message.starts_with("rate_per_s"), "{refused}");
        // None, by either name.
        let none = NamespaceSettings::default();
        assert_eq!(rate(&none, &["rate"]), Ok(Some(RateLimit::NONE)));
        assert_eq!(rate(&none, &["rate_per_s"]), Ok(Some(RateLimit::NONE)));
        assert_eq!(rate(&none, &[]), Ok(None));
        // Without a period, a second.
        let mut second = NamespaceSettings::default();
        second.mut_rate().set_count(7);
        assert_eq!(rate(&second, &[]), Ok(Some(RateLimit::per_s(7))));
        for period_ms in [0, 999, 86_400_001] {
            let refused = rate(&with(1, period_ms, 0), &["rate"]).unwrap_err();
            assert!(refused.message.starts_with("rate.period"), "{refused}");
        }
        let refused = rate(&with(1_000_001, 60_000, 0), &[]).unwrap_err();
        assert!(refused.message.starts_with("rate.count"), "{refused}");
    }

    #[test]
    fn bad_fields_are_named() {
        let with = |change: fn(&mut NamespaceSettings)| {
            let mut settings = given();
            change(&mut settings);
            settings
        };
        let table = [
            ("update_mask", given(), names(&["leese"])),
            ("update_mask", given(), names(&["lease", ""])),
            ("update_mask", given(), names(&["*", "settings.lease"])),
            (
                "lease",
                with(|s| s.set_lease(duration_of_ms(0))),
                names(&["lease"]),
            ),
            (
                "lease",
                with(|s| s.set_lease(duration_of_ms(9))),
                Vec::new(),
            ),
            ("lease", with(|s| s.mut_lease().seconds = -1), Vec::new()),
            (
                "dedupe_window",
                with(|s| s.set_dedupe_window(duration_of_ms(core::DEDUPE_MS_MAX + 1))),
                Vec::new(),
            ),
            (
                "max_attempts",
                with(|s| s.set_max_attempts(u32::MAX)),
                Vec::new(),
            ),
            (
                "rate_per_s",
                with(|s| s.set_rate_per_s(u32::MAX)),
                Vec::new(),
            ),
            (
                "rate_burst",
                with(|s| s.set_rate_burst(u32::MAX)),
                Vec::new(),
            ),
        ];
        for (field, settings, mask) in table {
            let refusal = patch(&settings, &mask).expect_err(field);
            assert!(refusal.message.starts_with(field), "{field}: {refusal}");
        }
    }
}
