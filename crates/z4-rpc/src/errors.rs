//! What goes wrong here, and the one table to gRPC status.
//!
//! | situation | status |
//! |---|---|
//! | no leader, no quorum, not in a cluster, shutting down | UNAVAILABLE |
//! | the outcome is unknown | when repeating it is safe and answers the same, as with a request id, UNAVAILABLE; else UNKNOWN |
//! | bad field, oversize, bad time | INVALID_ARGUMENT |
//! | no such task, namespace, peer | NOT_FOUND |
//! | request id with other content, name or address taken | ALREADY_EXISTS |
//! | the state forbids it | FAILED_PRECONDITION |
//! | nobody knows the caller; the caller lacks a grant | UNAUTHENTICATED; PERMISSION_DENIED |
//! | a queue or a store is full, or a disk nearly | RESOURCE_EXHAUSTED, with a retry delay |

use grpcio::{RpcStatus, RpcStatusCode};
use z4_consensus::{ProposeError, ReadError};
use z4_core::{Code, Refusal};
use z4_proto::generated::peer::{ForwardError, ForwardOutcome};

use crate::status_details::Details;

/// Why a request was not (certainly) done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Definitely not done, and why.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Nothing was done, because something is missing; safe to retry.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been done, or may yet be.
    #[error("{}", unknown_text(*.idempotent))]
    Unknown {
        /// The request has a request id: repeating it is safe.
        idempotent: bool,
    },
    /// A change may have been done, or may yet be; what to do is said: look, and
    /// repeat it if it was not done. A repeat that is blind may undo what others
    /// did since.
    #[error("no quorum confirmed it in time and the outcome is unknown; {0}")]
    Uncertain(String),
    /// A change of members or of the leader may have been made in part or whole;
    /// to ask for it again is safe.
    #[error("{0}")]
    Unconfirmed(String),
    /// A queue is full; nothing was done.
    #[error("{what} is full; retry in {retry_after_ms} ms")]
    Busy {
        /// Which.
        what: String,
        /// How long to wait at least.
        retry_after_ms: u64,
    },
    /// A peer has too little disk space for what makes it less; nothing was done.
    #[error(
        "peer {peer_id} is low on disk space: {free_bytes} bytes are free, {needed_bytes} must stay \
         so; nothing is created until there is room, all else goes on; retry in {retry_after_ms} ms"
    )]
    DiskLow {
        /// Which.
        peer_id: String,
        /// What it has.
        free_bytes: u64,
        /// What it must keep.
        needed_bytes: u64,
        /// How long to wait at least.
        retry_after_ms: u64,
    },
    /// The state of the cluster forbids it; nothing was done.
    #[error("{0}")]
    Precondition(String),
    /// The caller has shown nothing that is good. It is not told why: whoever guesses
    /// learns nothing.
    #[error("the caller is not known; show a token or a certificate of a principal")]
    Unauthenticated,
    /// The caller may not do this; the grant that is missing is named.
    #[error("{0}")]
    Denied(String),
    /// What another peer answered.
    #[error("{message}")]
    Remote {
        /// gRPC status code.
        code: i32,
        /// For a person.
        message: String,
        /// How long to wait at least; 0 when it does not matter.
        retry_after_ms: u64,
        /// Whether anything was done, if that peer says so.
        reason: Option<&'static str>,
    },
    /// A broken invariant or a failed store.
    #[error("{0}")]
    Internal(String),
}

/// The reason why a call to another peer failed, for a person: the words of its status,
/// where there are any.
pub(crate) fn said(error: &grpcio::Error) -> String {
    let status = match error {
        grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => status,
        other => return other.to_string(),
    };
    match status.message() {
        "" => error.to_string(),
        message => message.to_owned(),
    }
}

/// Surely nothing was done.
const NOTHING_DONE: &str = "NOTHING_DONE";
/// It may have been done, or may yet be.
const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

fn unknown_text(idempotent: bool) -> &'static str {
    if idempotent {
        "no quorum confirmed it in time and the outcome is unknown; repeat the request as it was, with its \
         request_id if it takes one"
    } else {
        "no quorum confirmed it in time and the outcome is unknown; a retry may make a second task \
         (with a request_id it cannot)"
    }
}

impl Error {
    /// A field is wrong: `field` as the client knows it, `rule` as "must …".
    pub fn invalid(field: &str, rule: impl std::fmt::Display) -> Self {
        Self::Refused(Refusal::invalid(field, rule))
    }

    /// No such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(Code::NotFound, message))
    }

    /// The name is taken.
    pub fn exists(message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(Code::AlreadyExists, message))
    }

    /// The gRPC status code.
    #[must_use]
    pub fn code(&self) -> RpcStatusCode {
        match self {
            Self::Refused(refusal) => match refusal.code {
                Code::Invalid => RpcStatusCode::INVALID_ARGUMENT,
                Code::NotFound => RpcStatusCode::NOT_FOUND,
                Code::AlreadyExists => RpcStatusCode::ALREADY_EXISTS,
                Code::Precondition => RpcStatusCode::FAILED_PRECONDITION,
                Code::Exhausted => RpcStatusCode::RESOURCE_EXHAUSTED,
            },
            Self::Unavailable(_) | Self::Unconfirmed(_) | Self::Unknown { idempotent: true } => {
                RpcStatusCode::UNAVAILABLE
            }
            Self::Unknown { idempotent: false } | Self::Uncertain(_) => RpcStatusCode::UNKNOWN,
            Self::Busy { .. } | Self::DiskLow { .. } => RpcStatusCode::RESOURCE_EXHAUSTED,
            Self::Precondition(_) => RpcStatusCode::FAILED_PRECONDITION,
            Self::Unauthenticated => RpcStatusCode::UNAUTHENTICATED,
            Self::Denied(_) => RpcStatusCode::PERMISSION_DENIED,
            Self::Remote { code, .. } => RpcStatusCode::from(*code),
            Self::Internal(_) => RpcStatusCode::INTERNAL,
        }
    }

    /// How long to wait before a retry, in milliseconds, when a wait helps.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_after_ms, .. } | Self::DiskLow { retry_after_ms, .. } => {
                Some(*retry_after_ms)
            }
            Self::Remote { retry_after_ms, .. } if *retry_after_ms > 0 => Some(*retry_after_ms),
            Self::Refused(refusal) if refusal.code == Code::Exhausted => Some(1_000),
            _ => None,
        }
    }

    /// The gRPC status. Its details have `google.rpc.RetryInfo` when a wait helps,
    /// and `google.rpc.ErrorInfo` of the domain `z4` when the code alone does not
    /// say whether anything was done: NOTHING_DONE or OUTCOME_UNKNOWN.
    #[must_use]
    pub fn status(&self) -> RpcStatus {
        // A NUL or line break has no place in a status line.
        let message: String = self
            .to_string()
            .chars()
            .filter(|c| !c.is_control())
            .collect();
        let details = Details {
            retry_after_ms: self.retry_after_ms(),
            reason: self.reason(),
        };
        match details.write(self.code(), &message) {
            Some(details) => RpcStatus::with_details(self.code(), message, details),
            None => RpcStatus::with_message(self.code(), message),
        }
    }

    /// What UNAVAILABLE and UNKNOWN leave open: whether anything was done. A
    /// connection that breaks is UNAVAILABLE too, and cannot know.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unavailable(_) => Some(NOTHING_DONE),
            Self::Unknown { .. } | Self::Uncertain(_) | Self::Unconfirmed(_) => {
                Some(OUTCOME_UNKNOWN)
            }
            Self::Remote { reason, .. } => *reason,
            _ => None,
        }
    }

    /// The error of a read that follows a change which was made: nobody may be told
    /// that nothing was done. `made` says it better.
    #[must_use]
    pub(crate) fn after_change(self, made: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Unavailable(_) | Self::Busy { .. } => made(),
            error => error,
        }
    }

    /// The error of a change which may have been made; `doubt` says better where to
    /// look whether it was.
    #[must_use]
    pub(crate) fn in_doubt(self, doubt: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Unknown { .. } => doubt(),
            error => error,
        }
    }

    /// The error of a proposal. `idempotent`: it carries a request id.
    #[must_use]
    pub fn of_proposal(error: ProposeError, idempotent: bool) -> Self {
        match error {
            ProposeError::NotLeader
            | ProposeError::Superseded
            | ProposeError::NotJoined
            | ProposeError::Removed
            | ProposeError::Stopping
            | ProposeError::Clock(_) => Self::Unavailable(error.to_string()),
            ProposeError::Busy {
                what,
                retry_after_ms,
            } => Self::Busy {
                what: what.to_owned(),
                retry_after_ms,
            },
            ProposeError::Unknown => Self::Unknown { idempotent },
            ProposeError::TooLarge { .. } => {
                Self::invalid("message", format!("is too large: {error}"))
            }
            rejected @ (ProposeError::Rejected(_) | ProposeError::NoOtherVoter) => {
                Self::Precondition(rejected.to_string())
            }
        }
    }

    /// The form between peers. `not_leader`, `unknown`: as the leader's side
    /// knows them.
    #[must_use]
    pub fn to_forward(&self, not_leader: bool) -> ForwardError {
        let mut error = ForwardError::default();
        error.set_status(i32::from(self.code()).unsigned_abs());
        error.set_message(self.to_string());
        error.set_not_leader(not_leader);
        error.set_unknown(matches!(self, Self::Unknown { .. } | Self::Uncertain(_)));
        error.set_retry_after_ms(self.retry_after_ms().unwrap_or(0));
        error.set_outcome(match self.reason() {
            Some(NOTHING_DONE) => ForwardOutcome::FORWARD_OUTCOME_NOTHING_DONE,
            Some(_) => ForwardOutcome::FORWARD_OUTCOME_UNKNOWN,
            None => ForwardOutcome::FORWARD_OUTCOME_UNSAID,
        });
        error
    }

    /// Reads the form between peers.
    #[must_use]
    pub fn of_forward(error: &ForwardError, idempotent: bool) -> Self {
        if error.get_unknown() {
            return Self::Unknown { idempotent };
        }
        Self::Remote {
            code: i32::try_from(error.get_status()).unwrap_or(2),
            message: error.get_message().to_owned(),
            retry_after_ms: error.get_retry_after_ms(),
            reason: match error.get_outcome() {
                ForwardOutcome::FORWARD_OUTCOME_NOTHING_DONE => Some(NOTHING_DONE),
                ForwardOutcome::FORWARD_OUTCOME_UNKNOWN => Some(OUTCOME_UNKNOWN),
                ForwardOutcome::FORWARD_OUTCOME_UNSAID => None,
            },
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy => Self::Busy {
                what: "the queue of reads".into(),
                retry_after_ms: 100,
            },
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use z4_consensus::ClockFault;

    use super::*;

    #[test]
    fn a_call_that_failed_is_told_in_the_words_of_its_status() {
        let status =
            |text: &str| RpcStatus::with_message(RpcStatusCode::UNAVAILABLE, text.to_owned());
        let refused = "connection refused";
        let failed = grpcio::Error::RpcFailure(status(refused));
        let finished = grpcio::Error::RpcFinished(Some(status(refused)));
        assert_eq!(
            (said(&failed).as_str(), said(&finished).as_str()),
            (refused, refused)
        );
        for silent in [
            grpcio::Error::RpcFailure(status("")),
            grpcio::Error::RpcFinished(None),
        ] {
            assert!(!said(&silent).is_empty());
        }
    }

    #[test]
    fn after_a_change_nobody_is_told_that_nothing_was_done() {
        let made = || Error::Uncertain("look".into());
        let busy = Error::Busy {
            what: "the queue of reads".into(),
            retry_after_ms: 100,
        };
        for error in [Error::Unavailable("no leader; retry".into()), busy] {
            assert_eq!(error.after_change(made).reason(), Some("OUTCOME_UNKNOWN"));
        }
        let gone = Error::not_found("no such namespace");
        assert_eq!(gone.clone().after_change(made), gone);
    }

    #[test]
    fn the_table_is_as_drawn() {
        use RpcStatusCode as S;
        let refused = |code| Error::Refused(Refusal::new(code, "m"));
        let proposal = |error| Error::of_proposal(error, false);
        let busy = ProposeError::Busy {
            what: "q",
            retry_after_ms: 70,
        };
        let disk_low = Error::DiskLow {
            peer_id: "peer1".into(),
            free_bytes: 1,
            needed_bytes: 2,
            retry_after_ms: 70,
        };
        let large = ProposeError::TooLarge { bytes: 2, limit: 1 };
        let table = [
            (refused(Code::Invalid), S::INVALID_ARGUMENT),
            (refused(Code::NotFound), S::NOT_FOUND),
            (refused(Code::AlreadyExists), S::ALREADY_EXISTS),
            (refused(Code::Precondition), S::FAILED_PRECONDITION),
            (refused(Code::Exhausted), S::RESOURCE_EXHAUSTED),
            (proposal(ProposeError::NotLeader), S::UNAVAILABLE),
            (
                proposal(ProposeError::Clock(ClockFault::Unmeasured)),
                S::UNAVAILABLE,
            ),
            (proposal(ProposeError::Superseded), S::UNAVAILABLE),
            (proposal(ProposeError::NotJoined), S::UNAVAILABLE),
            (proposal(ProposeError::Removed), S::UNAVAILABLE),
            (proposal(ProposeError::Stopping), S::UNAVAILABLE),
            (proposal(ProposeError::Unknown), S::UNKNOWN),
            (
                Error::of_proposal(ProposeError::Unknown, true),
                S::UNAVAILABLE,
            ),
            (proposal(busy), S::RESOURCE_EXHAUSTED),
            (proposal(large), S::INVALID_ARGUMENT),
            (proposal(ProposeError::NoOtherVoter), S::FAILED_PRECONDITION),
            (Error::Uncertain("look".into()), S::UNKNOWN),
            (Error::Unconfirmed("look".into()), S::UNAVAILABLE),
            (ReadError::NoLeader { waited_ms: 5 }.into(), S::UNAVAILABLE),
            (ReadError::Busy.into(), S::RESOURCE_EXHAUSTED),
            (ReadError::NotJoined.into(), S::UNAVAILABLE),
            (disk_low, S::RESOURCE_EXHAUSTED),
            (Error::Internal("x".into()), S::INTERNAL),
        ];
        for (error, code) in table {
            assert_eq!(error.code(), code, "{error:?}");
            assert!(!error.status().message().is_empty(), "{error:?}");
            let status = error.status();
            let details = String::from_utf8_lossy(status.details());
            let carries_delay = details.contains("google.rpc.RetryInfo");
            assert_eq!(carries_delay, code == S::RESOURCE_EXHAUSTED, "{error:?}");
            let is_open = matches!(code, S::UNAVAILABLE | S::UNKNOWN);
            let says = |reason| details.contains(reason);
            let maybe = matches!(
                error,
                Error::Unknown { .. } | Error::Uncertain(_) | Error::Unconfirmed(_)
            );
            assert_eq!(says("NOTHING_DONE"), is_open && !maybe, "{error:?}");
            assert_eq!(says("OUTCOME_UNKNOWN"), is_open && maybe, "{error:?}");
        }
    }

    #[test]
    fn errors_pass_between_peers() {
        let busy = Error::Busy {
            what: "inbox".into(),
            retry_after_ms: 70,
        };
        let back = Error::of_forward(&busy.to_forward(false), false);
        assert_eq!(back.code(), busy.code());
        assert_eq!(back.retry_after_ms(), Some(70));
        assert_eq!(back.to_string(), busy.to_string());
        let unknown = Error::Unknown { idempotent: false }.to_forward(false);
        let back = Error::of_forward(&unknown, true);
        assert_eq!(back, Error::Unknown { idempotent: true });
    }

    #[test]
    fn whether_anything_was_done_passes_between_peers() {
        let errors = [
            Error::Unavailable("retry".into()),
            Error::Unconfirmed("look".into()),
            Error::Uncertain("look".into()),
            Error::Unknown { idempotent: true },
            Error::not_found("no such member"),
        ];
        for error in errors {
            let back = Error::of_forward(&error.to_forward(false), true);
            assert_eq!(back.reason(), error.reason(), "{error:?}");
            assert_eq!(
                back.status().details().is_empty(),
                error.reason().is_none(),
                "{error:?}"
            );
        }
        // A peer of a version that does not say it.
        let mut silent = Error::Unavailable("retry".into()).to_forward(false);
        silent.clear_outcome();
        let back = Error::of_forward(&silent, true);
        assert_eq!(
            (back.code(), back.reason()),
            (RpcStatusCode::UNAVAILABLE, None)
        );
    }

    #[test]
    fn a_status_line_has_no_control_characters() {
        let status = Error::Unavailable("a\0b\nc".into()).status();
        assert_eq!(status.message(), "abc");
    }
}
