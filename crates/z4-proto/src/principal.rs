//! Principals, as commands, outcomes and rows have them.

use z4_core::access::{Grant, Principal, PrincipalName, Role, Scope, Token};
use z4_core::command::{ChangePrincipal, PrincipalChange};

use crate::error::DecodeError;
use crate::generated::log;
use crate::parts;

use log::ChangePrincipal_oneof_change as Change;

pub(crate) fn to_change(change: &ChangePrincipal) -> log::ChangePrincipal {
    let ChangePrincipal { name, change } = change;
    let change = match change {
        PrincipalChange::Put { grants, names } => Change::put(log::PutPrincipal {
            grants: grants.iter().map(to_grant).collect(),
            names: names.clone().into(),
            ..Default::default()
        }),
        PrincipalChange::Delete => Change::delete(log::DeletePrincipal::default()),
        PrincipalChange::AddToken {
            id,
            secret_hash,
            expires_in_ms,
        } => Change::add_token(log::AddToken {
            id: *id,
            secret_hash: secret_hash.to_vec(),
            expires_in_ms: *expires_in_ms,
            ..Default::default()
        }),
        PrincipalChange::RevokeToken { id } => Change::revoke_token(log::RevokeToken {
            id: *id,
            ..Default::default()
        }),
    };
    log::ChangePrincipal {
        principal: name.as_str().to_owned(),
        change: Some(change),
        ..Default::default()
    }
}

pub(crate) fn change(change: log::ChangePrincipal) -> Result<ChangePrincipal, DecodeError> {
    const WHAT: &str = "ChangePrincipal";
    parts::known(WHAT, &change.unknown_fields)?;
    let what = "ChangePrincipal.principal";
    let name = PrincipalName::new(&change.principal);
    let name = name.map_err(|refusal| DecodeError::Refused { what, refusal })?;
    let change = match change.change {
        Some(Change::put(put)) => {
            parts::known("PutPrincipal", &put.unknown_fields)?;
            let grants = put.grants.iter().map(grant);
            PrincipalChange::Put {
                grants: grants.collect::<Result<_, _>>()?,
                names: put.names.into(),
            }
        }
        Some(Change::delete(delete)) => {
            parts::known("DeletePrincipal", &delete.unknown_fields)?;
            PrincipalChange::Delete
        }
        Some(Change::add_token(add)) => {
            parts::known("AddToken", &add.unknown_fields)?;
            PrincipalChange::AddToken {
                id: add.id,
                secret_hash: parts::bytes_of("AddToken.secret_hash", &add.secret_hash)?,
                expires_in_ms: add.expires_in_ms,
            }
        }
        Some(Change::revoke_token(revoke)) => {
            parts::known("RevokeToken", &revoke.unknown_fields)?;
            PrincipalChange::RevokeToken { id: revoke.id }
        }
        None => return Err(DecodeError::Kind { what: WHAT }),
    };
    Ok(ChangePrincipal { name, change })
}

pub(crate) fn to_principal(principal: &Principal) -> log::PrincipalRow {
    // A whole pattern: a field that is added and not written does not compile.
    let Principal {
        grants,
        names,
        tokens,
    } = principal;
    log::PrincipalRow {
        grants: grants.iter().map(to_grant).collect(),
        names: names.clone().into(),
        tokens: tokens.iter().map(to_token).collect(),
        ..Default::default()
    }
}

pub(crate) fn principal(row: log::PrincipalRow) -> Result<Principal, DecodeError> {
    parts::known("PrincipalRow", &row.unknown_fields)?;
    let grants = row.grants.iter().map(grant);
    let tokens = row.tokens.iter().map(token);
    Ok(Principal {
        grants: grants.collect::<Result<_, _>>()?,
        names: row.names.into(),
        tokens: tokens.collect::<Result<_, _>>()?,
    })
}

fn to_grant(grant: &Grant) -> log::RoleGrant {
    let Grant { role, scope } = grant;
    log::RoleGrant {
        role: *role as u32,
        scope: scope.as_str().to_owned(),
        ..Default::default()
    }
}

fn grant(grant: &log::RoleGrant) -> Result<Grant, DecodeError> {
    parts::known("RoleGrant", &grant.unknown_fields)?;
    let role = u8::try_from(grant.role).ok().and_then(Role::from_number);
    let role = role.ok_or(DecodeError::Range {
        what: "RoleGrant.role",
        value: u64::from(grant.role),
    })?;
    let what = "RoleGrant.scope";
    let scope = Scope::new(&grant.scope);
    let scope = scope.map_err(|refusal| DecodeError::Refused { what, refusal })?;
    Ok(Grant { role, scope })
}

fn to_token(token: &Token) -> log::AccessToken {
    let Token {
        id,
        secret_hash,
        created_at_ns,
        expires_at_ns,
    } = token;
    log::AccessToken {
        id: *id,
        secret_hash: secret_hash.to_vec(),
        created_at_ns: *created_at_ns,
        expires_at_ns: *expires_at_ns,
        ..Default::default()
    }
}

fn token(token: &log::AccessToken) -> Result<Token, DecodeError> {
    parts::known("AccessToken", &token.unknown_fields)?;
    Ok(Token {
        id: token.id,
        secret_hash: parts::bytes_of("AccessToken.secret_hash", &token.secret_hash)?,
        created_at_ns: token.created_at_ns,
        expires_at_ns: token.expires_at_ns,
    })
}
