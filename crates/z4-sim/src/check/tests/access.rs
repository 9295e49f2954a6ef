//! The rules for principals: kept as the log made them, revoked for good, at no lesser level.

use z4_core::access::{Grant, Principal, PrincipalName, Role, Scope, Token};
use z4_core::command::{ChangePrincipal, Outcome, PrincipalChange};
use z4_core::state::{Row, RowKey};
use z4_core::{MemState, State};

use super::judge;
use crate::check::access::Access;

fn ada(change: PrincipalChange) -> ChangePrincipal {
    let name = PrincipalName::new("ada").unwrap();
    ChangePrincipal { name, change }
}

fn put() -> ChangePrincipal {
    let scope = Scope::all();
    let role = Role::Admin;
    ada(PrincipalChange::Put {
        grants: vec![Grant { role, scope }],
        names: vec!["ada.z4".into()],
    })
}

fn add() -> ChangePrincipal {
    ada(PrincipalChange::AddToken {
        id: 1,
        secret_hash: [7; 32],
        expires_in_ms: 0,
    })
}

fn revoke() -> ChangePrincipal {
    ada(PrincipalChange::RevokeToken { id: 1 })
}

/// Changes that were done, one an entry, from index 1 on.
fn done(changes: &[ChangePrincipal]) -> Result<Access, String> {
    let mut access = Access::default();
    for (index, change) in (1..).zip(changes) {
        access.changed((index, 5, 2), change, &told())?;
    }
    Ok(access)
}

fn told() -> Outcome {
    Outcome::PrincipalChanged(None)
}

/// A state in which the principal is as the change leaves it.
fn state(spoil: impl FnOnce(&mut Principal)) -> MemState {
    let PrincipalChange::Put { grants, names } = put().change else {
        return MemState::new();
    };
    let token = Token {
        id: 1,
        secret_hash: [7; 32],
        created_at_ns: 5,
        expires_at_ns: 0,
    };
    let mut principal = Principal {
        grants,
        names,
        tokens: vec![token],
    };
    spoil(&mut principal);
    let mut state = MemState::new();
    state.put(
        RowKey::Principal(put().name),
        Row::Principal(Box::new(principal)),
    );
    state
}

#[test]
fn peers_have_what_the_log_made() {
    judge(&[
        ("", || done(&[put(), add()])?.at_rest(1, &state(|_| {}))),
        ("", || {
            let revoked = state(|principal| principal.tokens.clear());
            done(&[put(), add(), revoke()])?.at_rest(1, &revoked)
        }),
        ("", || {
            let again = [put(), add(), revoke(), add()];
            done(&again)?.at_rest(1, &state(|_| {}))
        }),
        ("", || {
            let gone = [put(), add(), ada(PrincipalChange::Delete)];
            done(&gone)?.at_rest(1, &MemState::new())
        }),
        (
            "token 1 of principal ada was revoked at 3, and peer 1",
            || done(&[put(), add(), revoke()])?.at_rest(1, &state(|_| {})),
        ),
        ("the log made", || done(&[])?.at_rest(1, &state(|_| {}))),
        ("the log made", || {
            done(&[put(), add()])?.at_rest(1, &MemState::new())
        }),
        ("the log made", || {
            let spoilt = state(|principal| principal.grants.clear());
            done(&[put(), add()])?.at_rest(1, &spoilt)
        }),
        ("the log made", || {
            let spoilt = state(|principal| principal.tokens[0].secret_hash[0] = 0);
            done(&[put(), add()])?.at_rest(1, &spoilt)
        }),
    ]);
}

#[test]
fn what_was_acknowledged_is_in_the_log() {
    judge(&[
        ("", || done(&[put(), add()])?.acked(2, &add(), &told())),
        ("where it is not", || {
            done(&[put(), add()])?.acked(1, &add(), &told())
        }),
        ("where it is not", || {
            let other = Outcome::PrincipalChanged(Some(Principal::default()));
            done(&[put(), add()])?.acked(2, &add(), &other)
        }),
    ]);
}

#[test]
fn no_principal_is_in_a_log_of_the_first_level() {
    judge(&[
        ("", || {
            Access::default()
                .changed((1, 5, 2), &put(), &told())
                .map(drop)
        }),
        ("which needs level 2, stands at 1", || {
            Access::default()
                .changed((1, 5, 1), &put(), &told())
                .map(drop)
        }),
        ("was answered by", || {
            let other = Outcome::NamespaceDeleting;
            Access::default()
                .changed((1, 5, 2), &put(), &other)
                .map(drop)
        }),
    ]);
}
