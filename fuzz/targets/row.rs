//! Rows of the task state: a key, and the value that belongs to it. The first
//! byte is the length of the key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_proto::{decode_row, encode_row, keys};

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first() else {
        return;
    };
    let Some((key, value)) = rest.split_at_checked(usize::from(*len)) else {
        return;
    };
    let Some(key) = keys::decode(key) else { return };
    if let Ok(row) = decode_row(&key, value) {
        assert_eq!(decode_row(&key, &encode_row(&row)).ok(), Some(row));
    }
});
