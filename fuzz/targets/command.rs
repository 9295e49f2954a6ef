//! Commands of the log: bytes that are none give an error; those that are one
//! read back as it, and its limits can be checked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_proto::{decode_command, encode_command};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = decode_command(bytes) {
        let _ = command.check();
        assert_eq!(
            decode_command(&encode_command(&command)).ok(),
            Some(command)
        );
    }
});
