//! Names of consumers. Clients choose a consumer id; the log knows the id with
//! the session behind it, `id~peer.boot.n`, so that a grant finds its session and
//! no two sessions share a name. What a session has resumed of earlier ones, it holds under
//! `id~peer.boot.n+`: what it was granted itself, it has to know apart.

use z4_core::Refusal;

use crate::limits;

/// What divides an id from its session.
const MARK: char = '~';
/// The mark behind the name of a session that has resumed a lease.
const RESUMED: char = '+';

/// The consumer id in the name of a consumer, as the log has it.
#[must_use]
pub fn of(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(id, _)| id)
}

/// The session in the name of a consumer, with its mark; empty: there is none.
pub(crate) fn session(name: &str) -> &str {
    name.find(MARK)
        .map_or("", |at| name.get(at..).unwrap_or(""))
}

/// The name under which the session with this name holds what it has resumed.
pub(crate) fn resumed(session: &str) -> String {
    format!("{session}{RESUMED}")
}

/// The name of the session that holds a lease under this name, resumed or granted.
pub(crate) fn holder(name: &str) -> &str {
    name.strip_suffix(RESUMED).unwrap_or(name)
}

/// The peer of the session in the name of a consumer.
pub(crate) fn raft_id(name: &str) -> Option<u64> {
    let (id, _) = session(name).strip_prefix(MARK)?.split_once('.')?;
    id.parse().ok()
}

/// Checks what a client calls itself.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub fn check(id: &str) -> Result<(), Refusal> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._:@/-".contains(&c);
    let fits = (1..=limits::CONSUMER_ID_LEN_MAX).contains(&id.len());
    if fits && id.bytes().all(plain) {
        return Ok(());
    }
    let rule = format!(
        "must be 1 to {} characters of A-Z a-z 0-9 . _ : @ / -, or empty: one is made up",
        limits::CONSUMER_ID_LEN_MAX
    );
    Err(Refusal::invalid("consumer_id", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_again() {
        for (name, id, mark, peer) in [
            ("a@b~1.x.2", "a@b", "~1.x.2", Some(1)),
            ("~17.x.2", "", "~17.x.2", Some(17)),
            ("a~x.2", "a", "~x.2", None),
            ("a", "a", "", None),
        ] {
            assert_eq!((of(name), session(name), raft_id(name)), (id, mark, peer));
            let resumed = resumed(name);
            assert_eq!((holder(&resumed), holder(name)), (name, name));
            assert_eq!(raft_id(&resumed), peer);
            assert!(mark.is_empty() || of(&resumed) == id);
        }
    }

    #[test]
    fn ids_are_plain_and_bounded() {
        for good in ["a", "host-1:pid@x/y._Z9", &"x".repeat(128)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a~b", "ä", "a\n", &"x".repeat(129)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
