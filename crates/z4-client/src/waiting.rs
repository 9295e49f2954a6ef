//! Telling those who run a long-lived call that it waits for the cluster, why, and
//! when it is back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::limits;

/// How a long-lived call gets on: a [`crate::Consumer`] or a [`crate::TaskStream`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Wait {
    /// It has waited for the cluster for a second, and goes on trying by itself.
    /// The reason is that of its last try.
    Began(Error),
    /// It is back, after so long.
    Ended(Duration),
}

/// Called with each [`Wait`]: `Began` once for each time that the call waits, then
/// `Ended`. It is called between two steps of the call and must not block. Cheap to
/// clone.
#[derive(Clone)]
pub struct OnWait(Arc<dyn Fn(Wait) + Send + Sync>);

impl OnWait {
    /// Calls `tell`.
    #[must_use]
    pub fn new(tell: impl Fn(Wait) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait")
    }
}

/// Since when a call waits, and whether that was told. Time is an argument.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    on_wait: Option<OnWait>,
    since: Option<Instant>,
    is_told: bool,
}

impl Waiting {
    pub(crate) fn new(on_wait: Option<OnWait>) -> Self {
        Self {
            on_wait,
            ..Self::default()
        }
    }

    /// A try failed. A short wait, as when the leader changes, is nobody's concern.
    pub(crate) fn failed(&mut self, error: &Error, began_at: Instant, now: Instant) {
        let since = *self.since.get_or_insert(began_at);
        if !self.is_told && now.saturating_duration_since(since) >= limits::WAIT_NOTICE {
            self.is_told = true;
            self.tell(Wait::Began(error.clone()));
        }
    }

    /// The call gets on.
    pub(crate) fn got_on(&mut self, now: Instant) {
        let since = self.since.take();
        if std::mem::take(&mut self.is_told) {
            let waited = since.map(|since| now.saturating_duration_since(since));
            self.tell(Wait::Ended(waited.unwrap_or_default()));
        }
    }

    fn tell(&self, wait: Wait) {
        if let Some(OnWait(tell)) = &self.on_wait {
            tell(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::error::ErrorKind;

    fn told() -> (Waiting, Arc<Mutex<Vec<Wait>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let of_hook = Arc::clone(&told);
        let hook = OnWait::new(move |wait| of_hook.lock().unwrap().push(wait));
        (Waiting::new(Some(hook)), told)
    }

    #[test]
    fn a_wait_is_told_once_with_its_last_reason_and_its_end_once() {
        let (mut waiting, told) = told();
        let (start, s) = (Instant::now(), Duration::from_secs);
        let error = |text: &str| Error::new(ErrorKind::Unavailable, text);
        waiting.got_on(start);
        waiting.failed(&error("the stream broke"), start, start);
        waiting.failed(&error("no leader"), start + s(1), start + s(3));
        waiting.failed(&error("another"), start + s(3), start + s(6));
        waiting.got_on(start + s(9));
        waiting.got_on(start + s(10));
        let expected = [Wait::Began(error("no leader")), Wait::Ended(s(9))];
        assert_eq!(*told.lock().unwrap(), expected);
    }

    #[test]
    fn a_short_wait_is_not_told() {
        let (mut waiting, told) = told();
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let error = Error::new(ErrorKind::Unavailable, "the stream broke");
        waiting.failed(&error, start, start + ms(900));
        waiting.got_on(start + ms(950));
        assert!(told.lock().unwrap().is_empty());
    }
}
