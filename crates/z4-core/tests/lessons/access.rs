//! Principals: what is changed, and each refusal.

use super::*;
use z4_core::access::{
    find_principal, principals, Grant, Principal, PrincipalName, Role, Scope, Token,
};
use z4_core::command::{ChangePrincipal, PrincipalChange};
use z4_core::time::MS_NS;

fn change(name: &str, change: PrincipalChange) -> Command {
    let name = PrincipalName::new(name).unwrap();
    Command::ChangePrincipal(ChangePrincipal { name, change })
}

fn put(name: &str, grants: &[Grant], names: &[&str]) -> Command {
    let grants = grants.to_vec();
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    change(name, PrincipalChange::Put { grants, names })
}

fn delete(name: &str) -> Command {
    change(name, PrincipalChange::Delete)
}

fn add(name: &str, id: u64, expires_in_ms: u64) -> Command {
    let secret_hash = [id as u8; 32];
    let add = PrincipalChange::AddToken {
        id,
        secret_hash,
        expires_in_ms,
    };
    change(name, add)
}

fn revoke(name: &str, id: u64) -> Command {
    change(name, PrincipalChange::RevokeToken { id })
}

fn admin() -> Grant {
    Grant::new(Role::Admin, Scope::all()).unwrap()
}

fn reader(scope: &str) -> Grant {
    Grant::new(Role::Reader, Scope::new(scope).unwrap()).unwrap()
}

impl Store {
    fn change(&mut self, command: Command) -> Option<Principal> {
        match self.apply(command) {
            Outcome::PrincipalChanged(after) => after,
            other => panic!("{other:?}"),
        }
    }

    /// The refusal, which says all of this; nothing was changed.
    fn refuses(&mut self, command: Command, code: Code, says: &[&str]) {
        let before = principals(self.machine.state()).unwrap();
        let (outcomes, events) = self.apply_all(vec![command.clone()]);
        let Outcome::Refused(refusal) = &outcomes[0] else {
            panic!("{outcomes:?} of {command:?}");
        };
        assert_eq!(refusal.code, code, "{refusal}");
        for part in says {
            assert!(refusal.message.contains(part), "{refusal}: not {part}");
        }
        assert_eq!(events, vec![], "{command:?}");
        assert_eq!(principals(self.machine.state()).unwrap(), before);
    }

    fn principal(&self, name: &str) -> Option<Principal> {
        let name = PrincipalName::new(name).unwrap();
        find_principal(self.machine.state(), &name).unwrap()
    }
}

#[test]
fn a_principal_appears_changes_and_goes() {
    let mut store = Store::new();
    let made = store.change(put("ada", &[admin()], &["ada.z4"])).unwrap();
    assert_eq!(made.grants, [admin()]);
    assert_eq!(made.names, ["ada.z4"]);
    assert_eq!(store.principal("ada"), Some(made));
    store.change(add("ada", 7, 0));
    let changed = store
        .change(put("ada", &[admin(), reader("a*")], &[]))
        .unwrap();
    assert_eq!(changed.grants, [admin(), reader("a*")]);
    assert_eq!(changed.names, [""; 0]);
    assert_eq!(changed.tokens.len(), 1, "tokens stay");
    assert_eq!(store.change(delete("ada")), None);
    assert_eq!(principals(store.machine.state()).unwrap(), vec![]);
    let again = store.change(put("ada", &[], &["ada.z4"])).unwrap();
    assert_eq!(again.tokens, vec![], "tokens went with it");
}

#[test]
fn a_token_has_its_times_and_goes_when_revoked() {
    let mut store = Store::new();
    store.change(put("ada", &[], &[]));
    let now_ns = store.now_ns;
    let token = |id, expires_at_ns| Token {
        id,
        secret_hash: [id as u8; 32],
        created_at_ns: now_ns,
        expires_at_ns,
    };
    store.change(add("ada", 1, 0));
    let both = store.change(add("ada", 2, 5)).unwrap().tokens;
    assert_eq!(both, [token(1, 0), token(2, now_ns + 5 * MS_NS)]);
    store.now_ns += SECOND_NS;
    let again = store.change(add("ada", 2, 0)).unwrap().tokens;
    assert_eq!(again, both, "a repeated command changes nothing");
    let left = store.change(revoke("ada", 1)).unwrap().tokens;
    assert_eq!(left, [token(2, now_ns + 5 * MS_NS)], "expired, and kept");
    store.refuses(revoke("ada", 1), Code::NotFound, &["ada has no token 1"]);
}

#[test]
fn every_change_is_told_and_nothing_else() {
    let mut store = Store::new();
    let mut told = |commands: Vec<Command>| store.apply_all(commands).1;
    let ada = put("ada", &[admin()], &[]);
    assert_eq!(told(vec![ada.clone()]), [Event::Access]);
    assert_eq!(told(vec![ada]), [], "it was so before");
    assert_eq!(told(vec![add("ada", 1, 0)]), [Event::Access]);
    assert_eq!(told(vec![add("ada", 1, 0)]), []);
    assert_eq!(told(vec![revoke("ada", 1)]), [Event::Access]);
    assert_eq!(told(vec![delete("ada")]), [Event::Access]);
}

#[test]
fn who_is_not_there_is_not_changed() {
    let mut store = Store::new();
    for command in [delete("bob"), add("bob", 1, 0), revoke("bob", 1)] {
        store.refuses(command, Code::NotFound, &["there is no principal bob"]);
    }
}

#[test]
fn names_and_tokens_belong_to_one_principal() {
    let mut store = Store::new();
    store.change(put("ada", &[], &["a.z4", "b.z4"]));
    store.change(add("ada", 1, 0));
    store.change(put("bob", &[], &[]));
    let taken = put("bob", &[], &["c.z4", "b.z4"]);
    let says = ["names has b.z4, which principal ada has", "take it from"];
    store.refuses(taken.clone(), Code::AlreadyExists, &says);
    let says = ["token id 1", "principal ada", "draw another"];
    store.refuses(add("bob", 1, 0), Code::AlreadyExists, &says);
    let other_secret = PrincipalChange::AddToken {
        id: 1,
        secret_hash: [9; 32],
        expires_in_ms: 0,
    };
    store.refuses(change("ada", other_secret), Code::AlreadyExists, &says);
    store.change(put("ada", &[], &["a.z4"]));
    store.change(taken);
    store.change(revoke("ada", 1));
    store.change(add("bob", 1, 0));
}

#[test]
fn the_only_admin_stays_while_others_are_there() {
    let mut store = Store::new();
    store.change(put("ada", &[admin()], &[]));
    store.change(put("ada", &[], &[]));
    store.change(put("ada", &[admin()], &[]));
    store.change(put("bob", &[reader("*")], &[]));
    let says = ["principal ada is the only one", "give another principal"];
    store.refuses(delete("ada"), Code::Precondition, &says);
    store.refuses(put("ada", &[reader("*")], &[]), Code::Precondition, &says);
    store.change(put("bob", &[admin()], &[]));
    store.change(put("ada", &[reader("*")], &[]));
    store.refuses(delete("bob"), Code::Precondition, &["principal bob"]);
    store.change(delete("ada"));
    assert_eq!(store.change(delete("bob")), None, "the last one may go");
}

#[test]
fn principals_and_tokens_are_counted() {
    let mut store = Store::new();
    let all = (0..limits::PRINCIPALS_MAX).map(|n| put(&format!("p{n}"), &[], &[]));
    let (outcomes, _) = store.apply_all(all.collect());
    let done = |outcome: &Outcome| matches!(outcome, Outcome::PrincipalChanged(_));
    assert!(outcomes.iter().all(done));
    let says = [
        "principal more would be one above the 1000",
        "delete one first",
    ];
    store.refuses(put("more", &[], &[]), Code::Exhausted, &says);
    store.change(put("p0", &[admin()], &[]));
    for id in 0..limits::TOKENS_MAX as u64 {
        store.change(add("p0", id, 1));
    }
    store.now_ns += SECOND_NS;
    let says = ["principal p0 has 16 tokens", "revoke one first"];
    store.refuses(add("p0", 99, 0), Code::Exhausted, &says);
    store.change(add("p0", 0, 1));
    store.change(revoke("p0", 0));
    store.change(add("p0", 99, 0));
    store.change(delete("p1"));
    store.change(put("more", &[], &[]));
}

#[test]
fn wrong_fields_of_principals_are_refused() {
    let mut store = Store::new();
    let many = |n: usize| (0..n).map(|n| reader(&format!("a{n}"))).collect::<Vec<_>>();
    let text = |n: usize| (0..n).map(|n| format!("{n}.z4")).collect::<Vec<_>>();
    let named = |names: Vec<String>| {
        let grants = vec![];
        change("ada", PrincipalChange::Put { grants, names })
    };
    let somewhere = Grant {
        role: Role::Admin,
        scope: Scope::new("a*").unwrap(),
    };
    for (says, command) in [
        ("grants has 65 elements", put("ada", &many(65), &[])),
        ("grants has Grant", put("ada", &[admin(), admin()], &[])),
        (
            "scope is a* for the role admin",
            put("ada", &[somewhere], &[]),
        ),
        ("names has 17 elements", named(text(17))),
        (
            "names has \"0.z4\" twice",
            named([text(2), text(1)].concat()),
        ),
        ("names must each be", named(vec!["a".repeat(257)])),
        ("names must each be", named(vec![String::new()])),
        (
            "expires_in is 3162240000001",
            add("ada", 1, limits::TOKEN_MS_MAX + 1),
        ),
    ] {
        store.refuses(command, Code::Invalid, &[says]);
    }
    store.change(put("ada", &many(64), &[]));
    store.change(named(text(16)));
    store.change(add("ada", 1, limits::TOKEN_MS_MAX));
}

#[test]
fn no_report_shows_the_hash_of_a_secret() {
    let mut store = Store::new();
    store.change(put("ada", &[], &[]));
    let command = add("ada", 171, 1);
    let shown = format!("{command:?} {:?}", store.apply(command.clone()));
    assert!(shown.contains("id: 171"), "{shown}");
    assert!(!shown.contains("171, 171"), "{shown}");
}
