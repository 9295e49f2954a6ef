//! Command lines of z4t, each argument ended by a zero byte: read, or refused in
//! one plain line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let args = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    z4t::fuzzing::arguments(args.collect());
});
