//! A consumer's place at this peer, whatever method it came by: its name, its
//! credit, and what it is told. Who leaves gives back what it was granted, but not
//! who may come back for it.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::channel::mpsc;
use futures::StreamExt;
use z4_core::command::Grant;
use z4_core::{Namespace, View};

use super::inbox::{Control, Credit, Open, Told};
use super::settle;
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::reading::catch_up;

/// What a consumer wants.
pub(super) struct Wish {
    pub(super) namespace: Namespace,
    /// Empty for those that have none.
    pub(super) consumer_id: String,
    /// 0 for the namespace's setting.
    pub(super) lease_ms: u64,
    /// How many tasks it takes at once, to begin with.
    pub(super) window: u64,
    /// See [`Open`].
    pub(super) step: u64,
    /// See [`Open`].
    pub(super) follows: bool,
    /// The consumer may come back for its leases, unless it says that it is done.
    pub(super) keeps: bool,
}

pub(super) struct Seat<V: View + Clone + Send + Sync + 'static> {
    pub(super) node: Node<V>,
    pub(super) namespace: Namespace,
    /// As the log knows it.
    pub(super) name: String,
    told: mpsc::UnboundedReceiver<Told>,
    credit: Arc<Credit>,
    taken_over: bool,
    left: bool,
}

impl<V: View + Clone + Send + Sync + 'static> Seat<V> {
    /// Takes a place, if there is one.
    pub(super) fn take(node: &Node<V>, wish: Wish) -> Result<Self, Error> {
        let status = node.handle().status();
        if status.raft_id == 0 {
            return Err(no_leader(&status));
        }
        if !node.delivery().has_room() || !node.delivery().take_stream() {
            return Err(Error::Busy {
                what: format!("the table of {} streams", limits::CONSUMER_STREAM_COUNT_MAX),
                retry_after_ms: 1_000,
            });
        }
        node.network().metrics().streams.inc();
        let (sender, told) = mpsc::unbounded();
        let session = node.delivery().name_next(status.raft_id);
        let seat = Self {
            node: node.without_caller(),
            name: format!("{}{session}", wish.consumer_id),
            namespace: wish.namespace,
            told,
            credit: Arc::default(),
            taken_over: false,
            left: false,
        };
        seat.credit.window.store(wish.window, Ordering::Release);
        seat.credit.keeps.store(wish.keeps, Ordering::Release);
        node.delivery().send(Control::Open(Open {
            consumer: seat.name.clone(),
            namespace: seat.namespace.clone(),
            lease_ms: wish.lease_ms,
            step: wish.step,
            follows: wish.follows,
            told: sender,
            credit: Arc::clone(&seat.credit),
        }));
        Ok(seat)
    }

    pub(super) fn poll_told(&mut self, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        let told = self.told.poll_next_unpin(cx);
        if matches!(told, Poll::Ready(Some(Told::TakenOver))) {
            self.taken_over = true;
        }
        told
    }

    /// So many tasks are no longer with it.
    pub(super) fn settle(&self, count: u64) {
        if count > 0 {
            self.credit.settled.fetch_add(count, Ordering::AcqRel);
            self.notice();
        }
    }

    pub(super) fn settled(&self) -> u64 {
        self.credit.settled.load(Ordering::Acquire)
    }

    /// It takes so many at once from now on.
    pub(super) fn set_window(&self, window: u64) {
        if self.credit.window.swap(window, Ordering::AcqRel) != window {
            self.notice();
        }
    }

    fn notice(&self) {
        if !self.credit.noticed.swap(true, Ordering::AcqRel) {
            let delivery = self.node.delivery();
            delivery.send(Control::Credit(self.name.clone()));
        }
    }

    /// The consumer may come back, to this peer or another, and have its leases
    /// again: to give them back would end them under its hands.
    pub(super) fn keeps(&self) -> bool {
        self.credit.keeps.load(Ordering::Acquire)
    }

    /// The consumer is done, and comes back for nothing.
    pub(super) fn finish(&self) {
        self.credit.keeps.store(false, Ordering::Release);
    }

    /// Gives leases back, of tasks that the consumer never had and of those that it
    /// had in hand, unless they are another stream's now; and then those that were on
    /// their way meanwhile. Whether all of that was done in time; it goes
    /// on in any case.
    pub(super) async fn give_back(
        &mut self,
        mut untouched: Vec<Grant>,
        mut in_hand: Vec<Grant>,
    ) -> bool {
        let until = Instant::now() + limits::CLOSE_PATIENCE;
        while !(self.taken_over || untouched.is_empty() && in_hand.is_empty()) {
            let released = settle::released(&self.node, &self.namespace, &untouched, &in_hand);
            let node = self.node.clone();
            // What the leader had granted before is told here once it is applied.
            let seen = Box::pin(async move {
                let _ = released.await;
                catch_up(&node).await.is_ok()
            });
            let left = until.saturating_duration_since(Instant::now());
            if self.node.timer().within(left, seen).await != Some(true) {
                return false;
            }
            untouched = self.untold();
            in_hand.clear();
        }
        true
    }

    /// What was granted and not looked at.
    fn untold(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        while let Ok(told) = self.told.try_recv() {
            match told {
                Told::Grant(grant) => grants.push(grant),
                Told::TakenOver => self.taken_over = true,
                Told::Opened | Told::Ended(_) => {}
            }
        }
        grants
    }

    /// Gives the place up. Returns what was granted and not looked at.
    pub(super) fn leave(&mut self) -> Vec<Grant> {
        if std::mem::replace(&mut self.left, true) {
            return Vec::new();
        }
        self.node.network().metrics().streams.dec();
        self.node.delivery().give_stream();
        let close = Control::Close(self.name.clone());
        self.node.delivery().send(close);
        self.told.close();
        self.untold()
    }

    /// Gives leases back, unless they are another stream's now.
    pub(super) fn release(&self, grants: Vec<Grant>) {
        if !self.taken_over {
            settle::release(&self.node, self.namespace.clone(), grants);
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Drop for Seat<V> {
    fn drop(&mut self) {
        let grants = self.leave();
        if !self.keeps() {
            self.release(grants);
        }
    }
}
