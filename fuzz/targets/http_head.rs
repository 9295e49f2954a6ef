//! The head of an HTTP request to the status port, as it comes: piece by piece,
//! the first byte says how long a piece is. However it is cut, the answer is the
//! same, and a request that is finished stays what it is.
#![no_main]

use libfuzzer_sys::fuzz_target;

// z4-server is a program: its file is compiled here once more.
#[path = "../../crates/z4-server/src/status_server/head.rs"]
mod head;

use head::Parsed;

/// The verdict of the server, which stops reading at the first that is one.
fn read(bytes: &[u8], piece: usize) -> Parsed {
    let mut len = 0;
    while len < bytes.len() {
        len = bytes.len().min(len + piece);
        let parsed = head::parse(&bytes[..len]);
        if parsed != Parsed::Unfinished {
            return parsed;
        }
    }
    Parsed::Unfinished
}

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, bytes)) = bytes.split_first() else {
        return;
    };
    let piece = usize::from(*piece).max(1);
    let parsed = read(bytes, piece);
    let whole = head::parse(bytes);
    match (&parsed, &whole) {
        (Parsed::Request(request), _) => {
            assert_eq!(parsed, whole, "a whole head does not change by what follows");
            assert!(!request.method.is_empty() && !request.path.contains('?'));
            assert!(!request.method.contains(['\r', '\n']));
            assert!(!request.path.contains(['\r', '\n']));
        }
        (Parsed::Unfinished | Parsed::Refused, _) => assert_eq!(parsed, whole),
    }
});
