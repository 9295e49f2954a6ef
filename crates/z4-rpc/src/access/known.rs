//! The principals as this peer has applied them, in memory: every call looks here.

use std::collections::HashMap;
use std::sync::Arc;

use z4_core::access::{Principal, PrincipalName, Token};

use super::credentials::{is_same, Shown};

/// All principals at one place of the log.
#[derive(Default)]
pub(super) struct Known {
    principals: HashMap<PrincipalName, Arc<Principal>>,
    tokens: HashMap<u64, (PrincipalName, Token)>,
    names: HashMap<String, PrincipalName>,
    has_admin: bool,
}

impl Known {
    /// These principals.
    pub(super) fn of(all: Vec<(PrincipalName, Principal)>) -> Self {
        let mut known = Self::default();
        for (name, principal) in all {
            let is_reachable = !principal.tokens.is_empty() || !principal.names.is_empty();
            known.has_admin |= principal.is_admin() && is_reachable;
            for token in &principal.tokens {
                known.tokens.insert(token.id, (name.clone(), token.clone()));
            }
            for shown in &principal.names {
                known.names.insert(shown.clone(), name.clone());
            }
            known.principals.insert(name, Arc::new(principal));
        }
        known
    }

    /// Tells whether an admin can be known by something.
    pub(super) fn has_admin(&self) -> bool {
        self.has_admin
    }

    /// The principal and the id of a token that was shown, if it is good.
    pub(super) fn shown(&self, shown: &Shown, now_ns: u64) -> Option<(PrincipalName, u64)> {
        let (name, token) = self.tokens.get(&shown.id)?;
        let is_good = is_same(&token.secret_hash, &shown.secret_hash);
        (is_good && !token.is_expired(now_ns)).then(|| (name.clone(), token.id))
    }

    /// The principal of a token that was shown before, if it is still good.
    pub(super) fn by_token(
        &self,
        id: u64,
        now_ns: u64,
    ) -> Option<(&PrincipalName, &Arc<Principal>)> {
        let (name, token) = self.tokens.get(&id)?;
        let principal = self.principals.get(name)?;
        (!token.is_expired(now_ns)).then_some((name, principal))
    }

    /// The principal of a name in a certificate.
    pub(super) fn by_name(&self, shown: &str) -> Option<(&PrincipalName, &Arc<Principal>)> {
        let name = self.names.get(shown)?;
        Some((name, self.principals.get(name)?))
    }
}
