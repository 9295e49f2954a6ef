//! ChangePrincipal: grants, names and tokens.
//!
//! Every change reads all principals, which are few and seldom changed: a name or a token that
//! two of them had would let in the wrong one.

use super::{Entry, Event, Machine};
use crate::access::{Principal, PrincipalName, Token};
use crate::command::{ChangePrincipal, Outcome, PrincipalChange};
use crate::error::{Code, Refusal};
use crate::limits;
use crate::planted::planted;
use crate::state::{principals, Row, RowKey, State, StateError};
use crate::time::MS_NS;

impl<S: State> Machine<S> {
    pub(super) fn change_principal(
        &mut self,
        entry: &mut Entry<'_>,
        change: ChangePrincipal,
    ) -> Result<Outcome, StateError> {
        let ChangePrincipal { name, change } = change;
        let mut others = principals(&self.state)?;
        let place = others.iter().position(|(other, _)| *other == name);
        let before = place.map(|place| others.remove(place).1);
        let around = Around { name, others };
        let after = match around.changed(before.as_ref(), change, entry.now_ns) {
            Ok(after) => after,
            Err(refusal) => return Ok(Outcome::Refused(refusal)),
        };
        if after != before {
            let key = RowKey::Principal(around.name);
            match &after {
                Some(principal) => self
                    .state
                    .put(key, Row::Principal(Box::new(principal.clone()))),
                None => self.state.delete(&key),
            }
            entry.events.push(Event::Access);
        }
        Ok(Outcome::PrincipalChanged(after))
    }
}

/// A principal's name, and all principals but itself.
struct Around {
    name: PrincipalName,
    others: Vec<(PrincipalName, Principal)>,
}

impl Around {
    /// The principal after a change; `None`: it is gone.
    fn changed(
        &self,
        before: Option<&Principal>,
        change: PrincipalChange,
        now_ns: u64,
    ) -> Result<Option<Principal>, Refusal> {
        let known = || before.ok_or_else(|| self.unknown());
        match change {
            PrincipalChange::Put { grants, names } => {
                if before.is_none() {
                    self.has_room()?;
                }
                self.are_free(&names)?;
                let tokens = before.map(|known| known.tokens.clone()).unwrap_or_default();
                let after = Principal {
                    grants,
                    names,
                    tokens,
                };
                self.keeps_an_admin(before, Some(&after))?;
                Ok(Some(after))
            }
            PrincipalChange::Delete => {
                let known = known()?;
                self.keeps_an_admin(Some(known), None)?;
                Ok(None)
            }
            PrincipalChange::AddToken {
                id,
                secret_hash,
                expires_in_ms,
            } => {
                let token = Token {
                    id,
                    secret_hash,
                    created_at_ns: now_ns,
                    expires_at_ns: match expires_in_ms {
                        0 => 0,
                        ms => now_ns.saturating_add(ms.saturating_mul(MS_NS)),
                    },
                };
                self.with_token(known()?.clone(), token).map(Some)
            }
            PrincipalChange::RevokeToken { id } => {
                let mut after = known()?.clone();
                if !after.tokens.iter().any(|token| token.id == id) {
                    let message = format!("principal {} has no token {id}", self.name);
                    return Err(Refusal::new(Code::NotFound, message));
                }
                if !planted!("revoked-token-stays") {
                    after.tokens.retain(|token| token.id != id);
                }
                Ok(Some(after))
            }
        }
    }

    fn with_token(&self, mut after: Principal, token: Token) -> Result<Principal, Refusal> {
        if let Some(known) = after.tokens.iter().find(|known| known.id == token.id) {
            if known.secret_hash == token.secret_hash {
                return Ok(after);
            }
            return Err(self.token_is_taken(token.id, &self.name));
        }
        let has = |principal: &Principal| principal.tokens.iter().any(|one| one.id == token.id);
        if let Some((other, _)) = self.others.iter().find(|(_, other)| has(other)) {
            return Err(self.token_is_taken(token.id, other));
        }
        if after.tokens.len() >= limits::TOKENS_MAX {
            let message = format!(
                "principal {} has {} tokens, the most there can be; revoke one first",
                self.name,
                limits::TOKENS_MAX
            );
            return Err(Refusal::new(Code::Exhausted, message));
        }
        after.tokens.push(token);
        Ok(after)
    }

    fn has_room(&self) -> Result<(), Refusal> {
        if self.others.len() < limits::PRINCIPALS_MAX {
            return Ok(());
        }
        let message = format!(
            "principal {} would be one above the {} that a cluster holds; delete one first",
            self.name,
            limits::PRINCIPALS_MAX
        );
        Err(Refusal::new(Code::Exhausted, message))
    }

    fn are_free(&self, names: &[String]) -> Result<(), Refusal> {
        for (other, principal) in &self.others {
            if let Some(name) = names.iter().find(|name| principal.names.contains(name)) {
                let message = format!(
                    "names has {name}, which principal {other} has; take it from that one first"
                );
                return Err(Refusal::new(Code::AlreadyExists, message));
            }
        }
        Ok(())
    }

    /// Sees to it that principals who are left are not left without an admin.
    fn keeps_an_admin(
        &self,
        before: Option<&Principal>,
        after: Option<&Principal>,
    ) -> Result<(), Refusal> {
        let loses = before.is_some_and(Principal::is_admin)
            && !after.is_some_and(Principal::is_admin)
            && !self.others.is_empty();
        if !loses || self.others.iter().any(|(_, other)| other.is_admin()) {
            return Ok(());
        }
        let message = format!(
            "principal {} is the only one with the role admin while there are others; \
             give another principal the role admin on * first",
            self.name
        );
        Err(Refusal::new(Code::Precondition, message))
    }

    fn unknown(&self) -> Refusal {
        let message = format!("there is no principal {}", self.name);
        Refusal::new(Code::NotFound, message)
    }

    fn token_is_taken(&self, id: u64, owner: &PrincipalName) -> Refusal {
        let message =
            format!("token id {id} is that of a token of principal {owner}; draw another");
        Refusal::new(Code::AlreadyExists, message)
    }
}
