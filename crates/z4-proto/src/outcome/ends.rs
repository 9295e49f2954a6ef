//! What became of each lease or task of a command.

use z4_core::command::{Ended, LeaseLost, Unchanged};

use crate::error::DecodeError;
use crate::generated::log;
use crate::parts;

use log::{
    ChangedOne_oneof_result as ChangedKind, EndedOne_oneof_result as EndedKind,
    ExtendedOne_oneof_result as ExtendedKind,
};

pub(super) fn to_ended(result: &Result<Ended, LeaseLost>) -> log::EndedOne {
    log::EndedOne {
        result: Some(match result {
            Ok(Ended::Done) => EndedKind::done(true),
            Ok(Ended::Waiting { due_at_ns }) => EndedKind::due_at_ns(*due_at_ns),
            Ok(Ended::Dead(reason)) => EndedKind::dead(*reason as u32),
            Err(lost) => EndedKind::lost(*lost as u32),
        }),
        ..Default::default()
    }
}

pub(super) fn ended(one: &log::EndedOne) -> Result<Result<Ended, LeaseLost>, DecodeError> {
    Ok(match &one.result {
        Some(EndedKind::done(_)) => Ok(Ended::Done),
        Some(EndedKind::due_at_ns(due_at_ns)) => Ok(Ended::Waiting {
            due_at_ns: *due_at_ns,
        }),
        Some(EndedKind::dead(reason)) => Ok(Ended::Dead(parts::death("EndedOne.dead", *reason)?)),
        Some(EndedKind::lost(number)) => Err(lost("EndedOne.lost", *number)?),
        None => return Err(DecodeError::Kind { what: "EndedOne" }),
    })
}

pub(super) fn to_extended(result: &Result<u64, LeaseLost>) -> log::ExtendedOne {
    log::ExtendedOne {
        result: Some(match result {
            Ok(deadline_ns) => ExtendedKind::deadline_ns(*deadline_ns),
            Err(lost) => ExtendedKind::lost(*lost as u32),
        }),
        ..Default::default()
    }
}

pub(super) fn extended(one: &log::ExtendedOne) -> Result<Result<u64, LeaseLost>, DecodeError> {
    Ok(match &one.result {
        Some(ExtendedKind::deadline_ns(deadline_ns)) => Ok(*deadline_ns),
        Some(ExtendedKind::lost(number)) => Err(lost("ExtendedOne.lost", *number)?),
        None => {
            return Err(DecodeError::Kind {
                what: "ExtendedOne",
            })
        }
    })
}

pub(super) fn to_changed(result: &Result<(), Unchanged>) -> log::ChangedOne {
    log::ChangedOne {
        result: Some(match result {
            Ok(()) => ChangedKind::done(true),
            Err(Unchanged::Gone) => ChangedKind::gone(true),
            Err(Unchanged::Leased {
                consumer,
                deadline_ns,
            }) => ChangedKind::leased(log::ChangedLeased {
                consumer: consumer.clone(),
                deadline_ns: *deadline_ns,
                ..Default::default()
            }),
            Err(Unchanged::Dead) => ChangedKind::dead(true),
            Err(Unchanged::Waiting) => ChangedKind::waiting(true),
            Err(Unchanged::Full) => ChangedKind::full(true),
        }),
        ..Default::default()
    }
}

pub(super) fn changed(one: log::ChangedOne) -> Result<Result<(), Unchanged>, DecodeError> {
    Ok(match one.result {
        Some(ChangedKind::done(_)) => Ok(()),
        Some(ChangedKind::gone(_)) => Err(Unchanged::Gone),
        Some(ChangedKind::leased(leased)) => Err(Unchanged::Leased {
            consumer: leased.consumer,
            deadline_ns: leased.deadline_ns,
        }),
        Some(ChangedKind::dead(_)) => Err(Unchanged::Dead),
        Some(ChangedKind::waiting(_)) => Err(Unchanged::Waiting),
        Some(ChangedKind::full(_)) => Err(Unchanged::Full),
        None => return Err(DecodeError::Kind { what: "ChangedOne" }),
    })
}

fn lost(what: &'static str, number: u32) -> Result<LeaseLost, DecodeError> {
    let lost = u8::try_from(number).ok().and_then(LeaseLost::from_number);
    let value = u64::from(number);
    lost.ok_or(DecodeError::Range { what, value })
}
