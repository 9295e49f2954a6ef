//! Principals: examples of each form, and forms that are none.

use z4_core::access::{Grant, Principal, PrincipalName, Role, Scope, Token};
use z4_core::command::{ChangePrincipal, PrincipalChange};

use super::*;
use crate::generated::log;
use crate::parts::write;

fn principal() -> Principal {
    let grant = |role, scope| Grant {
        role,
        scope: Scope::new(scope).unwrap(),
    };
    let token = |id, expires_at_ns| Token {
        id,
        secret_hash: [id as u8; 32],
        created_at_ns: 300,
        expires_at_ns,
    };
    Principal {
        grants: vec![grant(Role::Reader, "a.*"), grant(Role::Admin, "*")],
        names: vec!["spiffe://z4/a".into(), "a.z4".into()],
        tokens: vec![token(1, 0), token(u64::MAX, 301)],
    }
}

pub(super) fn commands() -> Vec<Command> {
    let Principal { grants, names, .. } = principal();
    let add = |id, expires_in_ms| PrincipalChange::AddToken {
        id,
        secret_hash: [7; 32],
        expires_in_ms,
    };
    let empty = PrincipalChange::Put {
        grants: Vec::new(),
        names: Vec::new(),
    };
    let changes = [
        PrincipalChange::Put { grants, names },
        empty,
        PrincipalChange::Delete,
        add(300, 301),
        add(0, 0),
        PrincipalChange::RevokeToken { id: 300 },
    ];
    let command = |change| {
        let name = PrincipalName::new("p").unwrap();
        Command::ChangePrincipal(ChangePrincipal { name, change })
    };
    changes.map(command).into()
}

pub(super) fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::PrincipalChanged(Some(principal())),
        Outcome::PrincipalChanged(Some(Principal::default())),
        Outcome::PrincipalChanged(None),
    ]
}

pub(super) fn rows() -> Vec<(RowKey, Row)> {
    let row = |principal| (key(), Row::Principal(Box::new(principal)));
    vec![row(principal()), row(Principal::default())]
}

fn key() -> RowKey {
    RowKey::Principal(PrincipalName::new("p").unwrap())
}

fn assert_names<T: std::fmt::Debug>(result: Result<T, DecodeError>, field: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with(field), "{text:?} does not name {field}");
}

#[test]
fn wrong_changes_are_named() {
    let decode = |edit: &dyn Fn(&mut log::ChangePrincipal)| {
        let mut change = log::ChangePrincipal::new();
        change.principal = "p".into();
        edit(&mut change);
        let mut command = log::Command::new();
        command.set_change_principal(change);
        decode_command(&write(&command))
    };
    assert_names(decode(&|_| {}), "ChangePrincipal");
    for name in ["", "a b", "ä"] {
        let wrong = decode(&|change| {
            change.mut_delete();
            change.principal = name.into();
        });
        assert_names(wrong, "ChangePrincipal.principal");
    }
    for len in [0, 31, 33] {
        let wrong = decode(&|change| change.mut_add_token().secret_hash = vec![1; len]);
        assert_names(wrong, "AddToken.secret_hash");
    }
    let put = |role, scope: &str| {
        let grant = log::RoleGrant {
            role,
            scope: scope.into(),
            ..Default::default()
        };
        decode(&|change| change.mut_put().grants = vec![grant.clone()].into())
    };
    assert!(put(1, "a*").is_ok());
    for role in [0, 6, 256 + 1] {
        assert_names(put(role, "a"), "RoleGrant.role");
    }
    for scope in ["", "*a", "a b"] {
        assert_names(put(1, scope), "RoleGrant.scope");
    }
}

#[test]
fn wrong_rows_of_principals_are_named() {
    let decode = |row: &log::PrincipalRow| decode_row(&key(), &write(row));
    let mut row = log::PrincipalRow::new();
    assert!(decode(&row).is_ok());
    row.tokens = vec![log::AccessToken::new()].into();
    assert_names(decode(&row), "AccessToken.secret_hash");
    row.tokens[0].secret_hash = vec![1; 32];
    assert!(decode(&row).is_ok());
    row.grants = vec![log::RoleGrant::new()].into();
    assert_names(decode(&row), "RoleGrant.role");
    row.grants[0].role = 5;
    assert_names(decode(&row), "RoleGrant.scope");
    let mut outcome = log::Outcome::new();
    outcome.mut_principal_changed().set_principal(row);
    assert_names(decode_outcome(&write(&outcome)), "RoleGrant.scope");
}

/// A field of a later version, in each message of a principal.
#[test]
fn what_a_newer_version_knows_of_a_principal_stops_the_reader() {
    // Field 99, a number, behind what the message has.
    const NEWER: [u8; 3] = [0x98, 0x06, 1];
    let grown = |message: &[u8], first: u8| {
        let mut outer = vec![first, (message.len() + NEWER.len()) as u8];
        outer.extend(message);
        outer.extend(NEWER);
        outer
    };
    let grant = write(&log::RoleGrant {
        role: 1,
        scope: "a".into(),
        ..Default::default()
    });
    let token = write(&log::AccessToken {
        secret_hash: vec![1; 32],
        ..Default::default()
    });
    // The keys of the fields 1 and 3 of a principal: messages.
    for bytes in [grown(&grant, 0x0a), grown(&token, 0x1a)] {
        let error = decode_row(&key(), &bytes).unwrap_err();
        let unknown = matches!(error, DecodeError::UnknownField { number: 99, .. });
        assert!(unknown, "{error}");
    }
    for command in commands() {
        let bytes = encode_command(&command);
        let message: log::Command = crate::parts::parse("Command", &bytes).unwrap();
        let mut change = write(message.get_change_principal());
        change.extend(NEWER);
        // The key of field 17 of a command, a message.
        let mut bytes = vec![0x8a, 0x01, change.len() as u8];
        bytes.extend(change);
        let error = decode_command(&bytes).unwrap_err();
        let unknown = matches!(error, DecodeError::UnknownField { number: 99, .. });
        assert!(unknown, "{error}");
    }
}
