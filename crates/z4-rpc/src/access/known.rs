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
    /// When the last way in of an admin runs out, in nanoseconds since 1970: the greatest
    /// number when one does not, 0 when there is none.
    admin_until_ns: u64,
}

impl Known {
    /// These principals.
    pub(super) fn of(all: Vec<(PrincipalName, Principal)>) -> Self {
        let mut known = Self::default();
        for (name, principal) in all {
            if principal.is_admin() {
                let of_names = principal.names.iter().map(|_| u64::MAX);
                let of_tokens = principal
                    .tokens
                    .iter()
                    .map(|token| match token.expires_at_ns {
                        0 => u64::MAX,
                        expires_at_ns => expires_at_ns,
                    });
                let until_ns = of_names.chain(of_tokens).max().unwrap_or(0);
                known.admin_until_ns = known.admin_until_ns.max(until_ns);
            }
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

    /// Tells whether an admin can be known by something now.
    pub(super) fn has_admin(&self, now_ns: u64) -> bool {
        now_ns < self.admin_until_ns
    }

    /// Tells whether a token ends by itself.
    pub(super) fn runs_out(&self, id: u64) -> bool {
        let token = self.tokens.get(&id);
        token.is_some_and(|(_, token)| token.expires_at_ns != 0)
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
