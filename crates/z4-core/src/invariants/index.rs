//! The tables beside the bodies: counted, and looked at for rows below their
//! cursors. That each row belongs to a task follows from the counts.

use super::tally::Tallies;
use super::{scan, Report};
use crate::state::{MetaRow, Row, RowKey, StateError, View};
use crate::task::{NamespaceId, Priority, TaskId};

/// Visits every row that is not a body, a namespace, a principal or the meta row.
pub(super) fn visit(
    view: &(impl View + ?Sized),
    meta: &MetaRow,
    tallies: &mut Tallies,
    report: &mut Report,
) -> Result<(), StateError> {
    let from = RowKey::Status(NamespaceId(0), TaskId::default());
    let to = RowKey::principals().0;
    scan(view, (from, to), |key, row| {
        report.rows += 1;
        let Some(namespace) = namespace_of(&key) else {
            return Ok(());
        };
        let Some(tally) = tallies.of(namespace, report, &key) else {
            return Ok(());
        };
        let head = &tally.row;
        let found = &mut tally.found;
        match (&key, row) {
            (RowKey::Status(..), Row::Status(_)) => found.statuses += 1,
            (
                RowKey::Due {
                    rank,
                    due_at_ns,
                    id,
                    ..
                },
                Row::Due { .. },
            ) => {
                let rank = usize::from(*rank);
                if rank >= Priority::COUNT {
                    report.say(|| format!("{key:?} is of no priority"));
                    return Ok(());
                }
                found.due[rank] += 1;
                let head = &head.queues[rank];
                if (*due_at_ns, *id) < head.cursor {
                    report.say(|| format!("{key:?} is below the cursor of its queue: {head:?}"));
                }
                if *due_at_ns < head.consumed_ns {
                    report.say(|| format!("{key:?} is below what was consumed: {head:?}"));
                }
            }
            (RowKey::Lease { .. }, Row::Lease { .. }) => found.leases += 1,
            (RowKey::Dead { at_ns, id, .. }, Row::Dead) => {
                found.dead += 1;
                let from = head.dead_from;
                if (*at_ns, *id) < from {
                    report.say(|| format!("{key:?} is below the first dead letter, {from:?}"));
                }
            }
            (RowKey::Timer { at_ns, .. }, Row::Timer) => {
                found.timers += 1;
                let from_ns = meta.timer_from_ns;
                if *at_ns < from_ns {
                    report.say(|| format!("{key:?} is below the first timer, {from_ns}"));
                }
            }
            (RowKey::Request { request_id, .. }, Row::Request(request)) => {
                // Its expiry is one of those to come.
                tally.wanted.expiries += 1;
                let expiry = RowKey::RequestExpiry {
                    expires_at_ns: request.expires_at_ns,
                    namespace,
                    request_id: request_id.clone(),
                };
                if view.get(&expiry)?.is_none() {
                    report.say(|| format!("{key:?} will never be forgotten"));
                }
            }
            (RowKey::RequestExpiry { expires_at_ns, .. }, Row::RequestExpiry) => {
                found.expiries += 1;
                let from_ns = meta.forget_from_ns;
                if *expires_at_ns < from_ns {
                    report.say(|| format!("{key:?} is below the time to forget from, {from_ns}"));
                }
            }
            _ => report.say(|| format!("{key:?} has a row of another kind")),
        }
        Ok(())
    })
}

fn namespace_of(key: &RowKey) -> Option<NamespaceId> {
    match key {
        RowKey::Meta | RowKey::Namespace(_) | RowKey::Principal(_) | RowKey::End => None,
        RowKey::Body(namespace, _)
        | RowKey::Status(namespace, _)
        | RowKey::Due { namespace, .. }
        | RowKey::Lease { namespace, .. }
        | RowKey::Dead { namespace, .. }
        | RowKey::Timer { namespace, .. }
        | RowKey::Request { namespace, .. }
        | RowKey::RequestExpiry { namespace, .. } => Some(*namespace),
    }
}
