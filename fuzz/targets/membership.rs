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
    let change = Change::decode(second, u32::MAX).ok();
    if let Some(change) = &change {
        // The form of a newcomer depends on the level of the cluster.
        let has_levels = matches!(
            change,
            Change::AddLearner {
                levels: Some(_),
                ..
            }
        );
        let again = change.encode(if has_levels { 2 } else { 1 });
        assert_eq!(Change::decode(&again, u32::MAX).as_ref(), Ok(change));
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
