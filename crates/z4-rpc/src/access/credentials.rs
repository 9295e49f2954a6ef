//! Tokens as clients show them: `z4_ID_SECRET`, the id and the secret in hexadecimal.
//!
//! A secret has 256 random bits. No peer keeps it: its SHA-256 is enough to know it again,
//! and cannot be turned back, because there are too many secrets to try.

use data_encoding::HEXLOWER;
use openssl::memcmp;
use openssl::sha::sha256;
use rand::rngs::OsRng;
use rand::RngCore;

/// Bytes of a secret.
const SECRET_LEN: usize = 32;
/// The beginning of a token: programs that look for leaked secrets know it by that.
const PREFIX: &str = "z4_";

/// A token as a client shows it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The number of the token.
    pub id: u64,
    /// The SHA-256 of its secret.
    pub secret_hash: [u8; 32],
}

impl Shown {
    /// The token of this text; `None` when it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let id: [u8; 8] = HEXLOWER.decode(id.as_bytes()).ok()?.try_into().ok()?;
        let secret = HEXLOWER.decode(secret.as_bytes()).ok()?;
        (secret.len() == SECRET_LEN).then(|| Self {
            id: u64::from_be_bytes(id),
            secret_hash: sha256(&secret),
        })
    }
}

/// A token that nobody else has: its id, the SHA-256 of its secret, and its text.
pub(crate) fn fresh() -> (u64, [u8; 32], String) {
    let mut secret = [0; SECRET_LEN];
    OsRng.fill_bytes(&mut secret);
    let id = OsRng.next_u64();
    let text = format!("{PREFIX}{}_{}", id_text(id), HEXLOWER.encode(&secret));
    (id, sha256(&secret), text)
}

/// The id of a token, as people see it.
pub(crate) fn id_text(id: u64) -> String {
    HEXLOWER.encode(&id.to_be_bytes())
}

/// The id of this text; `None` when it is none.
pub(crate) fn read_id(text: &str) -> Option<u64> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// Tells whether two hashes are one, in a time that says nothing of where they differ.
pub(crate) fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    memcmp::eq(one, other)
}

/// The SHA-256 of the token of the first admin, as its file holds it.
pub(crate) fn root_hash(text: &str) -> [u8; 32] {
    sha256(text.trim().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_fresh_token_reads_back_and_no_other_text_does() {
        let (id, hash, text) = fresh();
        let shown = Shown::read(&text).unwrap();
        assert_eq!(shown.id, id);
        assert!(is_same(&shown.secret_hash, &hash));
        assert_eq!(read_id(&id_text(id)), Some(id));
        for bad in [
            "",
            "z4_",
            "z4__",
            &text[..text.len() - 2],
            &text.to_uppercase(),
            &format!("{text}00"),
            &text.replacen("z4_", "z5_", 1),
            &text.replacen('_', "-", 2),
        ] {
            assert!(Shown::read(bad).is_none(), "{bad}");
        }
        let (_, other, _) = fresh();
        assert!(!is_same(&other, &hash));
    }
}
