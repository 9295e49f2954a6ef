//! Principals.

use std::collections::BTreeMap;

use z4_core::access::{Principal, PrincipalName, Role, Token};
use z4_core::command::{ChangePrincipal, Outcome, PrincipalChange};
use z4_core::time::MS_NS;
use z4_core::{limits, Code};

use super::{refused, Plain};

type All = BTreeMap<PrincipalName, Principal>;

impl Plain {
    pub fn change_principal(&mut self, change: &ChangePrincipal) -> Outcome {
        let name = &change.name;
        let mut all = self.principals.clone();
        let had_admin = has_admin(&all);
        let changed = match &change.change {
            PrincipalChange::Put { grants, names } => {
                let principal = all.entry(name.clone()).or_default();
                principal.grants.clone_from(grants);
                principal.names.clone_from(names);
                Ok(())
            }
            PrincipalChange::Delete => all.remove(name).map(|_| ()).ok_or(Code::NotFound),
            PrincipalChange::AddToken {
                id,
                secret_hash,
                expires_in_ms,
            } => {
                let expires_at_ns = match expires_in_ms {
                    0 => 0,
                    ms => self.now_ns + ms * MS_NS,
                };
                let token = Token {
                    id: *id,
                    secret_hash: *secret_hash,
                    created_at_ns: self.now_ns,
                    expires_at_ns,
                };
                add(&mut all, name, token)
            }
            PrincipalChange::RevokeToken { id } => revoke(&mut all, name, *id),
        };
        if let Err(code) = changed {
            return refused(code);
        }
        if all.len() > limits::PRINCIPALS_MAX {
            return refused(Code::Exhausted);
        }
        let mut names: Vec<_> = all.values().flat_map(|one| &one.names).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return refused(Code::AlreadyExists);
        }
        let others = all.keys().any(|other| other != name);
        if had_admin && !has_admin(&all) && others {
            return refused(Code::Precondition);
        }
        self.principals = all;
        Outcome::PrincipalChanged(self.principals.get(name).cloned())
    }
}

fn add(all: &mut All, name: &PrincipalName, token: Token) -> Result<(), Code> {
    if !all.contains_key(name) {
        return Err(Code::NotFound);
    }
    for (other, principal) in all.iter() {
        if let Some(known) = principal.tokens.iter().find(|known| known.id == token.id) {
            let again = other == name && known.secret_hash == token.secret_hash;
            return again.then_some(()).ok_or(Code::AlreadyExists);
        }
    }
    let principal = all.get_mut(name).ok_or(Code::NotFound)?;
    if principal.tokens.len() == limits::TOKENS_MAX {
        return Err(Code::Exhausted);
    }
    principal.tokens.push(token);
    Ok(())
}

fn revoke(all: &mut All, name: &PrincipalName, id: u64) -> Result<(), Code> {
    let principal = all.get_mut(name).ok_or(Code::NotFound)?;
    let place = principal.tokens.iter().position(|token| token.id == id);
    principal.tokens.remove(place.ok_or(Code::NotFound)?);
    Ok(())
}

fn has_admin(all: &All) -> bool {
    let mut grants = all.values().flat_map(|one| &one.grants);
    grants.any(|grant| grant.role == Role::Admin)
}
