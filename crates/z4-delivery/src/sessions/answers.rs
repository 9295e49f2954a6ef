//! What came of what was proposed.

use z4_core::command::Outcome;

use super::Sessions;
use crate::endings;
use crate::input::{Failure, Now, Settled, Ticket};
use crate::outbox::Asked;
use crate::output::End;

impl<E> Sessions<E> {
    pub(super) fn proposed(
        &mut self,
        ticket: Ticket,
        result: Result<Settled, Failure<E>>,
        now: Now,
    ) {
        let Some(asked) = self.out.answered(ticket) else {
            return;
        };
        match asked {
            Asked::Nobody => {}
            Asked::Queue { session, items } => self.with(session, |session, out| {
                session.queues.came_back(ticket);
                let answers = match result {
                    Ok(settled) => endings::read(settled, items),
                    Err(Failure::Unknown(_)) => endings::uncertain(items),
                    Err(Failure::NotDone(error)) => return session.close(End::Failed(error), out),
                };
                session.answer(answers, out);
            }),
            Asked::Take(session) => self.with(session, |session, out| {
                session.lease_settled(result, out);
            }),
            Asked::Fence(session) => self.with(session, |session, out| {
                session.fence_applied(result.is_ok(), out);
            }),
            Asked::Resume { session, leases } => {
                self.resumed(session, (ticket, leases), result, now);
            }
            Asked::Lease {
                term,
                namespace,
                takers,
            } => {
                // A lease that was granted comes back as an event.
                if !matches!(result, Ok(settled) if matches!(settled.outcome, Outcome::Leased { .. }))
                {
                    self.lease_failed(term, &namespace, &takers);
                }
            }
            Asked::Pulse => {
                if result.is_ok() {
                    self.leading.dispatcher.on_pulse_done();
                }
            }
        }
    }
}
