//! Request ids are forgotten some time after their use: a few with each entry,
//! so that no entry pays for many.

use super::Machine;
use crate::limits;
use crate::state::{RowKey, State, StateError};

impl<S: State> Machine<S> {
    /// Deletes up to [`limits::FORGET_COUNT_MAX`] request ids that are outdated
    /// at `now_ns`.
    pub(super) fn forget_requests(&mut self, now_ns: u64) -> Result<(), StateError> {
        // Saves a scan with each entry. It is a bound, not a decision: a replica
        // that does not know it finds nothing to delete.
        if now_ns < self.forget_next_ns {
            return Ok(());
        }
        let mut outdated = Vec::new();
        let mut next_ns = u64::MAX;
        let (from, to) = RowKey::request_expiries(self.meta.forget_from_ns);
        self.state.scan(&from, &to, &mut |key, _| {
            let RowKey::RequestExpiry {
                expires_at_ns,
                namespace,
                request_id,
            } = key
            else {
                return true;
            };
            if expires_at_ns > now_ns || outdated.len() == limits::FORGET_COUNT_MAX {
                next_ns = expires_at_ns;
                return false;
            }
            outdated.push((expires_at_ns, namespace, request_id));
            true
        })?;
        self.forget_next_ns = next_ns;
        for (expires_at_ns, namespace, request_id) in outdated {
            // Moves only by what is deleted, which is the same on every replica.
            self.meta.forget_from_ns = expires_at_ns;
            self.state.delete(&RowKey::RequestExpiry {
                expires_at_ns,
                namespace,
                request_id: request_id.clone(),
            });
            self.state.delete(&RowKey::Request {
                namespace,
                request_id,
            });
        }
        Ok(())
    }
}
