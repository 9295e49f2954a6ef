//! What can go wrong, and whether trying again helps.

use grpcio::{RpcStatus, RpcStatusCode};

use crate::reasons::plain_reason;
use crate::retry::Repeat;
use crate::status::Done;

/// The kinds of what can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No peer could be reached; nothing was done.
    NobodyAnswers,
    /// No leader, no quorum, or a connection that broke on the way. Calls that
    /// are safe to repeat have been repeated until their time was up.
    Unavailable,
    /// It was done or it was not, and that cannot be told.
    Unknown,
    /// No answer in time. A change may have been made
    /// ([`Error::may_be_done`]).
    DeadlineExceeded,
    /// A field is wrong; the message names field and limit.
    InvalidArgument,
    /// No such task, namespace or peer.
    NotFound,
    /// The request id was used with other content, or a name is taken.
    AlreadyExists,
    /// The state forbids it; nothing changed. The message says what stands in
    /// the way.
    FailedPrecondition,
    /// A limit of the namespace or of the cluster is reached; nothing was done.
    Exhausted,
    /// Another took over: a second stream of the same consumer, for example.
    Aborted,
    /// The call was given up.
    Cancelled,
    /// The peer does not know who is asking: there is no token, it is wrong, has run out or
    /// was revoked. Nothing was done.
    Unauthenticated,
    /// The peer knows who is asking, and that it may not do this. Nothing was done; the
    /// message names the grant that is missing.
    PermissionDenied,
    /// The peer does not know this call: it is older, or not z4 at all.
    Unimplemented,
    /// A fault of the peer.
    Internal,
    /// The client cannot do it here: it is closed, or the system gives it no
    /// thread.
    Client,
}

/// Why a call failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    /// What was asked for may have been done.
    may_be_done: bool,
    /// A peer said so; else the connection failed, or this client says it.
    is_answer: bool,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            may_be_done: false,
            is_answer: false,
        }
    }

    /// The same, of a change that may have been made.
    pub(crate) fn in_doubt(mut self) -> Self {
        self.may_be_done = true;
        self
    }

    /// The same, of a try that came after one whose answer was lost.
    pub(crate) fn after_doubt(&self) -> Self {
        let text = format!(
            "{}; an earlier try, whose answer was lost, may have been done",
            self.message
        );
        Self::new(self.kind, text).in_doubt()
    }

    /// This error, of a token that was refused while another one stands in its file already.
    pub(crate) fn with_other_token(self) -> Self {
        let text = format!(
            "{}; another token stands in its file now: try again",
            self.message
        );
        Self {
            kind: ErrorKind::Unavailable,
            message: text,
            ..self
        }
    }

    /// This error, with what is wrong with the file of the token.
    pub(crate) fn with_trouble(mut self, trouble: &str) -> Self {
        self.message = format!("{}; {trouble}", self.message);
        self
    }

    /// The same, as the answer of a peer.
    #[cfg(test)]
    pub(crate) fn answered(mut self) -> Self {
        self.is_answer = true;
        self
    }

    /// Whether a peer said so, and not the connection or this client.
    pub(crate) fn is_answer(&self) -> bool {
        self.is_answer
    }

    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// One line for a person: it names field, limit and remedy.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the change that was asked for may have been made all the same, or
    /// may yet be: an answer was lost, and no later one told. Look before you
    /// repeat it, unless it carries a request id. Always `false` for a call that
    /// only reads.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        self.may_be_done
    }

    /// Whether the same call may go well later. Whether repeating it is *safe*
    /// is another matter: see [`Error::may_be_done`].
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NobodyAnswers
                | ErrorKind::Unavailable
                | ErrorKind::Unknown
                | ErrorKind::DeadlineExceeded
                | ErrorKind::Exhausted
                | ErrorKind::Cancelled
        )
    }

    /// The error of a status code as it stands in a message of the wire.
    pub(crate) fn of_status(code: i32, message: &str) -> Self {
        let code = RpcStatusCode::from(code);
        let kind = match code {
            RpcStatusCode::UNAVAILABLE => ErrorKind::Unavailable,
            RpcStatusCode::UNKNOWN => ErrorKind::Unknown,
            RpcStatusCode::DEADLINE_EXCEEDED => ErrorKind::DeadlineExceeded,
            RpcStatusCode::INVALID_ARGUMENT | RpcStatusCode::OUT_OF_RANGE => {
                ErrorKind::InvalidArgument
            }
            RpcStatusCode::NOT_FOUND => ErrorKind::NotFound,
            RpcStatusCode::ALREADY_EXISTS => ErrorKind::AlreadyExists,
            RpcStatusCode::FAILED_PRECONDITION => ErrorKind::FailedPrecondition,
            RpcStatusCode::RESOURCE_EXHAUSTED => ErrorKind::Exhausted,
            RpcStatusCode::ABORTED => ErrorKind::Aborted,
            RpcStatusCode::CANCELLED => ErrorKind::Cancelled,
            RpcStatusCode::UNIMPLEMENTED => ErrorKind::Unimplemented,
            RpcStatusCode::UNAUTHENTICATED => ErrorKind::Unauthenticated,
            RpcStatusCode::PERMISSION_DENIED => ErrorKind::PermissionDenied,
            _ => ErrorKind::Internal,
        };
        let words: Vec<_> = message.split_whitespace().collect();
        let message = match (kind, words.is_empty()) {
            (ErrorKind::DeadlineExceeded, _) => "it did not answer in time".to_owned(),
            (ErrorKind::Unimplemented, _) => {
                "the peer does not know this request; is it an older z4, or not z4 at all, or is \
                 this its port for other peers?"
                    .to_owned()
            }
            (_, true) => format!("the peer answered {code} without a reason"),
            (_, false) => words.join(" "),
        };
        // Without a word of the peer on it, these come from the connection.
        let is_lost = matches!(
            kind,
            ErrorKind::DeadlineExceeded | ErrorKind::Unavailable | ErrorKind::Cancelled
        );
        Self {
            kind,
            message,
            may_be_done: is_lost || kind == ErrorKind::Unknown || kind == ErrorKind::Internal,
            is_answer: !is_lost,
        }
    }

    /// The error of a call; one that only reads has no outcome.
    pub(crate) fn of_call(error: grpcio::Error, repeat: Repeat) -> Self {
        let mut error = Self::from(error);
        error.may_be_done &= !repeat.is_read();
        error
    }

    fn of_rpc(status: &RpcStatus) -> Self {
        let mut error = Self::of_status(status.code().into(), status.message());
        match Done::read(status.details()) {
            Some(done) => {
                error.may_be_done = done == Done::Maybe;
                error.is_answer = true;
            }
            None if error.kind == ErrorKind::Unavailable => {
                error.message = plain_reason(status.message());
            }
            None => {}
        }
        error
    }

    /// A stream that ended although nobody asked it to.
    pub(crate) fn stream_ended() -> Self {
        Self::new(ErrorKind::Unavailable, "the peer ended the stream")
    }
}

impl From<grpcio::Error> for Error {
    fn from(error: grpcio::Error) -> Self {
        match &error {
            grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => {
                Self::of_rpc(status)
            }
            grpcio::Error::Codec(e) => {
                Self::new(ErrorKind::Internal, format!("an answer is no message: {e}"))
            }
            // The call was torn down before its status arrived.
            other => Self::new(
                ErrorKind::Unavailable,
                format!("the connection failed: {other}"),
            )
            .in_doubt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_and_never_empty() {
        let error = Error::of_status(5, "no such\n task");
        assert_eq!(error.to_string(), "no such task");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = Error::of_status(13, "");
        assert!(error.message().contains("INTERNAL"), "{error}");
    }

    #[test]
    fn what_a_later_try_cannot_mend_is_not_retryable() {
        for code in [3, 5, 6, 7, 9, 10, 12, 13, 16] {
            assert!(!Error::of_status(code, "x").is_retryable(), "{code}");
        }
        for (code, kind) in [
            (7, ErrorKind::PermissionDenied),
            (16, ErrorKind::Unauthenticated),
        ] {
            let error = Error::of_status(code, "x");
            assert_eq!(error.kind(), kind);
            assert!(error.is_answer() && !error.may_be_done(), "{code}");
        }
        for code in [1, 2, 4, 8, 14] {
            assert!(Error::of_status(code, "x").is_retryable(), "{code}");
        }
        let lost = Error::from(grpcio::Error::RemoteStopped);
        assert_eq!(lost.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn what_a_peer_says_of_the_outcome_is_heeded() {
        let call = |details| {
            let text = "no leader is known".to_owned();
            Error::of_rpc(&RpcStatus::with_details(
                RpcStatusCode::UNAVAILABLE,
                text,
                details,
            ))
        };
        let said = |reason: &str| {
            let info = format!("\n{}{reason}\x12\x02z4", char::from(reason.len() as u8));
            let url = "type.googleapis.com/google.rpc.ErrorInfo";
            let any = format!("\n({url}\x12{}{info}", char::from(info.len() as u8));
            format!("\x1a{}{any}", char::from(any.len() as u8)).into_bytes()
        };
        let (nothing, maybe) = (call(said("NOTHING_DONE")), call(said("OUTCOME_UNKNOWN")));
        assert!(nothing.is_answer() && !nothing.may_be_done(), "{nothing:?}");
        assert!(maybe.is_answer() && maybe.may_be_done(), "{maybe:?}");
        // A connection that broke on the way says nothing.
        let broken = call(Vec::new());
        assert!(!broken.is_answer() && broken.may_be_done(), "{broken:?}");
        let refused = Error::of_status(5, "no such task");
        assert!(refused.is_answer() && !refused.may_be_done());
    }
}
