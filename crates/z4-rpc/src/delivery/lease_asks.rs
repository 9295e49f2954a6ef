//! What clients ask for leases, checked field by field. A bad field is answered
//! in its place; what else was asked goes on.

use z4_core::command::{Extend, Nack};
use z4_core::limits;
use z4_core::task::LeaseToken;
use z4_core::{Refusal, TaskId};
use z4_delivery::endings::{Ask, Item};
use z4_delivery::Key;
use z4_proto::generated::collection::{self as wire, LeaseOutcome, LeaseRef, LeaseResult};

use crate::limits as rpc_limits;
use crate::validate::span_ms;

/// What is asked, or the answer that it cannot be.
pub(crate) type Asked = Result<Item, LeaseResult>;

/// An ack.
pub(crate) fn ack(lease: LeaseRef) -> Asked {
    item(lease.task_id, lease.lease_token, |key| Ok(Ask::Ack(key)))
}

/// A release.
pub(crate) fn release(lease: LeaseRef) -> Asked {
    item(lease.task_id, lease.lease_token, |key| {
        Ok(Ask::Release(key))
    })
}

/// A nack.
pub(crate) fn nack(mut nack: wire::Nack) -> Asked {
    let delay = nack.delay.take();
    let (error, permanent) = (std::mem::take(&mut nack.error), nack.permanent);
    item(nack.task_id, nack.lease_token, move |(id, token)| {
        let delay = delay.as_ref();
        let delay_ms = delay.map(|delay| span_ms("delay", delay, 0, limits::DELAY_MS_MAX));
        Ok(Ask::Nack(Nack {
            id,
            token,
            delay_ms: delay_ms.transpose()?,
            error: cut(error, limits::ERROR_LEN_MAX),
            permanent,
        }))
    })
}

/// An extend.
pub(crate) fn extend(extend: wire::Extend) -> Asked {
    let lease = extend.lease;
    item(extend.task_id, extend.lease_token, move |(id, token)| {
        let lease_ms = lease_ms(lease.as_ref())?;
        Ok(Ask::Extend(Extend {
            id,
            token,
            lease_ms,
        }))
    })
}

/// The length of a lease in milliseconds; 0, the namespace's setting, when it is
/// not given.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the limits.
pub(crate) fn lease_ms(
    lease: Option<&protobuf::well_known_types::Duration>,
) -> Result<u64, Refusal> {
    let (least, most) = (limits::LEASE_MS_MIN, limits::LEASE_MS_MAX);
    lease.map_or(Ok(0), |lease| span_ms("lease", lease, least, most))
}

fn item(task_id: String, token: u64, ask: impl FnOnce(Key) -> Result<Ask, Refusal>) -> Asked {
    let checked = task_id.parse::<TaskId>().and_then(|id| {
        if token == 0 {
            let rule = "must be the one of the delivery";
            return Err(Refusal::invalid("lease_token", rule));
        }
        ask((id, LeaseToken(token)))
    });
    match checked {
        Ok(ask) => Ok(Item {
            task_id,
            deadline_ns: None,
            ask,
        }),
        Err(refusal) => Err(invalid(task_id, token, &refusal)),
    }
}

/// The answer to what cannot be asked.
pub(crate) fn invalid(task_id: String, token: u64, refusal: &Refusal) -> LeaseResult {
    let mut result = LeaseResult::default();
    result.set_task_id(cut(task_id, rpc_limits::ECHO_LEN_MAX));
    result.set_lease_token(token);
    result.set_outcome(LeaseOutcome::LEASE_OUTCOME_INVALID);
    result.set_message(refusal.to_string());
    result
}

/// The text up to so many bytes, not cut within a character.
pub(crate) fn cut(mut text: String, len_max: usize) -> String {
    if text.len() > len_max {
        let ends = (0..=len_max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(ends.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use protobuf::well_known_types::Duration;

    fn with(change: impl FnOnce(&mut wire::Nack)) -> Asked {
        let mut asked = wire::Nack::default();
        asked.set_task_id(TaskId::new(1, 2, 3).to_string());
        asked.set_lease_token(4);
        change(&mut asked);
        nack(asked)
    }

    fn span(seconds: i64) -> Duration {
        Duration {
            seconds,
            ..Duration::default()
        }
    }

    #[test]
    fn bad_fields_are_named_in_their_answer() {
        let table = [
            ("task_id", with(|n| n.set_task_id("x".into()))),
            ("lease_token", with(|n| n.set_lease_token(0))),
            ("delay", with(|n| n.set_delay(span(-1)))),
            ("delay", with(|n| n.set_delay(span(i64::MAX)))),
        ];
        for (field, asked) in table {
            let result = asked.expect_err(field);
            assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_INVALID);
            let message = result.get_message();
            assert!(message.starts_with(field), "{field}: {message}");
        }
        let mut short = wire::Extend::default();
        short.set_task_id(TaskId::new(1, 2, 3).to_string());
        short.set_lease_token(4);
        assert!(extend(short.clone()).is_ok(), "the namespace's setting");
        short.set_lease(span(0));
        let refused = extend(short).expect_err("lease");
        assert!(refused.get_message().starts_with("lease"));
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let long = "é".repeat(limits::ERROR_LEN_MAX);
        let Ask::Nack(nack) = with(|n| n.set_error(format!("x{long}"))).unwrap().ask else {
            panic!("not a nack");
        };
        assert_eq!(nack.error.len(), limits::ERROR_LEN_MAX - 1);
        assert!(long.starts_with(&nack.error[1..]));
        assert_eq!(nack.delay_ms, None);
    }
}
