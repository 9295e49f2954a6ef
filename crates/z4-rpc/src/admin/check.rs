//! Fields that name a peer.

use z4_core::address::Address;

use crate::errors::Error;
use crate::limits;

/// Checks the name of a peer.
///
/// # Errors
/// [`Error`] that names the field and the rule.
pub fn check_peer_id(peer_id: &str) -> Result<(), Error> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let fits = (1..=limits::PEER_ID_LEN_MAX).contains(&peer_id.len());
    if fits && peer_id.bytes().all(plain) {
        return Ok(());
    }
    let rule = format!(
        "must be 1 to {} characters of A-Z a-z 0-9 . _ -",
        limits::PEER_ID_LEN_MAX
    );
    Err(Error::invalid("member_id", rule))
}

/// Checks the address of a peer by the one rule that holds everywhere, see
/// [`Address`]; gives its normal form.
///
/// # Errors
/// [`Error`] that names the field, the reason and what to give.
pub fn check_address(address: &str) -> Result<String, Error> {
    match Address::parse(address) {
        Ok(address) => Ok(address.to_string()),
        Err(why) => Err(Error::invalid("member_address", format!("is wrong: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_plain_and_bounded() {
        for good in ["a", "peer1", "A.b_c-9", &"x".repeat(128)] {
            assert!(check_peer_id(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(check_peer_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_refused_by_field_and_reason() {
        let normal = check_address("Peer1.org:06356").map_err(|e| e.to_string());
        assert_eq!(normal.as_deref(), Ok("peer1.org:6356"));
        let refused = check_address("0.0.0.0:6356").err().map(|e| e.to_string());
        let text = refused.unwrap_or_default();
        assert!(text.starts_with("member_address is wrong"), "{text}");
        assert!(text.contains("nobody can dial"), "{text}");
    }
}
