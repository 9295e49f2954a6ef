//! The newest status of a peer, and those who are told when it changes, so that nobody
//! has to poll.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use event_listener::Event;

use crate::status::Status;

type Hook = Box<dyn Fn(&Arc<Status>) + Send>;

/// The newest status of a peer.
#[derive(Default)]
pub(crate) struct Published {
    status: RwLock<Arc<Status>>,
    /// Wakes those who wait in [`Published::when`].
    news: Event,
    hooks: Mutex<Vec<Hook>>,
}

impl Published {
    pub(crate) fn status(&self) -> Arc<Status> {
        // A writer that panicked has replaced nothing or all of it.
        Arc::clone(&self.status.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the status, and tells it when it is news.
    pub(crate) fn publish(&self, status: Status) {
        let status = Arc::new(status);
        let before = {
            let mut shared = self.status.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shared, Arc::clone(&status))
        };
        if !status.is_news_after(&before) {
            return;
        }
        self.news.notify(usize::MAX);
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.iter().for_each(|hook| hook(&status));
    }

    pub(crate) async fn when<T>(&self, mut look: impl FnMut(&Arc<Status>) -> Option<T>) -> T {
        loop {
            // What is published between the look and the wait ends the wait.
            let news = self.news.listen();
            if let Some(found) = look(&self.status()) {
                return found;
            }
            news.await;
        }
    }

    pub(crate) fn on_status(&self, hook: Hook) {
        // With the lock held: what is published meanwhile is told after it.
        let mut hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hook(&self.status());
        hooks.push(hook);
    }
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    struct Woken(mpsc::Sender<()>);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    fn of(leader: u64, commit_index: u64) -> Status {
        Status {
            leader,
            commit_index,
            ..Status::default()
        }
    }

    #[test]
    fn who_waits_is_woken_by_news_and_by_nothing_else() {
        let published = Published::default();
        let (tx, woken) = mpsc::channel();
        let waker = Waker::from(Arc::new(Woken(tx)));
        let mut cx = Context::from_waker(&waker);
        let led = |status: &Arc<Status>| (status.leader > 1).then_some(status.leader);
        let mut wait = pin!(published.when(led));
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Pending);
        published.publish(of(0, 7));
        assert!(
            woken.try_recv().is_err(),
            "a log grew; nobody waits for that"
        );
        published.publish(of(1, 7));
        assert!(woken.try_recv().is_ok());
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Pending, "not that one");
        published.publish(of(2, 7));
        assert!(woken.try_recv().is_ok());
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Ready(2));
    }

    #[test]
    fn a_hook_is_told_how_it_is_and_then_each_change() {
        let published = Published::default();
        published.publish(of(1, 1));
        let (tx, told) = mpsc::channel();
        published.on_status(Box::new(move |status| {
            let _ = tx.send(status.leader);
        }));
        for status in [of(1, 2), of(0, 3), of(2, 3)] {
            published.publish(status);
        }
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 0, 2]);
    }
}
