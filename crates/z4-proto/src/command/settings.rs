//! Settings of a namespace that change: a list of names and numbers, so that one
//! that is not there stays as it is and 0 is a value.

use z4_core::command::{NamespacePatch, SetNamespace};
use z4_core::state::RateLimit;

use crate::error::DecodeError;
use crate::generated::log;
use crate::parts;

use log::SettingName as Name;

pub(super) fn to_set(set: &SetNamespace) -> log::SetNamespace {
    let NamespacePatch {
        lease_ms,
        dedupe_ms,
        max_attempts,
        backoff_min_ms,
        backoff_max_ms,
        pending_max,
        bytes_max,
        leased_max,
        rate,
        rate_burst,
        dead_keep_ms,
        dead_keep_count,
        paused,
    } = set.patch;
    // A rate per second is written as it was before there were other periods.
    let (rate_per_s, rate) = match rate {
        Some(rate) if rate.is_per_s() => (Some(rate.count), None),
        rate => (None, rate),
    };
    let settings = [
        (Name::SETTING_NAME_LEASE_MS, lease_ms),
        (Name::SETTING_NAME_DEDUPE_MS, dedupe_ms),
        (Name::SETTING_NAME_MAX_ATTEMPTS, max_attempts.map(u64::from)),
        (Name::SETTING_NAME_BACKOFF_MIN_MS, backoff_min_ms),
        (Name::SETTING_NAME_BACKOFF_MAX_MS, backoff_max_ms),
        (Name::SETTING_NAME_PENDING_MAX, pending_max),
        (Name::SETTING_NAME_BYTES_MAX, bytes_max),
        (Name::SETTING_NAME_LEASED_MAX, leased_max),
        (Name::SETTING_NAME_RATE_PER_S, rate_per_s.map(u64::from)),
        (Name::SETTING_NAME_RATE_BURST, rate_burst.map(u64::from)),
        (Name::SETTING_NAME_DEAD_KEEP_MS, dead_keep_ms),
        (Name::SETTING_NAME_DEAD_KEEP_COUNT, dead_keep_count),
        (Name::SETTING_NAME_PAUSED, paused.map(u64::from)),
        (Name::SETTING_NAME_RATE_COUNT, rate.map(|r| r.count.into())),
        (Name::SETTING_NAME_RATE_PERIOD_MS, rate.map(|r| r.period_ms)),
    ];
    let given = settings.into_iter().filter_map(|(name, value)| {
        Some(log::Setting {
            name,
            value: value?,
            ..Default::default()
        })
    });
    log::SetNamespace {
        namespace: set.namespace.as_str().to_owned(),
        settings: given.collect(),
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
        let small = || {
            let what = "Setting.value";
            u32::try_from(value).map_err(|_| DecodeError::Range { what, value })
        };
        match setting.name {
            Name::SETTING_NAME_LEASE_MS => patch.lease_ms = Some(value),
            Name::SETTING_NAME_DEDUPE_MS => patch.dedupe_ms = Some(value),
            Name::SETTING_NAME_MAX_ATTEMPTS => patch.max_attempts = Some(small()?),
            Name::SETTING_NAME_BACKOFF_MIN_MS => patch.backoff_min_ms = Some(value),
            Name::SETTING_NAME_BACKOFF_MAX_MS => patch.backoff_max_ms = Some(value),
            Name::SETTING_NAME_PENDING_MAX => patch.pending_max = Some(value),
            Name::SETTING_NAME_BYTES_MAX => patch.bytes_max = Some(value),
            Name::SETTING_NAME_LEASED_MAX => patch.leased_max = Some(value),
            Name::SETTING_NAME_RATE_PER_S => {
                patch.rate = Some(RateLimit::per_s(small()?));
            }
            Name::SETTING_NAME_RATE_BURST => patch.rate_burst = Some(small()?),
            Name::SETTING_NAME_DEAD_KEEP_MS => patch.dead_keep_ms = Some(value),
            Name::SETTING_NAME_DEAD_KEEP_COUNT => patch.dead_keep_count = Some(value),
            Name::SETTING_NAME_PAUSED if value <= 1 => patch.paused = Some(value == 1),
            Name::SETTING_NAME_PAUSED => {
                let what = "Setting.value";
                return Err(DecodeError::Range { what, value });
            }
            Name::SETTING_NAME_RATE_COUNT => count = Some(small()?),
            Name::SETTING_NAME_RATE_PERIOD_MS => period_ms = Some(value),
            Name::SETTING_NAME_UNSPECIFIED => return Err(DecodeError::Kind { what: "Setting" }),
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
