//! What a consumer says once its stream is open, one message at a time.

use z4_core::Refusal;
use z4_delivery::endings::Kind;
use z4_delivery::Said;
use z4_proto::generated::collection::{
    ConsumeRequest, ConsumeRequest_oneof_message as Message, LeaseResult,
};

use super::opening::credit;
use crate::delivery::lease_asks::{self, Asked};

/// A message that was checked.
pub(crate) enum Heard {
    /// The session is told.
    Said(Said),
    /// The answer to what cannot be asked of a lease.
    Invalid(Kind, LeaseResult),
    /// To be answered without a lease.
    Refused(Refusal),
}

/// Checks a message behind the first.
pub(crate) fn check(request: ConsumeRequest) -> Heard {
    match request.message {
        Some(Message::ack(lease)) => ask(Kind::Ack, lease_asks::ack(lease)),
        Some(Message::release(lease)) => ask(Kind::Release, lease_asks::release(lease)),
        Some(Message::nack(nack)) => ask(Kind::Nack, lease_asks::nack(nack)),
        Some(Message::extend(extend)) => ask(Kind::Extend, lease_asks::extend(extend)),
        Some(Message::drain(_)) => Heard::Said(Said::Drain),
        Some(Message::credit(given)) => match credit(&given) {
            Ok((tasks, bytes)) => Heard::Said(Said::Credit(tasks, bytes)),
            Err(refusal) => Heard::Refused(refusal),
        },
        Some(Message::open(_)) => {
            let rule = "must be the first message, and no other";
            Heard::Refused(Refusal::invalid("open", rule))
        }
        None => {
            let rule = "must be one that this version knows";
            Heard::Refused(Refusal::invalid("message", rule))
        }
    }
}

fn ask(kind: Kind, asked: Asked) -> Heard {
    match asked {
        Ok(item) => Heard::Said(Said::Ask(item)),
        Err(result) => Heard::Invalid(kind, result),
    }
}
