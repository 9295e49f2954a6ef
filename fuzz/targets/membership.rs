//! Members, and changes of members: in snapshots, in the state, in the log. A
//! change that can be read is made or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_consensus::{Change, Membership};

fuzz_target!(|bytes: &[u8]| {
    let Some((len, rest)) = bytes.split_first() else {
        return;
    };
    let (first, second) = rest.split_at(usize::from(*len).min(rest.len()));
    let change = Change::decode(second);
    if let Some(change) = &change {
        assert_eq!(Change::decode(&change.encode()).as_ref(), Some(change));
    }
    if let Some(mut members) = Membership::decode(first) {
        assert_eq!(
            Membership::decode(&members.encode()).as_ref(),
            Some(&members)
        );
        if let Some(change) = change {
            let before = members.clone();
            if members.change(&change).is_err() {
                assert_eq!(members, before);
            }
        }
        let _ = members.conf_state();
    }
});
