//! What a peer says of the outcome of a call that failed: `google.rpc.ErrorInfo`
//! in the details of its status. Read by hand: three small messages do not pay
//! for proto files of their own.

use protobuf::{CodedInputStream, ProtobufResult};

/// Whether what was asked for was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    /// Certainly not.
    Nothing,
    /// It may have been.
    Maybe,
}

const DOMAIN: &str = "z4";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

impl Done {
    /// Reads the details of a status; `None`: they say nothing of it.
    pub(crate) fn read(details: &[u8]) -> Option<Self> {
        // google.rpc.Status: details are field 3, a google.protobuf.Any each.
        let (mut found, anys) = (None, fields(details, 3).ok()?);
        for any in anys {
            if text(&any, 1)? != ERROR_INFO {
                continue;
            }
            let info = fields(&any, 2).ok()?.pop()?;
            if text(&info, 2)? != DOMAIN {
                continue;
            }
            found = match text(&info, 1)?.as_str() {
                "NOTHING_DONE" => Some(Self::Nothing),
                "OUTCOME_UNKNOWN" => Some(Self::Maybe),
                _ => found,
            };
        }
        found
    }
}

fn text(message: &[u8], number: u32) -> Option<String> {
    String::from_utf8(fields(message, number).ok()?.pop()?).ok()
}

/// The values of a field of bytes, in order.
fn fields(message: &[u8], number: u32) -> ProtobufResult<Vec<Vec<u8>>> {
    let mut input = CodedInputStream::from_bytes(message);
    let mut found = Vec::new();
    while !input.eof()? {
        let (field, wire_type) = input.read_tag_unpack()?;
        match wire_type {
            protobuf::wire_format::WireType::WireTypeLengthDelimited if field == number => {
                found.push(input.read_bytes()?);
            }
            other => input.skip_field(other)?,
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As z4-rpc writes it; its test holds the same bytes.
    const NOTHING_DONE: &[u8] =
        b"\x08\x0e\x12\x01m\x1a>\n(type.googleapis.com/google.rpc.ErrorInfo\x12\x12\n\x0cNOTHING_DONE\x12\x02z4";

    #[test]
    fn what_a_peer_writes_is_read() {
        assert_eq!(Done::read(NOTHING_DONE), Some(Done::Nothing));
    }

    #[test]
    fn bytes_of_others_say_nothing() {
        assert_eq!(Done::read(b""), None);
        assert_eq!(Done::read(b"\xff\xff\xff"), None);
        for end in 0..NOTHING_DONE.len() {
            assert_eq!(Done::read(&NOTHING_DONE[..end]), None, "{end}");
        }
        let other = String::from_utf8_lossy(NOTHING_DONE).replace("z4", "z5");
        assert_eq!(Done::read(other.as_bytes()), None);
    }
}
