//! Refusals: what the machine or a check says when it does not do a thing. A
//! refusal is definite: nothing was changed.

use std::fmt;

/// Stable code of a refusal. The wire maps each to one gRPC status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Code {
    /// A field is wrong; the message names it and the limit. Mend and resend.
    Invalid = 1,
    /// No such task, namespace or peer.
    NotFound = 2,
    /// The request id was used with other content, or the name is taken.
    AlreadyExists = 3,
    /// The lease token is stale or foreign, or the state forbids it.
    Precondition = 4,
    /// A limit of the store is reached. Retry later.
    Exhausted = 5,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 5] = [
        Self::Invalid,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Precondition,
        Self::Exhausted,
    ];

    /// The code of a number, as stored and sent.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| *c as u8 == number)
    }
}

/// A definite no, with the reason and what to do about it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// Stable code.
    pub code: Code,
    /// Names the field, the limit and the remedy.
    pub message: String,
}

impl Refusal {
    /// A refusal with a code and a message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// A field is wrong: `field` as the client knows it, `rule` as "must …".
    pub fn invalid(field: &str, rule: impl fmt::Display) -> Self {
        Self::new(Code::Invalid, format!("{field} {rule}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
