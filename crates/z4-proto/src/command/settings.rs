//! Settings of a namespace that change: a list of names and numbers, so that one
//! that is not there stays as it is and 0 is a value.

use protobuf::ProtobufEnum;
use z4_core::command::{NamespacePatch, SetNamespace};
use z4_core::settings::{Kind, SETTINGS};
use z4_core::state::RateLimit;

use crate::error::DecodeError;
use crate::generated::log;
use crate::parts;

use log::SettingName as Name;

/// The names that the table of settings does not have: a rate limit has them when
/// its period is not a second, and the pause is no setting but may change with them.
const COUNT: u32 = Name::SETTING_NAME_RATE_COUNT as u32;
const PERIOD_MS: u32 = Name::SETTING_NAME_RATE_PERIOD_MS as u32;
const PAUSED: u32 = Name::SETTING_NAME_PAUSED as u32;

pub(super) fn to_set(set: &SetNamespace) -> log::SetNamespace {
    let patch = &set.patch;
    let mut given: Vec<(u32, Option<u64>)> = vec![(PAUSED, patch.paused.map(u64::from))];
    for setting in SETTINGS {
        let number = setting.number;
        match &setting.kind {
            Kind::Span(values) | Kind::Count(values) => given.push((number, (values.given)(patch))),
            Kind::Small(values) => given.push((number, (values.given)(patch).map(u64::from))),
            Kind::Rate(values) => match (values.given)(patch) {
                // A rate per second is written as it was before there were other
                // periods.
                Some(rate) if rate.is_per_s() => given.push((number, Some(rate.count.into()))),
                Some(rate) => given.extend([
                    (COUNT, Some(rate.count.into())),
                    (PERIOD_MS, Some(rate.period_ms)),
                ]),
                None => {}
            },
        }
    }
    given.sort_unstable();
    let settings = given.into_iter().filter_map(|(number, value)| {
        Some(log::Setting {
            name: Name::from_i32(number.try_into().ok()?)?,
            value: value?,
            ..Default::default()
        })
    });
    log::SetNamespace {
        namespace: set.namespace.as_str().to_owned(),
        settings: settings.collect(),
        ..Default::default()
    }
}

pub(super) fn set(set: &log::SetNamespace) -> Result<SetNamespace, DecodeError> {
    parts::known("SetNamespace", &set.unknown_fields)?;
    let mut patch = NamespacePatch::default();
    let (mut count, mut period_ms) = (None, None);
    for setting in &set.settings {
        parts::known("Setting", &setting.unknown_fields)?;
        let value = setting.value;
        let range = || {
            let what = "Setting.value";
            DecodeError::Range { what, value }
        };
        let small = || u32::try_from(value).map_err(|_| range());
        match setting.name as u32 {
            PAUSED if value <= 1 => patch.paused = Some(value == 1),
            PAUSED => return Err(range()),
            COUNT => count = Some(small()?),
            PERIOD_MS => period_ms = Some(value),
            number => {
                let known = SETTINGS.iter().find(|setting| setting.number == number);
                let known = known.ok_or(DecodeError::Kind { what: "Setting" })?;
                match &known.kind {
                    Kind::Span(values) | Kind::Count(values) => (values.give)(&mut patch, value),
                    Kind::Small(values) => (values.give)(&mut patch, small()?),
                    Kind::Rate(values) => (values.give)(&mut patch, RateLimit::per_s(small()?)),
                }
            }
        }
    }
    match (count, period_ms) {
        (Some(count), Some(period_ms)) => patch.rate = Some(RateLimit { count, period_ms }),
        (None, None) => {}
        _ => return Err(DecodeError::Kind { what: "Setting" }),
    }
    Ok(SetNamespace {
        namespace: parts::namespace(&set.namespace)?,
        patch,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use z4_core::state::NamespaceConfig;
    use z4_core::Namespace;

    use super::*;

    /// A setting without a name here would vanish on its way through the log.
    #[test]
    fn every_setting_has_a_name_and_every_name_a_setting() {
        let mut numbers = vec![0, COUNT, PERIOD_MS, PAUSED];
        numbers.extend(SETTINGS.iter().map(|setting| setting.number));
        numbers.sort_unstable();
        let mut names: Vec<u32> = Name::values().iter().map(|name| *name as u32).collect();
        names.sort_unstable();
        assert_eq!(numbers, names);
    }
    /// Also one that no golden bytes have.
    #[test]
    fn every_setting_comes_back() {
        for setting in SETTINGS {
            let mut patch = NamespacePatch::default();
            setting.give_one(&mut patch, 3);
            let mut config = NamespaceConfig::default();
            patch.lay_over(&mut config);
            let back = parts::config(&parts::to_config(&config));
            assert_eq!(back.unwrap(), config, "{}", setting.name);
            let namespace = Namespace::new("a").unwrap();
            let command = SetNamespace { namespace, patch };
            let back = set(&to_set(&command));
            assert_eq!(back.unwrap(), command, "{}", setting.name);
        }
    }
}
