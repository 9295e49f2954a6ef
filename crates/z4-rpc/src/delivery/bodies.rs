//! Bodies of leased tasks, read on a reader thread from this peer's own state, in
//! the order in which they are to be written. Those of tasks that are held until they are
//! due are read beforehand, many at once, so that nothing is to be read at the due time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::FutureExt;
use z4_core::state::{find_task, StateError};
use z4_core::task::TaskStatus;
use z4_core::{Namespace, TaskBody, View};
use z4_delivery::{Delivered, Delivery, Key};

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

/// Bodies that were read before they are to be written.
struct Ahead<T> {
    /// A read under way, and the leases of it that were not pushed meanwhile.
    reading: Option<(HashSet<Key>, Reading<T>)>,
    read: HashMap<Key, (Delivery, T)>,
}

impl<T> Ahead<T> {
    /// Leases for whose bodies there is room.
    fn choose(&mut self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let since_ns = wall_ns().saturating_sub(limits::STREAM_AHEAD_KEPT_NS);
        // A lease that ended before its task was due is never pushed.
        self.read
            .retain(|_, (delivery, _)| delivery.grant.due_at_ns > since_ns);
        let room = limits::STREAM_READ_BATCH.saturating_sub(self.read.len());
        let kept = self.read.values();
        let mut bytes: u64 = kept.map(|(delivery, _)| delivery.grant.bytes).sum();
        let mut fits = |delivery: &Delivery| {
            bytes += delivery.grant.bytes;
            bytes <= limits::STREAM_READ_BYTES_MAX as u64
        };
        deliveries
            .into_iter()
            .take(room)
            .take_while(|delivery| fits(delivery))
            .collect()
    }

    /// The body that was read for a lease that is pushed.
    fn take(&mut self, delivery: &Delivery) -> Option<T> {
        let key = delivery.key();
        if let Some((keys, _)) = &mut self.reading {
            keys.remove(&key);
        }
        self.read.remove(&key).map(|(_, task)| task)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) {
        let Some((keys, reading)) = &mut self.reading else {
            return;
        };
        let Poll::Ready(read) = reading.poll_unpin(cx) else {
            return;
        };
        // A body that could not be read is read when it is pushed, and the error told then.
        for (delivery, task) in read.map(|read| read.found).unwrap_or_default() {
            let task = task.filter(|_| keys.contains(&delivery.key()));
            let read = task.map(|task| (delivery.key(), (delivery, task)));
            self.read.extend(read);
        }
        self.reading = None;
    }
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        Self {
            reading: None,
            read: HashMap::new(),
        }
    }
}

/// What is on its way to a consumer: to be read, being read, read.
pub(super) struct Bodies<V, T> {
    node: Node<V>,
    namespace: Namespace,
    make: Make<T>,
    waiting: VecDeque<Delivery>,
    reading: Option<(Vec<Delivery>, Reading<T>)>,
    ready: VecDeque<(Delivery, T)>,
    ahead: Ahead<T>,
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
            ahead: Ahead::default(),
            delivered: Delivered::default(),
        }
    }

    pub(super) fn push(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let task = self.ahead.take(&delivery);
            let ready = self.ready.iter().map(|(ready, _)| ready.grant.bytes);
            // As much may be read for a client that does not read as without this.
            let fits = ready.sum::<u64>() + delivery.grant.bytes
                <= limits::STREAM_READ_BYTES_MAX as u64
                && self.ready.len() < limits::STREAM_READ_BATCH;
            let is_next = self.waiting.is_empty() && self.reading.is_none();
            match task.filter(|_| is_next && fits) {
                Some(task) => self.ready.push_back((delivery, task)),
                None => self.waiting.push_back(delivery),
            }
        }
    }

    /// Reads the bodies of leases that will be pushed, as far as there is room for them.
    pub(super) fn expect(&mut self, deliveries: Vec<Delivery>) {
        if self.ahead.reading.is_some() {
            return;
        }
        let batch = self.ahead.choose(deliveries);
        if !batch.is_empty() {
            let keys = batch.iter().map(Delivery::key).collect();
            let (node, namespace) = (self.node.clone(), self.namespace.clone());
            let reading = read(node, namespace, batch, self.make).boxed();
            self.ahead.reading = Some((keys, reading));
        }
    }

    /// Reads the bodies of what may go next, when what was read is written. Whether
    /// it did anything.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        self.ahead.poll_read(cx);
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
        self.ahead = Ahead::default();
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
