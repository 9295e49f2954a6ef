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
use super::kept::Kept;
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

    fn keeps(&self) -> bool {
        self.credit.keeps.load(Ordering::Acquire)
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
    /// Those that ended and whose consumers may come back.
    kept: Kept,
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
        let keeps = local.keeps();
        if let Some(former) = local.former {
            self.heirs.remove(&former);
            self.keep(former, keeps);
        }
        self.keep(consumer.to_owned(), keeps);
        true
    }

    fn keep(&mut self, consumer: String, keeps: bool) {
        if keeps {
            self.kept.insert(consumer);
        } else {
            self.kept.remove(&consumer);
        }
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
        self.names.clear();
        let names: Vec<String> = self.streams.keys().cloned().collect();
        for name in &names {
            self.forget(name);
        }
        names
    }

    pub(super) fn credit(&mut self, consumer: &str) {
        if let Some(local) = self.streams.get_mut(consumer) {
            local.credit.noticed.store(false, Ordering::Release);
            if local.has_news() {
                self.dirty.insert(consumer.to_owned());
            }
        }
    }

    /// Passes a grant to its stream; gives it back when there is none that its
    /// consumer may come back for.
    pub(super) fn grant(&mut self, grant: &Grant) -> Result<(), Grant> {
        let heir = self.heirs.get(&grant.consumer);
        let Some(local) = self.streams.get_mut(heir.unwrap_or(&grant.consumer)) else {
            return match self.kept.contains(&grant.consumer) {
                true => Ok(()),
                false => Err(grant.clone()),
            };
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
        match local.told.unbounded_send(Told::Grant(grant.clone())) {
            // It ends just now.
            Err(_) if !local.keeps() => Err(grant.clone()),
            _ => Ok(()),
        }
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
mod tests;
