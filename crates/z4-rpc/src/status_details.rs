//! The details of a status: `google.rpc.Status` with a `google.rpc.RetryInfo` and
//! a `google.rpc.ErrorInfo`, written by hand: five small messages do not pay for
//! proto files of their own.

use grpcio::RpcStatusCode;
use protobuf::{CodedOutputStream, ProtobufResult};

/// The domain of our reasons.
const DOMAIN: &str = "z4";

/// What is said besides code and message.
pub(crate) struct Details {
    /// How long to wait at least, in milliseconds.
    pub(crate) retry_after_ms: Option<u64>,
    /// Whether anything was done.
    pub(crate) reason: Option<&'static str>,
}

impl Details {
    /// The bytes; `None`: there is nothing to say.
    pub(crate) fn write(&self, code: RpcStatusCode, message: &str) -> Option<Vec<u8>> {
        let retry = self.retry_after_ms.and_then(retry_info);
        let info = self.reason.and_then(error_info);
        if retry.is_none() && info.is_none() {
            return None;
        }
        bytes(|out| {
            out.write_int32(1, i32::from(code))?;
            out.write_string(2, message)?;
            for any in [&retry, &info].into_iter().flatten() {
                out.write_bytes(3, any)?;
            }
            Ok(())
        })
    }
}

fn retry_info(delay_ms: u64) -> Option<Vec<u8>> {
    let duration = bytes(|out| {
        out.write_int64(1, (delay_ms / 1_000) as i64)?;
        out.write_int32(2, (delay_ms % 1_000) as i32 * 1_000_000)
    })?;
    let info = bytes(|out| out.write_bytes(1, &duration))?;
    any("google.rpc.RetryInfo", &info)
}

fn error_info(reason: &str) -> Option<Vec<u8>> {
    let info = bytes(|out| {
        out.write_string(1, reason)?;
        out.write_string(2, DOMAIN)
    })?;
    any("google.rpc.ErrorInfo", &info)
}

fn any(name: &str, message: &[u8]) -> Option<Vec<u8>> {
    bytes(|out| {
        out.write_string(1, &format!("type.googleapis.com/{name}"))?;
        out.write_bytes(2, message)
    })
}

fn bytes(fill: impl Fn(&mut CodedOutputStream<'_>) -> ProtobufResult<()>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut out = CodedOutputStream::vec(&mut bytes);
    fill(&mut out).ok()?;
    out.flush().ok()?;
    drop(out);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client reads these very bytes.
    #[test]
    fn the_reason_is_written_so() {
        let details = Details {
            retry_after_ms: None,
            reason: Some("NOTHING_DONE"),
        };
        let golden = b"\x08\x0e\x12\x01m\x1a>\n(type.googleapis.com/google.rpc.ErrorInfo\x12\x12\n\x0cNOTHING_DONE\x12\x02z4";
        let written = details.write(RpcStatusCode::UNAVAILABLE, "m");
        assert_eq!(written.as_deref(), Some(&golden[..]));
    }

    #[test]
    fn nothing_to_say_is_no_details() {
        let details = Details {
            retry_after_ms: None,
            reason: None,
        };
        assert_eq!(details.write(RpcStatusCode::NOT_FOUND, "m"), None);
    }
}
