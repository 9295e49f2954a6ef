//! Bodies of leased tasks, read on a reader thread from this peer's own state, in
//! the order in which they are to be written.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::FutureExt;
use z4_core::state::{find_task, StateError};
use z4_core::task::TaskStatus;
use z4_core::{Namespace, TaskBody, View};
use z4_delivery::{Delivered, Delivery};

use super::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

/// Makes what is written of a task; `None`: its lease is not live any more.
pub(super) type Make<T> = fn(&Namespace, &Delivery, TaskBody, Option<TaskStatus>) -> Option<T>;

/// Leases with what is written of their tasks, and those that were left for the
/// next time because of their size.
pub(super) struct Read<T> {
    /// No task: it is gone, or with somebody else.
    pub(super) found: Vec<(Delivery, Option<T>)>,
    pub(super) left: Vec<Delivery>,
}

/// Reads the tasks of leases, and makes of each what is to be written.
pub(super) async fn read<V, T>(
    node: Node<V>,
    namespace: Namespace,
    deliveries: Vec<Delivery>,
    make: Make<T>,
) -> Result<Read<T>, Error>
where
    V: View + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    let view = node.view().clone();
    let read = move || {
        let (mut found, mut left, mut bytes) = (Vec::new(), Vec::new(), 0);
        for delivery in deliveries {
            if bytes >= limits::STREAM_READ_BYTES_MAX as u64 {
                left.push(delivery);
                continue;
            }
            let task = find_task(&view, &namespace, delivery.grant.id)?;
            let task = task.and_then(|(body, status)| {
                bytes += body.bytes();
                make(&namespace, &delivery, body, status)
            });
            found.push((delivery, task));
        }
        Ok(Read { found, left })
    };
    let read: Result<_, StateError> = node.readers().run(read).await?;
    read.map_err(unreadable)
}

/// What is said when the store fails.
pub(super) fn unreadable(error: StateError) -> Error {
    Error::Internal(format!("the task state cannot be read: {error}"))
}

type Reading<T> = BoxFuture<'static, Result<Read<T>, Error>>;

/// What is on its way to a consumer: to be read, being read, read.
pub(super) struct Bodies<V, T> {
    node: Node<V>,
    namespace: Namespace,
    make: Make<T>,
    waiting: VecDeque<Delivery>,
    reading: Option<(Vec<Delivery>, Reading<T>)>,
    ready: VecDeque<(Delivery, T)>,
    /// What became of some of it, and was not told yet.
    delivered: Delivered,
}

impl<V: View + Clone + Send + Sync + 'static, T: Send + 'static> Bodies<V, T> {
    pub(super) fn new(node: Node<V>, namespace: Namespace, make: Make<T>) -> Self {
        Self {
            node,
            namespace,
            make,
            waiting: VecDeque::new(),
            reading: None,
            ready: VecDeque::new(),
            delivered: Delivered::default(),
        }
    }

    pub(super) fn push(&mut self, deliveries: Vec<Delivery>) {
        self.waiting.extend(deliveries);
    }

    /// Reads the bodies of what may go next, when what was read is written. Whether
    /// it did anything.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        if self.reading.is_none() && self.ready.is_empty() && !self.waiting.is_empty() {
            let len = self.waiting.len().min(limits::STREAM_READ_BATCH);
            let batch: Vec<Delivery> = self.waiting.drain(..len).collect();
            let (node, namespace) = (self.node.clone(), self.namespace.clone());
            let reading = read(node, namespace, batch.clone(), self.make).boxed();
            self.reading = Some((batch, reading));
        }
        let Some((_, reading)) = &mut self.reading else {
            return Ok(false);
        };
        let Poll::Ready(result) = reading.poll_unpin(cx) else {
            return Ok(false);
        };
        let read = result?;
        self.reading = None;
        for delivery in read.left.into_iter().rev() {
            self.waiting.push_front(delivery);
        }
        for (delivery, task) in read.found {
            match task {
                Some(task) => self.ready.push_back((delivery, task)),
                None => self.delivered.over.push(delivery.key()),
            }
        }
        Ok(true)
    }

    /// The next one to be written. Who takes it says what became of it.
    pub(super) fn next(&mut self) -> Option<(Delivery, T)> {
        while let Some((delivery, task)) = self.ready.pop_front() {
            // It waited for the client to read for too long.
            if delivery.grant.deadline_ns <= wall_ns() {
                self.delivered.over.push(delivery.key());
                continue;
            }
            return Some((delivery, task));
        }
        None
    }

    /// The one behind it, if it is read already.
    pub(super) fn peek(&self) -> Option<&T> {
        self.ready.front().map(|(_, task)| task)
    }

    /// It was handed to the consumer's connection.
    pub(super) fn sent(&mut self, delivery: &Delivery) {
        self.delivered.sent.push(delivery.key());
    }

    /// It was not, and is the first one of those that are not.
    pub(super) fn unsent(&mut self, delivery: &Delivery) {
        self.delivered.left.push(delivery.key());
    }

    /// Gives up all that was not handed over.
    pub(super) fn withdraw(&mut self) {
        let reading = self.reading.take().map(|(batch, _)| batch);
        let ready = self.ready.drain(..).map(|(delivery, _)| delivery);
        let left = ready
            .chain(reading.into_iter().flatten())
            .chain(self.waiting.drain(..));
        self.delivered
            .left
            .extend(left.map(|delivery| delivery.key()));
    }

    /// What became of some of it since this was asked last.
    pub(super) fn take_delivered(&mut self) -> Delivered {
        std::mem::take(&mut self.delivered)
    }
}
