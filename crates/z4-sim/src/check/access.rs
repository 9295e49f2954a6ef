//! Principals: what the log made of them is what each peer has in the end, what was
//! acknowledged is in the log, and a token that was revoked is nowhere.

use std::collections::BTreeMap;

use z4_core::access::{principals, Principal, PrincipalName, Token};
use z4_core::command::{ChangePrincipal, PrincipalChange};
use z4_core::time::MS_NS;
use z4_core::{Command, Outcome, View};
use z4_proto::level;

#[derive(Default)]
pub(crate) struct Access {
    /// The principals as the changes that were done make them.
    principals: BTreeMap<PrincipalName, Principal>,
    /// The changes, with their outcomes, by the index of their entry.
    committed: BTreeMap<u64, Vec<(ChangePrincipal, Outcome)>>,
    /// Where a token was revoked and not added since.
    revoked: BTreeMap<(PrincipalName, u64), u64>,
}

impl Access {
    /// A change was applied for the first time, in a cluster of this level. Returns which rare
    /// event it was.
    pub(crate) fn changed(
        &mut self,
        (index, now_ns, level): (u64, u64, u32),
        change: &ChangePrincipal,
        outcome: &Outcome,
    ) -> Result<&'static str, String> {
        let needed = level::needed(&Command::ChangePrincipal(change.clone()));
        if level < needed {
            return Err(format!(
                "a change of a principal, which needs level {needed}, stands at {index} in the \
                 log of a cluster of level {level}"
            ));
        }
        let entry = self.committed.entry(index).or_default();
        entry.push((change.clone(), outcome.clone()));
        match outcome {
            Outcome::PrincipalChanged(_) => Ok(self.replay(index, now_ns, change)),
            Outcome::Refused(_) => Ok("a change of a principal was refused"),
            other => Err(format!("promise 1: {change:?} was answered by {other:?}")),
        }
    }

    fn replay(&mut self, index: u64, now_ns: u64, change: &ChangePrincipal) -> &'static str {
        let name = &change.name;
        match &change.change {
            PrincipalChange::Put { grants, names } => {
                let principal = self.principals.entry(name.clone()).or_default();
                principal.grants.clone_from(grants);
                principal.names.clone_from(names);
                "a principal was put"
            }
            PrincipalChange::Delete => {
                self.principals.remove(name);
                "a principal was deleted"
            }
            PrincipalChange::AddToken {
                id,
                secret_hash,
                expires_in_ms,
            } => {
                let ends_ns = now_ns + expires_in_ms * MS_NS;
                let token = Token {
                    id: *id,
                    secret_hash: *secret_hash,
                    created_at_ns: now_ns,
                    expires_at_ns: if *expires_in_ms == 0 { 0 } else { ends_ns },
                };
                let principal = self.principals.entry(name.clone()).or_default();
                // One that is there stays as it is.
                if principal.tokens.iter().all(|known| known.id != *id) {
                    principal.tokens.push(token);
                }
                self.revoked.remove(&(name.clone(), *id));
                "a token was added"
            }
            PrincipalChange::RevokeToken { id } => {
                let principal = self.principals.entry(name.clone()).or_default();
                principal.tokens.retain(|token| token.id != *id);
                self.revoked.insert((name.clone(), *id), index);
                "a token was revoked"
            }
        }
    }

    /// A client was told of a change: the log has it where it was told, with the same outcome.
    pub(crate) fn acked(
        &self,
        index: u64,
        change: &ChangePrincipal,
        outcome: &Outcome,
    ) -> Result<(), String> {
        let committed = self.committed.get(&index);
        let is_told =
            |(known, told): &(ChangePrincipal, Outcome)| (known, told) == (change, outcome);
        if committed.is_some_and(|all| all.iter().any(is_told)) {
            return Ok(());
        }
        Err(format!(
            "promise 1: {change:?} was answered by {outcome:?} at {index}, where it is not"
        ))
    }

    /// A peer is at rest: it has what the log made, and nothing else.
    pub(crate) fn at_rest(&self, peer: u64, state: &impl View) -> Result<(), String> {
        let found = principals(state).map_err(|error| error.0)?;
        for (name, principal) in &found {
            for token in &principal.tokens {
                if let Some(index) = self.revoked.get(&(name.clone(), token.id)) {
                    return Err(format!(
                        "access: token {} of principal {name} was revoked at {index}, and peer \
                         {peer} has it",
                        token.id
                    ));
                }
            }
        }
        let found: BTreeMap<_, _> = found.into_iter().collect();
        if found == self.principals {
            return Ok(());
        }
        Err(format!(
            "access: peer {peer} has the principals {found:?}, and the log made {:?}",
            self.principals
        ))
    }
}
