//! Backup files: as they come, and as frames with right checksums around any payloads. The
//! first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((first, rest)) = bytes.split_first() {
        let _ = z4_backup::fuzzing::file(rest, first % 2 == 1);
    }
});
