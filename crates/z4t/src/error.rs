//! What can go wrong, as one line that says what to do.

use z4_client::ErrorKind;

use crate::flags;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Something read locally cannot be used, or was not all done.
    #[error("{0}")]
    Input(String),
    /// No peer took the request, or one refused it.
    #[error("{}", told(.0))]
    Client(#[from] z4_client::Error),
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
    /// All that there is to say stands in the answer.
    #[error("{0}")]
    Answered(String),
    /// Answers for tasks came too late: their leases had ended.
    #[error("{0}")]
    Refused(String),
    /// The command for tasks cannot be run.
    #[error("{0}")]
    NotRun(String),
    /// A signal ended it before all was done.
    #[error("{1}")]
    Interrupted(u8, String),
}

/// What a peer said, in the words of the command line.
fn told(error: &z4_client::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidArgument => flags::named(error.message()),
        _ => error.message().to_owned(),
    }
}

impl Error {
    /// 2 for a command line to mend; 3, 4 and 128 + the signal for what `consume`
    /// tells apart; 1 for all else.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::NotRun(_) => 4,
            Self::Interrupted(signal, _) => 128 | signal,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_told_apart() {
        assert_eq!(Error::Usage(String::new()).exit_code(), 2);
        assert_eq!(Error::Refused(String::new()).exit_code(), 3);
        assert_eq!(Error::NotRun(String::new()).exit_code(), 4);
        assert_eq!(Error::Interrupted(15, String::new()).exit_code(), 143);
        assert_eq!(Error::Input(String::new()).exit_code(), 1);
        assert_eq!(Error::Answered(String::new()).exit_code(), 1);
    }
}
