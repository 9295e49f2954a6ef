//! The parts that several messages share.

use protobuf::{Message, RepeatedField, UnknownFields};
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

pub(crate) fn bytes16(what: &'static str, bytes: &[u8]) -> Result<[u8; 16], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length {
        what,
        len: bytes.len(),
        want: 16,
    })
}

pub(crate) fn task_id(what: &'static str, bytes: &[u8]) -> Result<TaskId, DecodeError> {
    bytes16(what, bytes).map(TaskId::from_bytes)
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

pub(crate) fn to_config(config: &NamespaceConfig) -> log::NamespaceConfig {
    log::NamespaceConfig {
        lease_ms: config.lease_ms,
        dedupe_ms: config.dedupe_ms,
        max_attempts: config.max_attempts,
        backoff_min_ms: config.backoff_min_ms,
        backoff_max_ms: config.backoff_max_ms,
        pending_max: config.pending_max,
        bytes_max: config.bytes_max,
        leased_max: config.leased_max,
        rate_count: config.rate.count,
        rate_burst: config.rate_burst,
        dead_keep_ms: config.dead_keep_ms,
        dead_keep_count: config.dead_keep_count,
        rate_period_ms: match config.rate.is_per_s() {
            true => 0,
            false => config.rate.period_ms,
        },
        ..Default::default()
    }
}

pub(crate) fn config(config: &log::NamespaceConfig) -> Result<NamespaceConfig, DecodeError> {
    known("NamespaceConfig", &config.unknown_fields)?;
    Ok(NamespaceConfig {
        lease_ms: config.lease_ms,
        dedupe_ms: config.dedupe_ms,
        max_attempts: config.max_attempts,
        backoff_min_ms: config.backoff_min_ms,
        backoff_max_ms: config.backoff_max_ms,
        pending_max: config.pending_max,
        bytes_max: config.bytes_max,
        leased_max: config.leased_max,
        rate: match config.rate_period_ms {
            0 => RateLimit::per_s(config.rate_count),
            period_ms => RateLimit {
                count: config.rate_count,
                period_ms,
            },
        },
        rate_burst: config.rate_burst,
        dead_keep_ms: config.dead_keep_ms,
        dead_keep_count: config.dead_keep_count,
    })
}

pub(crate) fn death(what: &'static str, number: u32) -> Result<DeathReason, DecodeError> {
    let reason = u8::try_from(number).ok().and_then(DeathReason::from_number);
    let value = u64::from(number);
    reason.ok_or(DecodeError::Range { what, value })
}
