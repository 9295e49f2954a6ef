//! The consumers of this peer: who they are, what they were given, and what the
//! leader knows of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use futures::channel::mpsc;
use z4_core::command::Grant;
use z4_core::dispatch::ConsumerReport;
use z4_core::Namespace;

use super::inbox::{Credit, Open};
use crate::limits;

/// One stream of this peer.
struct Local {
    namespace: Namespace,
    grants: mpsc::UnboundedSender<Grant>,
    credit: Arc<Credit>,
    /// Grants applied here since it came.
    received: u64,
    /// What the present leader was told last; `None`: nothing yet.
    told_allowed: Option<u64>,
    /// A report is on its way to another peer.
    telling: bool,
    /// Not before this, after a report that failed.
    not_before: Option<Instant>,
}

impl Local {
    fn allowed(&self) -> u64 {
        self.credit.settled.load(Ordering::Acquire) + limits::STREAM_WINDOW
    }

    /// Small steps of credit are not worth a report: what the leader knows of
    /// keeps the stream busy meanwhile.
    fn has_news(&self) -> bool {
        let told = |told: u64| self.allowed() < told + limits::STREAM_WINDOW / 8;
        !self.told_allowed.is_some_and(told)
    }
}

/// The streams of this peer by consumer name.
#[derive(Default)]
pub(super) struct Locals {
    streams: HashMap<String, Local>,
    /// Those that the leader may have to be told of.
    dirty: BTreeSet<String>,
}

impl Locals {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(super) fn open(&mut self, open: Open) {
        self.dirty.insert(open.consumer.clone());
        let local = Local {
            namespace: open.namespace,
            grants: open.grants,
            credit: open.credit,
            received: 0,
            told_allowed: None,
            telling: false,
            not_before: None,
        };
        self.streams.insert(open.consumer, local);
    }

    pub(super) fn close(&mut self, consumer: &str) -> bool {
        self.dirty.remove(consumer);
        self.streams.remove(consumer).is_some()
    }

    /// Ends all streams: their grants end. Gives their names.
    pub(super) fn close_all(&mut self) -> Vec<String> {
        self.dirty.clear();
        self.streams.drain().map(|(name, _)| name).collect()
    }

    pub(super) fn credit(&mut self, consumer: &str) {
        if let Some(local) = self.streams.get(consumer) {
            local.credit.noticed.store(false, Ordering::Release);
            if local.has_news() {
                self.dirty.insert(consumer.to_owned());
            }
        }
    }

    /// Passes a grant to its stream; gives it back when there is none.
    pub(super) fn grant(&mut self, grant: &Grant) -> Result<(), Grant> {
        let Some(local) = self.streams.get_mut(&grant.consumer) else {
            return Err(grant.clone());
        };
        local.received += 1;
        // Leaders keep to the credit; this bounds memory should one not.
        let held = local.received
            - local
                .credit
                .settled
                .load(Ordering::Acquire)
                .min(local.received);
        if held > 4 * limits::STREAM_WINDOW {
            local.credit.settled.fetch_add(1, Ordering::AcqRel);
            return Err(grant.clone());
        }
        local
            .grants
            .unbounded_send(grant.clone())
            .map_err(|_| grant.clone())
    }

    /// There is another leader: it knows of nobody.
    pub(super) fn forget_told(&mut self) {
        for (name, local) in &mut self.streams {
            local.told_allowed = None;
            local.not_before = None;
            self.dirty.insert(name.clone());
        }
    }

    /// What has to be told now. Each is then taken as told until
    /// [`told`](Self::told) says otherwise; `awaited`: an answer will come.
    pub(super) fn reports(&mut self, awaited: bool) -> Vec<ConsumerReport> {
        let now = Instant::now();
        let mut reports = Vec::new();
        let streams = &mut self.streams;
        self.dirty.retain(|name| {
            let Some(local) = streams.get_mut(name) else {
                return false;
            };
            if local.telling || local.not_before.is_some_and(|at| at > now) {
                return true;
            }
            if local.has_news() {
                let allowed = local.allowed();
                local.told_allowed = Some(allowed);
                local.telling = awaited;
                local.not_before = None;
                reports.push(ConsumerReport {
                    consumer: name.clone(),
                    namespace: local.namespace.clone(),
                    received_total: local.received,
                    allowed_total: allowed,
                    lease_ms: limits::STREAM_LEASE_MS,
                });
            }
            false
        });
        reports
    }

    /// How an awaited report ended.
    pub(super) fn told(&mut self, consumer: &str, ok: bool) {
        let Some(local) = self.streams.get_mut(consumer) else {
            return;
        };
        local.telling = false;
        if !ok {
            local.told_allowed = None;
            local.not_before = Some(Instant::now() + limits::REPORT_RETRY);
        }
        if local.has_news() {
            self.dirty.insert(consumer.to_owned());
        }
    }

    /// When reports that failed are to be repeated, if any are.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let local = |name: &String| self.streams.get(name)?.not_before;
        self.dirty.iter().filter_map(local).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use z4_core::task::LeaseToken;
    use z4_core::TaskId;

    fn opened() -> (Locals, mpsc::UnboundedReceiver<Grant>, Arc<Credit>) {
        let (grants, receiver) = mpsc::unbounded();
        let credit = Arc::<Credit>::default();
        let mut locals = Locals::default();
        locals.open(Open {
            consumer: "c".into(),
            namespace: Namespace::new("n").unwrap(),
            grants,
            credit: Arc::clone(&credit),
        });
        (locals, receiver, credit)
    }

    fn grant(consumer: &str) -> Grant {
        Grant {
            consumer: consumer.into(),
            id: TaskId::new(1, 1, 1),
            token: LeaseToken(1),
            deadline_ns: 1,
            due_at_ns: 1,
            attempt: 1,
        }
    }

    #[test]
    fn a_leader_is_told_once_and_again_when_credit_grew_or_it_changed() {
        let (mut locals, _receiver, credit) = opened();
        let reports = locals.reports(false);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].allowed_total, limits::STREAM_WINDOW);
        assert!(locals.reports(false).is_empty());
        credit.settled.store(3, Ordering::Release);
        locals.credit("c");
        assert!(locals.reports(false).is_empty(), "a small step");
        credit
            .settled
            .store(limits::STREAM_WINDOW / 8, Ordering::Release);
        locals.credit("c");
        assert_eq!(locals.reports(false).len(), 1);
        locals.forget_told();
        assert_eq!(locals.reports(false).len(), 1);
    }

    #[test]
    fn a_report_that_failed_is_repeated() {
        let (mut locals, _receiver, _credit) = opened();
        assert_eq!(locals.reports(true).len(), 1);
        locals.told("c", false);
        assert!(locals.reports(true).is_empty(), "not at once");
        let wake_at = locals.wake_at().unwrap();
        while Instant::now() < wake_at {
            std::thread::yield_now();
        }
        assert_eq!(locals.reports(true).len(), 1);
        locals.told("c", true);
        assert_eq!(locals.wake_at(), None);
    }

    #[test]
    fn grants_without_a_stream_come_back() {
        let (mut locals, mut receiver, _credit) = opened();
        assert!(locals.grant(&grant("c")).is_ok());
        assert!(receiver.try_recv().is_ok());
        assert!(locals.grant(&grant("other")).is_err());
        drop(receiver);
        assert!(locals.grant(&grant("c")).is_err());
        locals.close("c");
        assert!(locals.grant(&grant("c")).is_err());
    }
}
