//! The task of a consumer's call, as the delivery thread sees it: what it is told,
//! and how its session ends.

use futures::channel::mpsc;
use grpcio::{RpcStatus, RpcStatusCode};
use prometheus::IntGauge;
use z4_consensus::Status;
use z4_delivery::endings::Answer;
use z4_delivery::{Delivered, End, Input, SessionId};

use super::inbox::Delivery;
use crate::errors::Error;
use crate::leader::no_leader;

/// What a task is told. The end of it: the peer has stopped.
#[derive(Debug)]
pub(super) enum ToTask {
    /// The session is open; so many leases come again.
    Hello {
        resumed: u32,
    },
    Deliver(Vec<z4_delivery::Delivery>),
    Withdraw,
    /// Something that it said and that has no answer has reached the session.
    Taken,
    Answer(Answer),
    Flush,
    Close(End<Error>),
}

/// A session, as its task holds it. Its end ends the session.
pub(super) struct Line<V> {
    delivery: Delivery<V>,
    /// How many there are.
    count: IntGauge,
    session: SessionId,
    pub(super) told: mpsc::UnboundedReceiver<ToTask>,
}

impl<V> Line<V> {
    pub(super) fn new(
        delivery: Delivery<V>,
        session: SessionId,
        told: mpsc::UnboundedReceiver<ToTask>,
        count: IntGauge,
    ) -> Self {
        count.inc();
        Self {
            delivery,
            count,
            session,
            told,
        }
    }

    /// Tells the session something that happened to it.
    pub(super) fn tell(&self, input: impl FnOnce(SessionId) -> Input<Error>) {
        self.delivery.input(input(self.session));
    }

    /// Tells what became of leases that were to be delivered, if anything did.
    pub(super) fn delivered(&self, delivered: Delivered) {
        if delivered != Delivered::default() {
            self.tell(|session| Input::Delivered { session, delivered });
        }
    }
}

impl<V> Drop for Line<V> {
    fn drop(&mut self) {
        self.count.dec();
        self.tell(|session| Input::Gone { session });
    }
}

/// What a client is told at the end of its session. `again`: how it goes on after
/// this peer has stopped.
pub(super) fn status_of(
    end: End<Error>,
    consumer_id: &str,
    again: &str,
    status: &Status,
) -> RpcStatus {
    let error = match end {
        End::Done => return RpcStatus::ok(),
        End::TakenOver => {
            let message = format!(
                "another stream of consumer_id {consumer_id} opened at this peer; one stream each"
            );
            return RpcStatus::with_message(RpcStatusCode::ABORTED, message);
        }
        End::NotGivenBack => Error::Unavailable("what was in hand is not given back yet".into()),
        End::Stopping => Error::Unavailable(format!("this peer is shutting down{again}")),
        End::Full => Error::Busy {
            what: format!(
                "the table of {} streams",
                z4_delivery::limits::SESSION_COUNT_MAX
            ),
            retry_after_ms: 1_000,
        },
        End::NoLeader => no_leader(status),
        End::NotConfirmed => Error::Unavailable(
            "the lease was not confirmed in time, and what it leases is given back; retry".into(),
        ),
        End::Failed(error) => error,
    };
    error.status()
}
