//! Page tokens: where a listing goes on. Clients carry them and nothing else, so
//! every part is checked when one comes back.
//!
//! A token is, in hexadecimal: a version, a fingerprint of what is listed, the
//! place, and a check sum of all that. It is no secret and proves nothing; a
//! forged one lists from another place, which anybody may ask for.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use z4_core::Refusal;

use crate::limits;

const VERSION: u8 = 1;
/// Version, fingerprint and check sum.
const FRAME_LEN: usize = 1 + 4 + 4;

/// Reads and writes the tokens of one listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    listing: u32,
}

impl Token {
    /// `what` tells listings apart: a token of one is refused by another.
    pub(crate) fn of(what: &[&[u8]]) -> Self {
        let mut listing = 0;
        for part in what {
            let len = (part.len() as u64).to_be_bytes();
            listing = crc32c::crc32c_append(listing, &len);
            listing = crc32c::crc32c_append(listing, part);
        }
        Self { listing }
    }

    /// The token of a place.
    pub(crate) fn write(self, place: &[u8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.listing.to_be_bytes());
        bytes.extend(place);
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        HEXLOWER.encode(&bytes)
    }

    /// The place of a token; `None`: it is empty, and the listing begins.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field.
    pub(crate) fn read(self, token: &str) -> Result<Option<Vec<u8>>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let rule = "must be as the answer before gave it, or empty";
        let bad = || Refusal::invalid("page_token", rule);
        if token.len() > limits::PAGE_TOKEN_LEN_MAX {
            return Err(bad());
        }
        let bytes = HEXLOWER_PERMISSIVE.decode(token.as_bytes());
        let bytes = bytes.map_err(|_| bad())?;
        if bytes.len() < FRAME_LEN || bytes[0] != VERSION {
            return Err(bad());
        }
        let (body, sum) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(body).to_be_bytes() != sum {
            return Err(bad());
        }
        if body[1..5] != self.listing.to_be_bytes() {
            let rule = "is of another listing; all other fields must be as they were";
            return Err(Refusal::invalid("page_token", rule));
        }
        Ok(Some(body[5..].to_vec()))
    }
}

/// The most that a page may hold.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the limit.
pub(crate) fn page_size(asked: u32) -> Result<usize, Refusal> {
    match asked as usize {
        0 => Ok(limits::PAGE_COUNT_DEFAULT),
        size if size <= limits::PAGE_COUNT_MAX => Ok(size),
        size => Err(Refusal::invalid(
            "page_size",
            format!("is {size}; it must be 0 to {}", limits::PAGE_COUNT_MAX),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn tokens_read_back_in_their_listing_only() {
        let (a, b) = (Token::of(&[b"ab", b"c"]), Token::of(&[b"a", b"bc"]));
        assert_eq!(a.read("").unwrap(), None);
        for place in [&b""[..], b"x", &[0xff; 200]] {
            let token = a.write(place);
            assert_eq!(a.read(&token).unwrap().as_deref(), Some(place));
            let refusal = b.read(&token).expect_err("another listing");
            assert!(refusal.message.contains("other fields"), "{refusal}");
        }
    }

    #[test]
    fn garbage_names_the_field() {
        let listing = Token::of(&[b"n"]);
        let good = listing.write(b"place");
        let mut bad: Vec<String> = ["0", "zz", "é", "00", "0102030405060708", "+1"]
            .map(str::to_owned)
            .to_vec();
        bad.push("00".repeat(10_000));
        bad.push(good[2..].to_owned());
        bad.push(good[..good.len() - 2].to_owned());
        // Every digit counts.
        for at in 0..good.len() {
            let mut digits = good.clone().into_bytes();
            digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
            bad.push(String::from_utf8(digits).unwrap());
        }
        for token in bad {
            let refusal = listing.read(&token).expect_err(&token);
            assert!(refusal.message.starts_with("page_token"), "{refusal}");
        }
    }

    #[test]
    fn pages_have_a_size() {
        assert_eq!(page_size(0).unwrap(), 100);
        assert_eq!(page_size(1_000).unwrap(), 1_000);
        assert!(page_size(1_001).is_err());
    }
}
