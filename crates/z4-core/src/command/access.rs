//! The command that changes principals.

use std::fmt;

use crate::access::{Grant, PrincipalName};

/// Changes one principal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangePrincipal {
    /// The principal.
    pub name: PrincipalName,
    /// The change that is made to it.
    pub change: PrincipalChange,
}

/// A change of a principal.
#[derive(Clone, PartialEq, Eq)]
pub enum PrincipalChange {
    /// The principal has these grants and names from now on, and the tokens that it had; it
    /// appears if it is new.
    Put {
        /// All its grants, at most [`GRANTS_MAX`](crate::limits::GRANTS_MAX), no grant twice.
        grants: Vec<Grant>,
        /// All names of its client certificates, at most
        /// [`NAMES_MAX`](crate::limits::NAMES_MAX), no name twice.
        names: Vec<String>,
    },
    /// The principal is gone, with its tokens.
    Delete,
    /// The principal has one token more. A token that it has already, with the same hash, stays
    /// as it is, so that the command may be repeated.
    AddToken {
        /// The number of the token, which no other token of the cluster has.
        id: u64,
        /// SHA-256 of the secret.
        secret_hash: [u8; 32],
        /// The time that the token is good from the entry's stamp on, in milliseconds; 0: for ever.
        expires_in_ms: u64,
    },
    /// The principal has this token no more.
    RevokeToken {
        /// The number of the token.
        id: u64,
    },
}

impl fmt::Debug for PrincipalChange {
    /// Writes all but the hash of a secret, which has no place in logs and reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { grants, names } => f
                .debug_struct("Put")
                .field("grants", grants)
                .field("names", names)
                .finish(),
            Self::Delete => f.write_str("Delete"),
            Self::AddToken {
                id, expires_in_ms, ..
            } => f
                .debug_struct("AddToken")
                .field("id", id)
                .field("expires_in_ms", expires_in_ms)
                .finish_non_exhaustive(),
            Self::RevokeToken { id } => f.debug_struct("RevokeToken").field("id", id).finish(),
        }
    }
}
