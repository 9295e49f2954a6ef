//! What can go wrong, as one line that says what to do.

use grpcio::{RpcStatus, RpcStatusCode};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something read locally cannot be used.
    #[error("{0}")]
    Input(String),
    /// No peer took the request.
    #[error("{0}")]
    NoPeer(String),
    /// A peer refused.
    #[error("{}", refusal(.0))]
    Refused(RpcStatus),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
}

impl Error {
    /// 2 for a command line to mend, 1 for all else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

impl From<grpcio::Error> for Error {
    fn from(error: grpcio::Error) -> Self {
        match error {
            grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => {
                Self::Refused(status)
            }
            other => Self::NoPeer(one_line(&other.to_string())),
        }
    }
}

/// The peer's own words; it names field, limit and remedy. A code without words
/// gets some.
fn refusal(status: &RpcStatus) -> String {
    let message = one_line(status.message());
    match status.code() {
        RpcStatusCode::DEADLINE_EXCEEDED => {
            "no answer in time; the outcome is unknown: look before you try again, or give a longer --timeout"
                .to_owned()
        }
        RpcStatusCode::UNIMPLEMENTED => {
            "the peer does not know this request; is it an older z4, or not z4 at all?".to_owned()
        }
        code if message.is_empty() => format!("the peer answered {code} without a reason"),
        _ => message,
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_and_never_empty() {
        let status = RpcStatus::with_message(RpcStatusCode::NOT_FOUND, "no such\n task".into());
        assert_eq!(Error::Refused(status).to_string(), "no such task");
        let status = RpcStatus::new(RpcStatusCode::INTERNAL);
        assert!(Error::Refused(status).to_string().contains("INTERNAL"));
    }

    #[test]
    fn only_the_command_line_exits_with_2() {
        assert_eq!(Error::Usage(String::new()).exit_code(), 2);
        assert_eq!(Error::Input(String::new()).exit_code(), 1);
        assert_eq!(Error::NoPeer(String::new()).exit_code(), 1);
    }
}
