//! What a client asks for its leases, on its way: one proposal of each kind at a
//! time, and all that arrives meanwhile goes with the next.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::FutureExt;
use z4_core::limits::ACK_COUNT_MAX;
use z4_core::{Namespace, View};

use crate::delivery::endings::{self, Ending, Item, Kind};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

type UnderWay = BoxFuture<'static, Result<Vec<(Item, Ending)>, Error>>;

/// Those of one kind.
struct Lane {
    kind: Kind,
    waiting: VecDeque<Item>,
    under_way: Option<UnderWay>,
}

/// See the module.
pub(super) struct Batches<V> {
    node: Node<V>,
    namespace: Namespace,
    lanes: [Lane; 4],
}

impl<V: View + Clone + Send + Sync + 'static> Batches<V> {
    pub(super) fn new(node: Node<V>, namespace: Namespace) -> Self {
        Self {
            node,
            namespace,
            lanes: Kind::ALL.map(|kind| Lane {
                kind,
                waiting: VecDeque::new(),
                under_way: None,
            }),
        }
    }

    pub(super) fn push(&mut self, kind: Kind, item: Item) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.kind == kind) {
            lane.waiting.push_back(item);
        }
    }

    /// Sends what waits; gives what was answered. Pending: nothing was.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Vec<(Item, Ending)>, Error>> {
        let mut answered = Vec::new();
        for lane in &mut self.lanes {
            loop {
                if let Some(under_way) = &mut lane.under_way {
                    match under_way.poll_unpin(cx) {
                        Poll::Ready(Ok(endings)) => answered.extend(endings),
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => break,
                    }
                    lane.under_way = None;
                }
                match lane.next(&self.node, &self.namespace) {
                    Some(next) => lane.under_way = Some(next),
                    None => break,
                }
            }
        }
        if answered.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(answered))
    }

    /// Lets all go on without an answer: the client is gone, what it asked is
    /// done all the same.
    pub(super) fn let_go(&mut self) {
        for lane in &mut self.lanes {
            let first = lane.under_way.take();
            let mut next = first.or_else(|| lane.next(&self.node, &self.namespace));
            while let Some(under_way) = next {
                self.node.network().spawn(under_way.map(|_| ()));
                next = lane.next(&self.node, &self.namespace);
            }
        }
    }
}

impl Lane {
    fn next<V: View + Clone + Send + Sync + 'static>(
        &mut self,
        node: &Node<V>,
        namespace: &Namespace,
    ) -> Option<UnderWay> {
        if self.waiting.is_empty() {
            return None;
        }
        let count = self.waiting.len().min(ACK_COUNT_MAX);
        let items: Vec<Item> = self.waiting.drain(..count).collect();
        let (node, namespace, kind) = (node.clone(), namespace.clone(), self.kind);
        let ending = async move {
            let patience = limits::CONSUME_PATIENCE;
            let endings = endings::end(node, namespace, kind, items.clone(), patience).await?;
            Ok(items.into_iter().zip(endings).collect())
        };
        Some(ending.boxed())
    }
}
