//! Principals: few, with few names and tokens, so that they get in each other's way.

use super::Walk;
use crate::access::{Grant, PrincipalName, Role, Scope};
use crate::command::{ChangePrincipal, Command, PrincipalChange};
use crate::limits;

/// The principals it changes.
const PRINCIPALS: [&str; 3] = ["ada", "ada-2", "bob"];
/// One step in so many gives one principal more tokens than it may have.
const TOKENS_ONE_IN: u64 = 2_000;

impl Walk {
    pub(super) fn change_principal(&mut self) -> Command {
        let change = match self.dice.below(100) {
            0..=34 => self.put_principal(),
            35..=42 => PrincipalChange::Delete,
            43..=74 => {
                let id = self.dice.below(12);
                self.add_token(id)
            }
            _ => PrincipalChange::RevokeToken {
                id: self.dice.below(14),
            },
        };
        let name = self.principal();
        Command::ChangePrincipal(ChangePrincipal { name, change })
    }

    /// The step that adds many tokens, now and then.
    pub(super) fn tokens_step(&mut self) -> Option<Vec<Command>> {
        if !self.dice.one_in(TOKENS_ONE_IN) {
            return None;
        }
        let name = self.principal();
        let first = 100 * self.dice.between(1, 3);
        let ids = first..=first + limits::TOKENS_MAX as u64;
        let add = |id| {
            let (name, change) = (name.clone(), self.add_token(id));
            Command::ChangePrincipal(ChangePrincipal { name, change })
        };
        Some(ids.map(add).collect())
    }

    fn put_principal(&mut self) -> PrincipalChange {
        let grants = (0..self.dice.below(3)).map(|_| self.grant()).collect();
        // One drawn twice is against the rules.
        let count = self.dice.below(3);
        let name = |_| format!("spiffe://z4/{}", self.dice.below(6));
        let names = (0..count).map(name).collect();
        PrincipalChange::Put { grants, names }
    }

    fn grant(&mut self) -> Grant {
        let role = self
            .dice
            .one_of(&[Role::Admin, Role::Consumer, Role::Operator]);
        // An admin of less than everything is against the rules.
        let scope = match role {
            Role::Admin if !self.dice.one_in(8) => "*",
            _ => self.dice.one_of(&["a", "a*", "*"]),
        };
        let scope = Scope::new(scope).expect("a scope of the walk is a scope");
        Grant { role, scope }
    }

    fn add_token(&mut self, id: u64) -> PrincipalChange {
        let secret = id as u8 + u8::from(self.dice.one_in(8));
        let expires_in_ms = self.dice.one_of(&[0, 0, 1, 60_000, limits::TOKEN_MS_MAX]);
        PrincipalChange::AddToken {
            id,
            secret_hash: [secret; 32],
            expires_in_ms: expires_in_ms + u64::from(self.dice.one_in(40)),
        }
    }

    fn principal(&mut self) -> PrincipalName {
        let name = self.dice.one_of(&PRINCIPALS);
        PrincipalName::new(name).expect("a name of the walk is a name")
    }
}
