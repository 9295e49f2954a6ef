#![allow(clippy::unwrap_used)]
use super::*;
use crate::error::Code;

fn space(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn grant(role: Role, scope: &str) -> Grant {
    Grant::new(role, Scope::new(scope).unwrap()).unwrap()
}

fn having(grants: &[Grant]) -> Principal {
    Principal {
        grants: grants.to_vec(),
        ..Principal::default()
    }
}

#[test]
fn names_of_principals_are_those_of_namespaces() {
    let longest = "a".repeat(limits::NAMESPACE_LEN_MAX);
    for name in ["a", "-", "billing.mailer_2", longest.as_str()] {
        let taken = PrincipalName::new(name).unwrap();
        assert_eq!(taken.as_str(), name);
        assert!(PrincipalName::least() <= taken);
    }
    for name in ["", "a b", "a*", "ä", &format!("{longest}a")] {
        let refusal = PrincipalName::new(name).unwrap_err();
        assert_eq!(refusal.code, Code::Invalid);
        assert!(
            refusal.message.starts_with("principal must be"),
            "{refusal}"
        );
    }
}

#[test]
fn no_name_is_below_the_least() {
    let least = PrincipalName::least();
    for c in 0..=u8::MAX {
        let Ok(name) = PrincipalName::new(&char::from(c).to_string()) else {
            continue;
        };
        assert!(least <= name, "{name}");
    }
}

#[test]
fn roles_cover_what_they_say() {
    use Role::{Admin, Consumer, Operator, Producer, Reader};
    let covered = |role: Role| Role::ALL.map(|needed| role.covers(needed));
    assert_eq!(covered(Reader), [true, false, false, false, false]);
    assert_eq!(covered(Producer), [false, true, false, false, false]);
    assert_eq!(covered(Consumer), [false, false, true, false, false]);
    assert_eq!(covered(Operator), [true, true, true, true, false]);
    assert_eq!(covered(Admin), [true; 5]);
    for role in Role::ALL {
        assert_eq!(Role::from_number(role as u8), Some(role));
        assert!(!role.name().is_empty());
    }
    assert_eq!(Role::from_number(0), None);
    assert_eq!(Role::from_number(6), None);
}

#[test]
fn scopes_cover_their_namespaces() {
    for (pattern, inside, outside) in [
        (
            "mail",
            &["mail"][..],
            &["mai", "mail2", "mail.a", "Mail"][..],
        ),
        (
            "mail.*",
            &["mail.", "mail.a"],
            &["mail", "mailx", "a.mail.b"],
        ),
        ("m*", &["m", "mail"], &["a", "M"]),
        ("*", &["a", "mail", "-"], &[]),
    ] {
        let scope = Scope::new(pattern).unwrap();
        assert_eq!(scope.as_str(), pattern);
        assert_eq!(scope.is_all(), pattern == "*");
        for name in inside {
            assert!(scope.covers(&space(name)), "{pattern} {name}");
        }
        for name in outside {
            assert!(!scope.covers(&space(name)), "{pattern} {name}");
        }
    }
}

#[test]
fn patterns_that_are_no_scope_are_refused() {
    for pattern in ["*a", "a*b", "a**", "**"] {
        let refusal = Scope::new(pattern).unwrap_err();
        assert_eq!(refusal.code, Code::Invalid);
        assert!(
            refusal.message.contains("elsewhere than at its end"),
            "{refusal}"
        );
    }
    let long = "a".repeat(limits::NAMESPACE_LEN_MAX + 1);
    for pattern in ["", "a b", "ä*", &long, &format!("{long}*")] {
        let refusal = Scope::new(pattern).unwrap_err();
        assert!(refusal.message.starts_with("scope must be"), "{refusal}");
        assert!(refusal.message.ends_with("may end with *"), "{refusal}");
    }
}

#[test]
fn an_admin_is_one_everywhere() {
    let refusal = Grant::new(Role::Admin, Scope::new("mail.*").unwrap()).unwrap_err();
    assert_eq!(refusal.code, Code::Invalid);
    assert!(refusal.message.starts_with("scope is mail.*"), "{refusal}");
    assert!(refusal.message.contains("it must be *"), "{refusal}");
    assert!(having(&[grant(Role::Admin, "*")]).is_admin());
    assert!(!having(&[grant(Role::Operator, "*")]).is_admin());
}

#[test]
fn a_principal_may_do_what_one_grant_allows() {
    let mailer = having(&[grant(Role::Producer, "mail.*"), grant(Role::Reader, "logs")]);
    let (mail, logs, other) = (space("mail.a"), space("logs"), space("other"));
    assert!(mailer.allows(Role::Producer, Some(&mail)));
    assert!(
        !mailer.allows(Role::Reader, Some(&mail)),
        "of another scope"
    );
    assert!(mailer.allows(Role::Reader, Some(&logs)));
    assert!(!mailer.allows(Role::Producer, Some(&logs)));
    assert!(mailer.sees(&mail) && mailer.sees(&logs) && !mailer.sees(&other));
    assert!(!having(&[]).sees(&mail));
}

#[test]
fn only_an_admin_may_touch_the_cluster() {
    for role in Role::ALL {
        let all = having(&[grant(role, "*")]);
        let allowed = Role::ALL.map(|needed| all.allows(needed, None));
        assert_eq!(allowed, [role == Role::Admin; 5], "{role:?}");
    }
}

#[test]
fn a_token_ends_at_its_time_and_hides_its_hash() {
    let token = |expires_at_ns| Token {
        id: 7,
        secret_hash: [0xab; 32],
        created_at_ns: 5,
        expires_at_ns,
    };
    assert!(!token(0).is_expired(u64::MAX));
    assert!(!token(10).is_expired(9) && token(10).is_expired(10));
    let shown = format!("{:?}", token(0));
    assert!(shown.contains("id: 7"), "{shown}");
    assert!(
        !shown.contains("171") && !shown.contains("secret"),
        "{shown}"
    );
}

#[test]
fn names_of_certificates_are_visible_ascii() {
    let longest = "a".repeat(limits::NAME_LEN_MAX);
    for name in ["spiffe://corp/mailer", "mailer.corp", &longest] {
        check_certificate_name(name).unwrap();
    }
    for name in ["", "a b", "ä", "a\0", &format!("{longest}a")] {
        let refusal = check_certificate_name(name).unwrap_err();
        assert!(
            refusal.message.starts_with("names must each be"),
            "{refusal}"
        );
    }
}
