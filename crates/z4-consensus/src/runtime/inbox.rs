//! The inbox of a peer: three channels that the raft thread drains.

use crossbeam_channel::Receiver;

use super::handle::{News, Request};
use super::rounds::{Notice, Sleep};

/// The receiving ends of the channels.
pub(super) struct Inbox<R> {
    pub(super) requests: Receiver<Request<R>>,
    pub(super) news: Receiver<News>,
    pub(super) notices: Receiver<Notice>,
}

impl<R> Clone for Inbox<R> {
    fn clone(&self) -> Self {
        Self {
            requests: self.requests.clone(),
            news: self.news.clone(),
            notices: self.notices.clone(),
        }
    }
}

impl<R> Inbox<R> {
    /// Tells whether nothing waits to be taken in.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.news.is_empty() && self.notices.is_empty()
    }

    /// Waits until something is there, until a nudge comes, or until the sleep is over.
    /// The caller finds what is there by looking.
    pub(super) fn wait(&self, sleep: &Sleep, nudges: &Receiver<()>) {
        let mut ready = crossbeam_channel::Select::new();
        ready.recv(&self.news);
        ready.recv(&self.notices);
        ready.recv(nudges);
        if !sleep.clogged {
            if !self.is_empty() {
                return;
            }
            ready.recv(&self.requests);
        }
        // Requests of a clogged peer wait in their channel; a notice says when there is
        // room.
        let _ = ready.ready_deadline(sleep.until);
        let _ = nudges.try_recv();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn a_nudge_ends_a_sleep_and_a_request_does_not_end_that_of_a_clogged_peer() {
        let (requests_tx, requests) = bounded(1);
        let ((_news_tx, news), (_notices_tx, notices)) = (bounded(1), bounded(1));
        let inbox: Inbox<()> = Inbox {
            requests,
            news,
            notices,
        };
        let (nudge, nudges) = bounded(1);
        let slept = |clogged, time| {
            let began = Instant::now();
            let until = began + time;
            inbox.wait(&Sleep { until, clogged }, &nudges);
            Instant::now() >= until
        };
        let (short, long) = (Duration::from_millis(5), Duration::from_secs(60));
        assert!(slept(false, short));
        assert!(nudge.send(()).is_ok());
        assert!(!slept(false, long));
        assert!(slept(false, short), "one nudge ends one sleep");
        assert!(requests_tx.send(Request::Stop).is_ok());
        assert!(!slept(false, long));
        assert!(slept(true, short));
    }
}
