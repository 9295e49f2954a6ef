//! Page tokens: any text is a token or an error; a written one reads back, of
//! its own listing only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protobuf::Message as _;
use z4_proto::generated::collection::ListTasksRequest;
use z4_rpc::fuzzing;

/// Longest place that a token of this length can hold.
const PLACE_LEN_MAX: usize = 24;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = fuzzing::read_token(b"tasks", text);
    }
    let place = &bytes[..bytes.len().min(PLACE_LEN_MAX)];
    assert_eq!(fuzzing::token(b"x", place), Ok(Some(place.to_vec())));
    let Ok(mut request) = ListTasksRequest::parse_from_bytes(bytes) else {
        return;
    };
    if let Ok((place, token)) = fuzzing::list(&request) {
        // The next page goes on where the token says.
        request.set_page_token(token);
        let again = fuzzing::list(&request).map(|(place, _)| place);
        assert_eq!(again, Ok(place));
    }
});
