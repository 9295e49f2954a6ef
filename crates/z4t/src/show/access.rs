//! Principals, their grants and tokens, and who the caller is.

use serde_json::{json, Value};
use z4_client::{Grant, Identity, NewToken, Principal, Role, TokenInfo};

use super::plain::escape;
use super::table::{pairs, table};
use super::task::{given, time};
use crate::zone;

/// A principal for programs.
pub(crate) fn principal_json(principal: &Principal) -> Value {
    let tokens: Vec<_> = principal.tokens.iter().map(token_json).collect();
    json!({
        "name": principal.name,
        "grants": grants_json(&principal.grants),
        "certificate_names": principal.certificate_names,
        "tokens": tokens,
    })
}

fn grants_json(grants: &[Grant]) -> Value {
    let grant = |grant: &Grant| json!({"role": grant.role.name(), "namespaces": grant.namespaces});
    grants.iter().map(grant).collect()
}

fn token_json(token: &TokenInfo) -> Value {
    json!({
        "id": token.id,
        "created_at": time(token.created_at),
        "expires_at": time(token.expires_at),
    })
}

/// A grant as `--grant` takes it.
fn grant(grant: &Grant) -> String {
    match (grant.role, &*grant.namespaces) {
        (Role::Admin, "*") => "admin".to_owned(),
        (role, namespaces) => format!("{}:{namespaces}", role.name()),
    }
}

fn list(grants: &[Grant]) -> String {
    let grants: Vec<_> = grants.iter().map(grant).collect();
    grants.join(" ")
}

/// A principal on several lines.
pub(crate) fn principal_text(principal: &Principal) -> String {
    let mut lines = vec![
        ("principal", principal.name.clone()),
        ("grants", list(&principal.grants)),
    ];
    if principal.grants.is_empty() {
        lines[1].1 = "none".to_owned();
    }
    let names = principal.certificate_names.iter();
    lines.extend(names.map(|name| ("certificate name", name.clone())));
    let tokens = principal.tokens.iter();
    lines.extend(tokens.map(|token| ("token", token_text(token))));
    pairs(lines)
}

fn token_text(token: &TokenInfo) -> String {
    let made = given(token.created_at);
    format!("{}, made {made}, {}", token.id, end(token))
}

/// When a token runs out, as part of a sentence.
pub(crate) fn end(token: &TokenInfo) -> String {
    match token.expires_at {
        None => "does not run out".to_owned(),
        Some(time) => format!("runs out {}", zone::show(time)),
    }
}

/// Principals, a line each.
pub(crate) fn principal_table(principals: &[Principal]) -> String {
    let rows = principals.iter().map(|principal| {
        [
            principal.name.clone(),
            list(&principal.grants),
            principal.tokens.len().to_string(),
            principal.certificate_names.join(" "),
        ]
    });
    table(["NAME", "GRANTS", "TOKENS", "CERTIFICATE NAMES"], rows)
}

/// A new token for programs, with its secret where it is not in a file.
pub(crate) fn new_token_json(principal: &str, token: &NewToken, with_secret: bool) -> Value {
    let mut value = json!({"principal": principal});
    if with_secret {
        value["token"] = token.secret().into();
    }
    if let (Value::Object(all), Value::Object(info)) = (&mut value, token_json(&token.info)) {
        all.extend(info);
    }
    value
}

/// A new token in a sentence, without its secret.
pub(crate) fn new_token_text(principal: &str, token: &TokenInfo) -> String {
    let (id, name) = (escape(&token.id), escape(principal));
    format!("token {id} of {name}, which {}", end(token))
}

/// The caller for programs.
pub(crate) fn identity_json(identity: &Identity) -> Value {
    let name = Some(&identity.principal).filter(|name| !name.is_empty());
    json!({
        "principal": name,
        "known_by": identity.known_by,
        "grants": grants_json(&identity.grants),
    })
}

/// The caller on several lines.
pub(crate) fn identity_text(identity: &Identity) -> String {
    if identity.principal.is_empty() && identity.known_by.is_empty() {
        return "nobody: this peer asks nobody who they are (Z4_AUTH=off)\n".to_owned();
    }
    pairs([
        ("principal", identity.principal.clone()),
        ("known by", identity.known_by.clone()),
        ("grants", list(&identity.grants)),
    ])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn mailer() -> Principal {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let token = |id: &str, expires_at| TokenInfo {
            id: id.into(),
            created_at: Some(at(1_896_073_200)),
            expires_at,
        };
        Principal {
            name: "mailer".into(),
            grants: vec![
                Grant::new(Role::Producer, "mail.*"),
                Grant::new(Role::Admin, "*"),
            ],
            certificate_names: vec!["spiffe://a/mailer".into(), "mailer\u{1b}".into()],
            tokens: vec![token("7", None), token("8", Some(at(1_896_159_600)))],
        }
    }

    #[test]
    fn a_principal_is_shown() {
        let golden = "\
principal         mailer
grants            producer:mail.* admin
certificate name  spiffe://a/mailer
certificate name  mailer\\u{1b}
token             7, made 2030-01-31T07:00:00Z, does not run out
token             8, made 2030-01-31T07:00:00Z, runs out 2030-02-01T07:00:00Z
";
        assert_eq!(principal_text(&mailer()), golden);
        let value = principal_json(&mailer());
        assert_eq!(
            value["grants"][0],
            json!({"role": "producer", "namespaces": "mail.*"})
        );
        assert_eq!(value["tokens"][0]["expires_at"], Value::Null);
        assert_eq!(value["tokens"][1]["expires_at"], "2030-02-01T07:00:00Z");
        let table = principal_table(&[mailer()]);
        assert!(
            table.contains("mailer  producer:mail.* admin  2"),
            "{table}"
        );
        let nobody = Principal {
            grants: Vec::new(),
            ..mailer()
        };
        assert!(principal_text(&nobody).contains("grants            none"));
    }

    #[test]
    fn the_caller_is_shown() {
        let identity = |principal: &str, known_by: &str| Identity {
            principal: principal.into(),
            grants: vec![Grant::new(Role::Admin, "*")],
            known_by: known_by.into(),
        };
        assert_eq!(
            identity_text(&identity("mailer", "token 7")),
            "principal  mailer\nknown by   token 7\ngrants     admin\n"
        );
        let root = identity_text(&identity("", "root token"));
        assert_eq!(root, "known by  root token\ngrants    admin\n");
        assert!(identity_text(&identity("", "")).contains("Z4_AUTH=off"));
        let value = identity_json(&identity("", ""));
        assert_eq!(value["principal"], Value::Null);
    }
}
