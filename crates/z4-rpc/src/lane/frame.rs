//! A frame of a lane: how bytes on the connection are told apart.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the body, little endian |
//! | 1 | kind |
//! | 4 | CRC-32C of the five bytes before and of the body, little endian |
//! | length | body |
//!
//! The checksum covers the length and the kind too, so that no bit can change
//! unseen. TCP has a checksum of its own, which is weak, and which every device
//! that terminates a connection makes anew.

/// Bytes in front of a body.
pub(crate) const HEADER_LEN: usize = 9;

/// What a frame is. A later layout gets a number of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The first frame of a connection: who sends, and the secret.
    Hello = 1,
    /// Raft messages: the bytes of a `RaftBatch`, as the gRPC stream carries it.
    Batch = 2,
    /// Asks the receiver for a sign of life.
    Ping = 3,
    /// The answer to a hello that was let in, and to each ping.
    Heard = 4,
}

impl Kind {
    fn of(number: u8) -> Option<Self> {
        [Self::Hello, Self::Batch, Self::Ping, Self::Heard]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// Why bytes are no frame. A connection that brought them cannot go on, because
/// nobody knows where the next frame begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The body is longer than it may be, in bytes.
    #[error("a frame of {0} bytes is longer than the {1} that are allowed here")]
    Length(u32, usize),
    /// The number stands for no kind.
    #[error("{0} is no kind of frame")]
    Kind(u8),
    /// The bytes are not those that were sent.
    #[error("the checksum of a frame is wrong")]
    Checksum,
}

/// A frame at the beginning of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its length, header and body, in bytes.
    pub len: usize,
}

/// Makes a frame. `None` for a body that no frame can hold (4 GiB).
pub(crate) fn encode(kind: Kind, body: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(body.len()).ok()?;
    let mut frame = Vec::with_capacity(HEADER_LEN + body.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.push(kind as u8);
    let crc = checksum(&frame, body);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(body);
    Some(frame)
}

/// Finds the frame that `bytes` begin with, whose body is not longer than
/// `body_len_max`. `None`: more bytes are needed.
///
/// # Errors
/// [`Broken`], as soon as it shows: a length is judged before its body has come.
pub(crate) fn first(bytes: &[u8], body_len_max: usize) -> Result<Option<Found>, Broken> {
    let Some(len) = bytes.first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*len);
    let body_len = usize::try_from(len).unwrap_or(usize::MAX);
    if body_len > body_len_max {
        return Err(Broken::Length(len, body_len_max));
    }
    let Some(number) = bytes.get(4) else {
        return Ok(None);
    };
    let kind = Kind::of(*number).ok_or(Broken::Kind(*number))?;
    let frame_len = HEADER_LEN + body_len;
    let Some((header, body)) = bytes.get(..frame_len).map(|f| f.split_at(HEADER_LEN)) else {
        return Ok(None);
    };
    let (start, crc) = header.split_at(5);
    if crc != checksum(start, body).to_le_bytes() {
        return Err(Broken::Checksum);
    }
    Ok(Some(Found {
        kind,
        len: frame_len,
    }))
}

fn checksum(start: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(start), body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LEN_MAX: usize = 1_000;

    #[test]
    fn the_bytes_of_a_frame_are_these() {
        let bytes = [3, 0, 0, 0, 2, 0xaf, 0x8a, 0x24, 0xbe, b'a', b'b', b'c'];
        assert_eq!(encode(Kind::Batch, b"abc").unwrap(), bytes);
        let bytes = [0, 0, 0, 0, 3, 0xc1, 0x85, 0x22, 0x56];
        assert_eq!(encode(Kind::Ping, b"").unwrap(), bytes);
    }

    #[test]
    fn what_was_encoded_is_found_and_what_follows_is_left() {
        for kind in [Kind::Hello, Kind::Batch, Kind::Ping, Kind::Heard] {
            for body in [&b""[..], b"x", &[7; LEN_MAX]] {
                let mut bytes = encode(kind, body).unwrap();
                let len = bytes.len();
                bytes.extend_from_slice(b"rest");
                let found = first(&bytes, LEN_MAX).unwrap();
                assert_eq!(found, Some(Found { kind, len }));
                assert_eq!(&bytes[HEADER_LEN..len], body);
            }
        }
    }

    #[test]
    fn no_truncation_is_a_frame() {
        let bytes = encode(Kind::Batch, &[5; 100]).unwrap();
        for len in 0..bytes.len() {
            assert_eq!(first(&bytes[..len], LEN_MAX), Ok(None), "{len}");
        }
    }

    #[test]
    fn no_flipped_bit_is_taken_for_what_was_sent() {
        let good = encode(Kind::Batch, b"some bytes of a batch").unwrap();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A length that became greater waits for bytes, and is refused by its
            // checksum when they come.
            bytes.extend_from_slice(&[0; LEN_MAX]);
            assert!(first(&bytes, LEN_MAX).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_or_a_kind_is_refused_before_the_body_comes() {
        let long = [0xe9, 3, 0, 0];
        assert_eq!(first(&long, LEN_MAX), Err(Broken::Length(1_001, LEN_MAX)));
        assert_eq!(first(&[0xe8, 3, 0, 0], LEN_MAX), Ok(None));
        for number in (0..=u8::MAX).filter(|number| !(1..=4).contains(number)) {
            let refused = first(&[1, 0, 0, 0, number], LEN_MAX);
            assert_eq!(refused, Err(Broken::Kind(number)));
        }
    }
}
