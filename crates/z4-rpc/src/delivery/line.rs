//! A session, as the task of its call holds it, and what its client is told at its end.

use futures::channel::mpsc;
use grpcio::{RpcStatus, RpcStatusCode};
use prometheus::IntGauge;
use z4_consensus::Status;
use z4_delivery::{Delivered, End, Input, SessionId, SessionInput, Told};

use super::inbox::Delivery;
use crate::errors::Error;
use crate::leader::no_leader;

/// A session, as its task holds it. Its end ends the session.
pub(super) struct Line<V> {
    delivery: Delivery<V>,
    /// How many there are.
    count: IntGauge,
    session: SessionId,
    pub(super) told: mpsc::UnboundedReceiver<Told<Error>>,
}

impl<V> Line<V> {
    pub(super) fn new(
        delivery: Delivery<V>,
        session: SessionId,
        told: mpsc::UnboundedReceiver<Told<Error>>,
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
    pub(super) fn tell(&self, input: SessionInput<Error>) {
        self.delivery.input(Input::Session(self.session, input));
    }

    /// Tells what became of leases that were to be delivered, if anything did.
    pub(super) fn delivered(&self, delivered: Delivered) {
        if delivered != Delivered::default() {
            self.tell(SessionInput::Delivered(delivered));
        }
    }
}

impl<V> Drop for Line<V> {
    fn drop(&mut self) {
        self.count.dec();
        self.tell(SessionInput::Gone);
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
