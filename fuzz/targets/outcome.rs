//! Outcomes of commands, as a leader sends them to a follower.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_proto::{decode_outcome, encode_outcome};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(outcome) = decode_outcome(bytes) {
        assert_eq!(
            decode_outcome(&encode_outcome(&outcome)).ok(),
            Some(outcome)
        );
    }
});
