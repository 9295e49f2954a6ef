//! Changes of principals: few, so that they meet the refusals.

use rand::Rng;
use z4_core::access::{Grant, PrincipalName, Role, Scope};
use z4_core::command::{ChangePrincipal, PrincipalChange};

use super::Op;
use crate::world::World;

/// The principals.
const PRINCIPALS: [&str; 3] = ["ada", "bob", "eve"];
/// Tokens have the numbers below this one.
const TOKENS: u64 = 8;

impl World {
    /// A change of one principal; `None` if a name of this file is not one.
    pub(super) fn change_principal(&mut self) -> Option<Op> {
        let name = PRINCIPALS[self.rng.gen_range(0..PRINCIPALS.len())];
        let name = PrincipalName::new(name).ok()?;
        let id = self.rng.gen_range(0..TOKENS);
        let change = match self.rng.gen_range(0..10) {
            0..=2 => self.put_principal()?,
            3 => PrincipalChange::Delete,
            4..=6 => PrincipalChange::AddToken {
                id,
                // No two tokens are alike, so that one that comes back is seen.
                secret_hash: [self.rng.gen(); 32],
                expires_in_ms: [0, 1, 60_000][self.rng.gen_range(0..3)],
            },
            _ => PrincipalChange::RevokeToken { id },
        };
        Some(Op::Access(ChangePrincipal { name, change }))
    }

    fn put_principal(&mut self) -> Option<PrincipalChange> {
        let role = Role::ALL[self.rng.gen_range(0..Role::ALL.len())];
        let scope = match role {
            Role::Admin => "*",
            _ => ["a", "a*", "*"][self.rng.gen_range(0..3)],
        };
        let scope = Scope::new(scope).ok()?;
        let names = match self.rng.gen_range(0..4) {
            0 => vec![],
            number => vec![format!("spiffe://simulated/{number}")],
        };
        let grants = vec![Grant { role, scope }];
        Some(PrincipalChange::Put { grants, names })
    }
}
