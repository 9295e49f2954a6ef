//! Small files of a peer's folders: identity, lower bound, which state is live,
//! the cut of the log. The first byte says whether the checksum is right.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((first, rest)) = bytes.split_first() {
        let _ = z4_storage::fuzzing::small_file(rest, first % 2 == 1);
    }
});
