//! The parts that several messages share.

use protobuf::{Message, RepeatedField, UnknownFields};
use z4_core::each_setting;
use z4_core::state::{NamespaceConfig, RateLimit};
use z4_core::task::{DeathReason, Priority, WallTime};
use z4_core::{Namespace, TaskId};

use crate::error::DecodeError;
use crate::generated::log;

/// The bytes of a message.
pub(crate) fn write(message: &impl Message) -> Vec<u8> {
    // The one error of writing to memory is a message with required fields
    // unset, and proto3 has none.
    #[allow(clippy::expect_used)]
    message
        .write_to_bytes()
        .expect("a proto3 message can be written to memory")
}

pub(crate) fn parse<M: Message>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError> {
    M::parse_from_bytes(bytes).map_err(|source| DecodeError::Wire { what, source })
}

/// Refuses fields that this version does not know.
pub(crate) fn known(what: &'static str, unknown: &UnknownFields) -> Result<(), DecodeError> {
    match unknown.iter().map(|(number, _)| number).min() {
        None => Ok(()),
        Some(number) => Err(DecodeError::UnknownField { what, number }),
    }
}

pub(crate) fn bytes_of<const N: usize>(
    what: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length {
        what,
        len: bytes.len(),
        want: N,
    })
}

pub(crate) fn task_id(what: &'static str, bytes: &[u8]) -> Result<TaskId, DecodeError> {
    bytes_of(what, bytes).map(TaskId::from_bytes)
}

pub(crate) fn namespace(name: &str) -> Result<Namespace, DecodeError> {
    Namespace::new(name).map_err(DecodeError::Namespace)
}

pub(crate) fn priority(what: &'static str, value: u32) -> Result<Priority, DecodeError> {
    let range = DecodeError::Range {
        what,
        value: u64::from(value),
    };
    match u8::try_from(value) {
        Ok(value) => Priority::new(value).map_err(|_| range),
        Err(_) => Err(range),
    }
}

pub(crate) fn to_wall_time(at: WallTime) -> log::WallTime {
    log::WallTime {
        seconds: at.seconds,
        nanos: at.nanos,
        ..Default::default()
    }
}

pub(crate) fn wall_time(at: &log::WallTime) -> Result<WallTime, DecodeError> {
    known("WallTime", &at.unknown_fields)?;
    Ok(WallTime {
        seconds: at.seconds,
        nanos: at.nanos,
    })
}

pub(crate) fn to_labels(labels: &[(String, String)]) -> RepeatedField<log::Label> {
    let label = |(key, value): &(String, String)| log::Label {
        key: key.clone(),
        value: value.clone(),
        ..Default::default()
    };
    labels.iter().map(label).collect()
}

pub(crate) fn labels(
    labels: RepeatedField<log::Label>,
) -> Result<Vec<(String, String)>, DecodeError> {
    let label = |label: log::Label| {
        known("Label", &label.unknown_fields)?;
        Ok((label.key, label.value))
    };
    labels.into_iter().map(label).collect()
}

/// Copies each setting into the field of the same name. The rate limit is two fields
/// in a message, and is left to the caller.
macro_rules! copy {
    ($from:ident $to:ident $($(#[$doc:meta])* $field:ident: $type:ty, $name:ident: $kind:ident $row:tt;)*) => {
        $(copy!(@$kind $from $to $field);)*
    };
    (@Rate $from:ident $to:ident $field:ident) => {};
    (@$kind:ident $from:ident $to:ident $field:ident) => { $to.$field = $from.$field };
}

pub(crate) fn to_config(config: &NamespaceConfig) -> log::NamespaceConfig {
    let rate = config.rate;
    let mut out = log::NamespaceConfig {
        rate_count: rate.count,
        rate_period_ms: if rate.is_per_s() { 0 } else { rate.period_ms },
        ..Default::default()
    };
    each_setting!(copy config out);
    out
}

pub(crate) fn config(config: &log::NamespaceConfig) -> Result<NamespaceConfig, DecodeError> {
    known("NamespaceConfig", &config.unknown_fields)?;
    let count = config.rate_count;
    let mut out = NamespaceConfig {
        rate: match config.rate_period_ms {
            0 => RateLimit::per_s(count),
            period_ms => RateLimit { count, period_ms },
        },
        ..NamespaceConfig::default()
    };
    each_setting!(copy config out);
    Ok(out)
}

pub(crate) fn death(what: &'static str, number: u32) -> Result<DeathReason, DecodeError> {
    let reason = u8::try_from(number).ok().and_then(DeathReason::from_number);
    let value = u64::from(number);
    reason.ok_or(DecodeError::Range { what, value })
}
