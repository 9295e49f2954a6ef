//! Keys of the task state: what reads as a key is written as the same bytes, and
//! bytes sort as keys do. The first byte says where the second key begins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_proto::keys;

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first() else {
        return;
    };
    let Some((one, other)) = rest.split_at_checked(usize::from(*len)) else {
        return;
    };
    let (a, b) = (keys::decode(one), keys::decode(other));
    for (key, bytes) in [(&a, one), (&b, other)] {
        if let Some(key) = key {
            assert_eq!(keys::encode(key), bytes);
        }
    }
    if let (Some(a), Some(b)) = (a, b) {
        assert_eq!(one.cmp(other), a.cmp(&b), "{a:?} {b:?}");
    }
});
