//! What a producer has sent and not yet been answered. Pure: time is an
//! argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use z4_proto::collection::CreateTaskRequest;

use crate::error::{Error, ErrorKind};

/// One create, and whom to tell.
#[derive(Debug)]
pub(super) struct Entry<R> {
    pub request: Arc<CreateTaskRequest>,
    pub bytes: usize,
    pub reply: R,
    /// After this it is not tried again.
    pub give_up_at: Instant,
    /// Why the last try failed.
    pub error: Option<Error>,
    /// A try of before got no clear answer: it may have been done, whatever the
    /// later ones are told.
    pub is_in_doubt: bool,
}

impl<R> Entry<R> {
    /// The last error, which says what the earlier tries leave open.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        let error = self.error.take()?;
        Some(match self.is_in_doubt && !error.may_be_done() {
            true => error.after_doubt(),
            false => error,
        })
    }
}

/// Creates in order: first those that are sent on the stream of now, then those
/// that are not. Answers come in the order of requests.
#[derive(Debug)]
pub(super) struct Window<R> {
    entries: VecDeque<Entry<R>>,
    sent: usize,
    bytes: usize,
    /// Since when the oldest sent one waits for its answer.
    waits_since: Option<Instant>,
}

impl<R> Default for Window<R> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            sent: 0,
            bytes: 0,
            waits_since: None,
        }
    }
}

/// What an answer means for its create.
#[derive(Debug)]
pub(super) enum Answered<R> {
    /// It is over.
    Over(Entry<R>),
    /// It goes again, behind the others, because of this.
    Again(Error),
    /// Nothing was asked.
    Unasked,
}

impl<R> Window<R> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether another of `bytes` fits. One larger than the bound goes alone.
    pub(super) fn has_room(&self, bytes: usize, count_max: usize, bytes_max: usize) -> bool {
        let fits = self.bytes.saturating_add(bytes) <= bytes_max;
        self.entries.len() < count_max && (fits || self.entries.is_empty())
    }

    pub(super) fn push(&mut self, entry: Entry<R>) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    /// The next to send on the stream of now, and whether another follows.
    pub(super) fn send(&mut self, now: Instant) -> Option<(Arc<CreateTaskRequest>, bool)> {
        let entry = self.entries.get(self.sent)?;
        let request = Arc::clone(&entry.request);
        self.sent += 1;
        self.waits_since.get_or_insert(now);
        Some((request, self.sent < self.entries.len()))
    }

    /// The oldest sent one is answered; `error`: with what.
    pub(super) fn answered(&mut self, error: Option<Error>, now: Instant) -> Answered<R> {
        if self.sent == 0 {
            return Answered::Unasked;
        }
        let Some(mut entry) = self.entries.pop_front() else {
            return Answered::Unasked;
        };
        self.sent -= 1;
        self.waits_since = (self.sent > 0).then_some(now);
        if let Some(error) = error.as_ref().filter(|e| may_retry(e.kind())) {
            if now < entry.give_up_at {
                entry.is_in_doubt |= error.may_be_done();
                entry.error = Some(error.clone());
                self.entries.push_back(entry);
                return Answered::Again(error.clone());
            }
        }
        entry.error = error;
        self.bytes -= entry.bytes;
        Answered::Over(entry)
    }

    /// The stream broke: all that is not answered is to be sent again, in order.
    pub(super) fn broke(&mut self) {
        let sent = self.entries.iter_mut().take(self.sent);
        sent.for_each(|entry| entry.is_in_doubt = true);
        self.sent = 0;
        self.waits_since = None;
    }

    /// Takes out all, in order.
    pub(super) fn take_all(&mut self) -> Vec<Entry<R>> {
        self.sent = 0;
        self.bytes = 0;
        self.waits_since = None;
        self.entries.drain(..).collect()
    }

    /// Takes out those that are not sent and whose time is up.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Entry<R>> {
        let mut over = Vec::new();
        for at in (self.sent..self.entries.len()).rev() {
            if self.entries[at].give_up_at <= now {
                over.extend(self.entries.remove(at));
            }
        }
        self.bytes -= over.iter().map(|entry| entry.bytes).sum::<usize>();
        over.reverse();
        over
    }

    /// Whether the oldest sent one has waited for longer than `stall`.
    pub(super) fn is_stalled(&self, now: Instant, stall: Duration) -> bool {
        self.waits_since.is_some_and(|since| now >= since + stall)
    }
}

/// Every create has a request id: repeating it is safe whatever happened.
fn may_retry(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unavailable
            | ErrorKind::Unknown
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Exhausted
            | ErrorKind::Cancelled
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    fn entry(name: &str, bytes: usize, give_up_at: Instant) -> Entry<()> {
        let mut request = CreateTaskRequest::default();
        request.set_request_id(name.to_owned());
        Entry {
            request: Arc::new(request),
            bytes,
            reply: (),
            give_up_at,
            error: None,
            is_in_doubt: false,
        }
    }

    fn window(names: &[&str], now: Instant) -> Window<()> {
        let mut window = Window::default();
        for name in names {
            window.push(entry(name, 10, now + STALL));
        }
        window
    }

    fn sent(window: &mut Window<()>, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| window.send(now))
            .map(|(request, _)| request.get_request_id().to_owned())
            .collect()
    }

    fn unavailable() -> Option<Error> {
        Some(Error::of_status(14, "no leader"))
    }

    #[test]
    fn both_bounds_hold_and_a_large_one_goes_alone() {
        let now = Instant::now();
        let mut window = Window::default();
        assert!(window.has_room(1_000, 2, 25));
        window.push(entry("a", 10, now));
        assert!(window.has_room(15, 2, 25));
        assert!(!window.has_room(16, 2, 25));
        window.push(entry("b", 10, now));
        assert!(!window.has_room(1, 2, 25));
    }

    #[test]
    fn what_was_not_answered_is_sent_again_in_order_under_the_same_ids() {
        let now = Instant::now();
        let mut window = window(&["a", "b", "c"], now);
        assert_eq!(sent(&mut window, now), ["a", "b", "c"]);
        assert!(matches!(window.answered(None, now), Answered::Over(_)));
        window.broke();
        window.push(entry("d", 10, now + STALL));
        assert_eq!(sent(&mut window, now), ["b", "c", "d"]);
    }

    #[test]
    fn a_create_without_a_leader_goes_again_behind_the_others() {
        let now = Instant::now();
        let mut window = window(&["a", "b"], now);
        assert_eq!(window.send(now).map(|(_, more)| more), Some(true));
        assert!(matches!(
            window.answered(unavailable(), now),
            Answered::Again(_)
        ));
        assert_eq!(sent(&mut window, now), ["b", "a"]);
        // When its time is up, its error is its answer.
        let late = now + STALL;
        assert!(matches!(window.answered(None, late), Answered::Over(_)));
        let Answered::Over(entry) = window.answered(unavailable(), late) else {
            panic!("it goes on");
        };
        assert_eq!(entry.error.unwrap().kind(), ErrorKind::Unavailable);
        assert!(window.has_room(25, 1, 25));
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let now = Instant::now();
        let mut window = window(&["a"], now);
        window.send(now);
        let refused = Some(Error::of_status(3, "bad"));
        assert!(matches!(window.answered(refused, now), Answered::Over(_)));
        assert!(matches!(window.answered(None, now), Answered::Unasked));
    }

    #[test]
    fn a_refusal_after_a_stream_that_broke_leaves_it_open() {
        let now = Instant::now();
        let mut window = window(&["a", "b"], now);
        window.send(now);
        window.broke();
        assert_eq!(sent(&mut window, now), ["a", "b"]);
        for may_be_done in [true, false] {
            let refused = Some(Error::of_status(3, "bad"));
            let Answered::Over(mut entry) = window.answered(refused, now) else {
                panic!("it goes on");
            };
            // The second had not been sent when the stream broke.
            let error = entry.take_error().unwrap();
            assert_eq!(error.may_be_done(), may_be_done, "{error}");
        }
    }

    #[test]
    fn only_what_is_not_on_its_way_is_given_up() {
        let now = Instant::now();
        let mut window = window(&["a", "b"], now);
        window.send(now);
        let over = window.give_up(now + STALL);
        assert_eq!(over.len(), 1);
        assert_eq!(over[0].request.get_request_id(), "b");
        window.broke();
        assert_eq!(window.give_up(now + STALL).len(), 1);
        assert_eq!(window.len(), 0);
        assert!(window.has_room(25, 1, 25));
    }

    #[test]
    fn a_stream_stalls_when_its_oldest_create_waits() {
        let now = Instant::now();
        let mut window = window(&["a", "b"], now);
        assert!(!window.is_stalled(now + STALL, STALL));
        window.send(now);
        window.send(now);
        assert!(window.is_stalled(now + STALL, STALL));
        let later = now + STALL / 2;
        let _ = window.answered(None, later);
        assert!(!window.is_stalled(now + STALL, STALL));
        assert!(window.is_stalled(later + STALL, STALL));
    }
}
