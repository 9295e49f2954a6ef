//! What the tries of one call came to, and what is said of them at the end. Pure.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::reasons::remedy;
use crate::retry::Repeat;

/// The tries of one call so far.
#[derive(Debug)]
pub(crate) struct Tries {
    repeat: Repeat,
    /// The last answer of a peer that refused.
    heard: Option<Error>,
    /// The first peer that was sent a change and gave no clear answer.
    in_doubt: Option<String>,
    /// A peer was asked.
    is_reached: bool,
    /// Peers that were not reached, or did not answer, and why; the last word on
    /// each.
    silent: Vec<(String, String)>,
}

impl Tries {
    pub(crate) fn new(repeat: Repeat) -> Self {
        Self {
            repeat,
            heard: None,
            in_doubt: None,
            is_reached: false,
            silent: Vec::new(),
        }
    }

    /// `address` was not reached: it was sent nothing.
    pub(crate) fn unreached(&mut self, address: &str, why: impl Into<String>) {
        self.silent.retain(|(known, _)| known != address);
        self.silent.push((address.to_owned(), why.into()));
    }

    /// `address` was asked, and failed so.
    pub(crate) fn failed(&mut self, address: &str, error: Error) {
        self.is_reached = true;
        if error.may_be_done() && !self.repeat.is_read() {
            self.in_doubt.get_or_insert_with(|| address.to_owned());
        }
        if error.is_answer() {
            self.heard = Some(error);
        } else {
            self.unreached(address, error.message());
        }
    }

    /// A failure that ends the call at once.
    pub(crate) fn refused(self, error: Error) -> Error {
        match self.in_doubt {
            Some(_) if !error.may_be_done() => error.after_doubt(),
            _ => error,
        }
    }

    /// What is said when the time is up, after `waited`.
    pub(crate) fn give_up(self, waited: Duration) -> Error {
        let silence = self.silence(waited);
        let Some(asked) = self.in_doubt else {
            return self.heard.unwrap_or_else(|| match self.is_reached {
                true => Error::new(
                    ErrorKind::DeadlineExceeded,
                    format!("{silence}; try again, or allow a longer time"),
                ),
                false => Error::new(
                    ErrorKind::NobodyAnswers,
                    format!(
                        "{silence}; {}",
                        remedy(self.silent.iter().map(|(_, why)| &**why))
                    ),
                ),
            });
        };
        let advice = match self.repeat {
            Repeat::Identified => {
                "look before you repeat it, or repeat it with the same request id"
            }
            _ => "look before you repeat it",
        };
        let (kind, text) = match self.heard {
            // What a peer says of it is more than can be said here.
            Some(heard) if heard.may_be_done() => return heard,
            Some(heard) => (
                ErrorKind::Unknown,
                format!(
                    "the outcome is unknown, for {asked} did not answer a try; {advice}; \
                     the last answer was: {}",
                    heard.message()
                ),
            ),
            None => (
                ErrorKind::DeadlineExceeded,
                format!("{silence}; the outcome is unknown: {advice}"),
            ),
        };
        Error::new(kind, text).in_doubt()
    }

    /// Nobody answered: who was asked, and why each did not.
    fn silence(&self, waited: Duration) -> String {
        let each = self
            .silent
            .iter()
            .map(|(peer, why)| format!("{peer} ({why})"));
        let each: Vec<_> = each.collect();
        match each.is_empty() {
            true => format!("no peer was asked within {}", span(waited)),
            false => format!("no answer from {}", each.join(", ")),
        }
    }
}

/// Seconds as people read them.
pub(crate) fn span(span: Duration) -> String {
    let tenths = span.as_millis().div_ceil(100);
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        rest => format!("{}.{rest} s", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITED: Duration = Duration::from_secs(10);

    fn no_leader() -> Error {
        Error::new(
            ErrorKind::Unavailable,
            "no leader is known; nothing was done",
        )
        .answered()
    }

    fn silent() -> Error {
        Error::of_status(4, "Deadline Exceeded")
    }

    #[test]
    fn the_last_answer_is_what_is_said() {
        for repeat in [
            Repeat::Read,
            Repeat::Safe,
            Repeat::Identified,
            Repeat::Never,
        ] {
            let mut tries = Tries::new(repeat);
            tries.unreached("a:1", "connection refused");
            tries.failed("b:1", no_leader());
            tries.unreached("b:1", "connection refused");
            let error = tries.give_up(WAITED);
            assert_eq!(error, no_leader(), "{repeat:?}");
            assert!(!error.may_be_done());
        }
    }

    #[test]
    fn a_read_has_no_outcome() {
        for repeat in [Repeat::Read, Repeat::ReadOnce, Repeat::Round] {
            let mut tries = Tries::new(repeat);
            tries.failed("a:1", silent());
            let error = tries.give_up(WAITED);
            assert!(!error.message().contains("outcome"), "{repeat:?}: {error}");
            assert!(error.message().contains("a:1 ("), "{repeat:?}: {error}");
            assert!(!error.may_be_done());
            let mut tries = Tries::new(repeat);
            tries.failed("b:1", no_leader());
            tries.failed("a:1", silent());
            assert_eq!(tries.give_up(WAITED), no_leader(), "{repeat:?}");
        }
    }

    #[test]
    fn a_change_whose_answer_was_lost_is_unknown_whatever_came_later() {
        for repeat in [Repeat::Safe, Repeat::Identified, Repeat::Never] {
            let mut tries = Tries::new(repeat);
            tries.failed("a:1", silent());
            let alone = tries.give_up(WAITED);
            assert_eq!(alone.kind(), ErrorKind::DeadlineExceeded);
            assert!(alone.message().contains("outcome is unknown"), "{alone}");
            let mut tries = Tries::new(repeat);
            tries.failed("a:1", silent());
            tries.failed("b:1", no_leader());
            let later = tries.give_up(WAITED);
            assert_eq!(later.kind(), ErrorKind::Unknown);
            assert!(later.message().contains("a:1"), "{later}");
            assert!(later.message().contains("no leader is known"), "{later}");
            assert!(alone.may_be_done() && later.may_be_done());
        }
    }

    #[test]
    fn a_refusal_after_a_lost_answer_says_so() {
        let full = || Error::of_status(8, "the namespace is full");
        let mut tries = Tries::new(Repeat::Identified);
        assert_eq!(Tries::new(Repeat::Identified).refused(full()), full());
        tries.failed("a:1", silent());
        let error = tries.refused(full());
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(error.may_be_done(), "{error}");
        assert!(error.message().contains("may have been done"), "{error}");
    }

    #[test]
    fn each_address_that_was_tried_is_named_once_with_its_reason() {
        let mut tries = Tries::new(Repeat::Safe);
        tries.unreached("a:1", "connection refused");
        tries.unreached("b:1", "the name does not resolve");
        tries.unreached("a:1", "no route to the host");
        let error = tries.give_up(WAITED);
        assert_eq!(error.kind(), ErrorKind::NobodyAnswers);
        let said = "b:1 (the name does not resolve), a:1 (no route to the host)";
        assert!(error.message().contains(said), "{error}");
        assert!(!error.may_be_done());
    }

    #[test]
    fn spans_are_short() {
        assert_eq!(span(Duration::from_millis(10_000)), "10 s");
        assert_eq!(span(Duration::from_millis(1_501)), "1.6 s");
    }
}
