//! What holders say of their leases.

use z4_core::command::{Extend, ExtendLeases, Nack, NackTasks};
use z4_core::task::LeaseToken;

use crate::error::DecodeError;
use crate::generated::log;
use crate::parts;

pub(super) fn to_nacks(nacks: &NackTasks) -> log::NackTasks {
    // Whole patterns: a field that is added and not written does not compile.
    let nack = |nack: &Nack| {
        let Nack {
            id,
            token,
            delay_ms,
            error,
            permanent,
        } = nack;
        log::Nack {
            id: id.as_bytes().to_vec(),
            token: token.0,
            delay_ms_plus_1: delay_ms.map_or(0, |ms| ms.saturating_add(1)),
            error: error.clone(),
            permanent: *permanent,
            ..Default::default()
        }
    };
    log::NackTasks {
        namespace: nacks.namespace.as_str().to_owned(),
        nacks: nacks.nacks.iter().map(nack).collect(),
        ..Default::default()
    }
}

pub(super) fn nacks(nacks: log::NackTasks) -> Result<NackTasks, DecodeError> {
    parts::known("NackTasks", &nacks.unknown_fields)?;
    let nack = |nack: log::Nack| {
        parts::known("Nack", &nack.unknown_fields)?;
        Ok(Nack {
            id: parts::task_id("Nack.id", &nack.id)?,
            token: LeaseToken(nack.token),
            delay_ms: nack.delay_ms_plus_1.checked_sub(1),
            error: nack.error,
            permanent: nack.permanent,
        })
    };
    let all: Result<_, DecodeError> = nacks.nacks.into_iter().map(nack).collect();
    Ok(NackTasks {
        namespace: parts::namespace(&nacks.namespace)?,
        nacks: all?,
    })
}

pub(super) fn to_extends(extends: &ExtendLeases) -> log::ExtendLeases {
    let extend = |extend: &Extend| {
        let Extend {
            id,
            token,
            lease_ms,
        } = extend;
        log::Extend {
            id: id.as_bytes().to_vec(),
            token: token.0,
            lease_ms: *lease_ms,
            ..Default::default()
        }
    };
    log::ExtendLeases {
        namespace: extends.namespace.as_str().to_owned(),
        extends: extends.extends.iter().map(extend).collect(),
        ..Default::default()
    }
}

pub(super) fn extends(extends: log::ExtendLeases) -> Result<ExtendLeases, DecodeError> {
    parts::known("ExtendLeases", &extends.unknown_fields)?;
    let extend = |extend: log::Extend| {
        parts::known("Extend", &extend.unknown_fields)?;
        Ok(Extend {
            id: parts::task_id("Extend.id", &extend.id)?,
            token: LeaseToken(extend.token),
            lease_ms: extend.lease_ms,
        })
    };
    let all: Result<_, DecodeError> = extends.extends.into_iter().map(extend).collect();
    Ok(ExtendLeases {
        namespace: parts::namespace(&extends.namespace)?,
        extends: all?,
    })
}
