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

use super::consumer_id;
use super::inbox::{Credit, Open, Told};
use crate::limits;

/// One consumer of this peer.
struct Local {
    namespace: Namespace,
    lease_ms: u64,
    step: u64,
    follows: bool,
    told: mpsc::UnboundedSender<Told>,
    credit: Arc<Credit>,
    /// Grants applied here since it came.
    received: u64,
    /// Leases of its that ended, as applied here.
    ended: u64,
    /// Whose late grants come to it: the stream that it took over from.
    former: Option<String>,
    /// What the present leader was told last; `None`: nothing yet.
    told_allowed: Option<u64>,
    /// A report is on its way to another peer.
    telling: bool,
    /// Not before this, after a report that failed.
    not_before: Option<Instant>,
}

impl Local {
    /// What the stream knows and what the log says count the same leases; each
    /// may be behind the other.
    fn allowed(&self) -> u64 {
        let settled = self.credit.settled.load(Ordering::Acquire);
        settled.max(self.ended) + self.credit.window.load(Ordering::Acquire)
    }

    /// Small steps of credit may not be worth a report: what the leader knows of
    /// keeps the stream busy meanwhile.
    fn has_news(&self) -> bool {
        let allowed = self.allowed();
        match self.told_allowed {
            Some(told) => allowed < told || allowed >= told + self.step,
            // Without credit it need not be known.
            None => allowed > 0,
        }
    }
}

/// The consumers of this peer by name.
#[derive(Default)]
pub(super) struct Locals {
    streams: HashMap<String, Local>,
    /// Those that follow, by namespace and consumer id.
    names: HashMap<(Namespace, String), String>,
    /// Who has the late grants of a stream that was taken over.
    heirs: HashMap<String, String>,
    /// Those that the leader may have to be told of.
    dirty: BTreeSet<String>,
}

impl Locals {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Lets a consumer in. Gives the name of the one that it takes over from.
    pub(super) fn open(&mut self, open: Open) -> Option<String> {
        self.dirty.insert(open.consumer.clone());
        let mut former = None;
        if open.follows {
            let id = consumer_id::of(&open.consumer).to_owned();
            let key = (open.namespace.clone(), id);
            former = self.names.insert(key, open.consumer.clone());
        }
        if let Some(former) = &former {
            if let Some(old) = self.streams.get(former) {
                // Fails when it ends by itself just now.
                let _ = old.told.unbounded_send(Told::TakenOver);
            }
            self.forget(former);
            self.heirs.insert(former.clone(), open.consumer.clone());
        }
        // Fails when it has left already; then it closes soon.
        let _ = open.told.unbounded_send(Told::Opened);
        let local = Local {
            namespace: open.namespace,
            lease_ms: open.lease_ms,
            step: open.step,
            follows: open.follows,
            told: open.told,
            credit: open.credit,
            received: 0,
            ended: 0,
            former: former.clone(),
            told_allowed: None,
            telling: false,
            not_before: None,
        };
        self.streams.insert(open.consumer, local);
        former
    }

    fn forget(&mut self, consumer: &str) -> bool {
        self.dirty.remove(consumer);
        let Some(local) = self.streams.remove(consumer) else {
            return false;
        };
        if let Some(former) = local.former {
            self.heirs.remove(&former);
        }
        true
    }

    pub(super) fn close(&mut self, consumer: &str) -> bool {
        if let Some(local) = self.streams.get(consumer).filter(|local| local.follows) {
            let id = consumer_id::of(consumer).to_owned();
            self.names.remove(&(local.namespace.clone(), id));
        }
        self.forget(consumer)
    }

    /// Ends all streams: what they are told ends. Gives their names.
    pub(super) fn close_all(&mut self) -> Vec<String> {
        self.dirty.clear();
        self.names.clear();
        self.heirs.clear();
        self.streams.drain().map(|(name, _)| name).collect()
    }

    pub(super) fn credit(&mut self, consumer: &str) {
        if let Some(local) = self.streams.get_mut(consumer) {
            local.credit.noticed.store(false, Ordering::Release);
            if local.has_news() {
                self.dirty.insert(consumer.to_owned());
            }
        }
    }

    /// Passes a grant to its stream; gives it back when there is none.
    pub(super) fn grant(&mut self, grant: &Grant) -> Result<(), Grant> {
        let heir = self.heirs.get(&grant.consumer);
        let Some(local) = self.streams.get_mut(heir.unwrap_or(&grant.consumer)) else {
            return Err(grant.clone());
        };
        if heir.is_none() {
            local.received += 1;
            // Leaders keep to the credit; this bounds memory should one not.
            let settled = local.credit.settled.load(Ordering::Acquire);
            let held = local.received - settled.max(local.ended).min(local.received);
            if held > limits::STREAM_HELD_MAX {
                local.credit.settled.fetch_add(1, Ordering::AcqRel);
                return Err(grant.clone());
            }
        }
        local
            .told
            .unbounded_send(Told::Grant(grant.clone()))
            .map_err(|_| grant.clone())
    }

    /// So many leases of a consumer ended.
    pub(super) fn ended(&mut self, consumer: &str, count: u64) {
        let Some(local) = self.streams.get_mut(consumer).filter(|l| l.follows) else {
            return;
        };
        local.ended += count;
        // Fails when it has left; then it closes soon.
        let _ = local.told.unbounded_send(Told::Ended(count));
        if local.has_news() {
            self.dirty.insert(consumer.to_owned());
        }
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
                    lease_ms: local.lease_ms,
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

    fn open(name: &str, follows: bool) -> (Open, mpsc::UnboundedReceiver<Told>, Arc<Credit>) {
        let (told, receiver) = mpsc::unbounded();
        let credit = Arc::<Credit>::default();
        credit
            .window
            .store(limits::STREAM_WINDOW, Ordering::Release);
        let open = Open {
            consumer: name.into(),
            namespace: Namespace::new("n").unwrap(),
            lease_ms: 0,
            step: limits::STREAM_WINDOW / 8,
            follows,
            told,
            credit: Arc::clone(&credit),
        };
        (open, receiver, credit)
    }

    fn opened() -> (Locals, mpsc::UnboundedReceiver<Told>, Arc<Credit>) {
        let (open, mut receiver, credit) = open("c", false);
        let mut locals = Locals::default();
        assert_eq!(locals.open(open), None);
        assert!(matches!(receiver.try_recv(), Ok(Told::Opened)));
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
            deliveries: 1,
            bytes: 1,
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

    #[test]
    fn credit_shrinks_grows_with_what_the_log_ended_and_is_counted_once() {
        let (open, _receiver, credit) = open("c~1", true);
        let mut locals = Locals::default();
        locals.open(open);
        let allowed = |locals: &mut Locals| {
            let reports = locals.reports(false);
            reports.first().map(|report| report.allowed_total)
        };
        assert_eq!(allowed(&mut locals), Some(limits::STREAM_WINDOW));
        credit.window.store(5, Ordering::Release);
        locals.credit("c~1");
        assert_eq!(allowed(&mut locals), Some(5), "less is told at once");
        let ended = limits::STREAM_WINDOW / 8;
        locals.ended("c~1", ended);
        assert_eq!(allowed(&mut locals), Some(5 + ended));
        // The stream learns of the same leases.
        credit.settled.store(ended, Ordering::Release);
        locals.credit("c~1");
        assert_eq!(allowed(&mut locals), None);
    }

    #[test]
    fn a_second_stream_of_a_consumer_inherits_what_the_first_is_granted() {
        let mut locals = Locals::default();
        let (first, mut told_first, _) = open("c~1", true);
        let (second, mut told_second, _) = open("c~2", true);
        let (third, mut told_third, _) = open("c~3", true);
        let (other, mut told_other, _) = open("d~4", true);
        assert_eq!(locals.open(first), None);
        assert_eq!(locals.open(other), None);
        assert_eq!(locals.open(second), Some("c~1".into()));
        assert!(matches!(told_first.try_recv(), Ok(Told::Opened)));
        assert!(matches!(told_first.try_recv(), Ok(Told::TakenOver)));
        assert!(!locals.close("c~1"), "it is known no more");
        assert!(locals.grant(&grant("c~1")).is_ok());
        assert!(matches!(told_second.try_recv(), Ok(Told::Opened)));
        assert!(matches!(told_second.try_recv(), Ok(Told::Grant(g)) if g.consumer == "c~1"));
        assert_eq!(locals.open(third), Some("c~2".into()));
        assert!(locals.grant(&grant("c~1")).is_err(), "too long ago");
        assert!(locals.grant(&grant("c~2")).is_ok());
        assert!(matches!(told_third.try_recv(), Ok(Told::Opened)));
        assert!(matches!(told_third.try_recv(), Ok(Told::Grant(_))));
        assert!(locals.close("c~3"));
        assert!(locals.grant(&grant("c~2")).is_err());
        assert!(matches!(told_other.try_recv(), Ok(Told::Opened)));
        assert!(told_other.try_recv().is_err());
        assert!(locals.heirs.is_empty() && locals.names.len() == 1);
    }
}
