//! What a consumer says once its stream is open, one message at a time.

use z4_core::Refusal;
use z4_proto::generated::collection::{ConsumeRequest, ConsumeRequest_oneof_message as Message};

use super::opening::credit;
use crate::delivery::asks::{self, Asked};
use crate::delivery::endings::Kind;

/// A message that was checked.
pub(crate) enum Said {
    /// Something of one lease, or the answer that it cannot be asked.
    Asks(Kind, Asked),
    /// No more deliveries.
    Drain,
    /// So many tasks and bytes from now on; `None`: as before.
    Credit(Option<u64>, Option<u64>),
    /// To be answered without a lease.
    Refused(Refusal),
}

/// Checks a message behind the first.
pub(crate) fn said(request: ConsumeRequest) -> Said {
    match request.message {
        Some(Message::ack(lease)) => Said::Asks(Kind::Ack, asks::lease(lease)),
        Some(Message::release(lease)) => Said::Asks(Kind::Release, asks::lease(lease)),
        Some(Message::nack(nack)) => Said::Asks(Kind::Nack, asks::nack(nack)),
        Some(Message::extend(extend)) => Said::Asks(Kind::Extend, asks::extend(extend)),
        Some(Message::drain(_)) => Said::Drain,
        Some(Message::credit(given)) => match credit(&given) {
            Ok((tasks, bytes)) => Said::Credit(tasks, bytes),
            Err(refusal) => Said::Refused(refusal),
        },
        Some(Message::open(_)) => {
            let rule = "must be the first message, and no other";
            Said::Refused(Refusal::invalid("open", rule))
        }
        None => {
            let rule = "must be one that this version knows";
            Said::Refused(Refusal::invalid("message", rule))
        }
    }
}
