//! Entries of the log, as they lie on disk, and what is in them: applied by two
//! machines, they give one state, and every invariant holds after each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_consensus::proposals::Envelope;
use z4_core::invariants::{check, state_hash};
use z4_core::{Machine, MemState};
use z4_proto::decode_command;

fuzz_target!(|bytes: &[u8]| {
    if let Some((term, again)) = z4_storage::fuzzing::log_entry(7, bytes) {
        assert_eq!(term, again);
    }
    // Envelopes behind a length of two bytes.
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(after.len());
        let (entry, after) = after.split_at(len);
        rest = after;
        if let Some(Envelope { stamp_ns, commands }) = Envelope::decode(entry) {
            let commands = commands.iter().map(|c| decode_command(c));
            // What cannot be read stops a peer: nothing of it is applied.
            let Ok(commands) = commands.collect::<Result<Vec<_>, _>>() else {
                return;
            };
            entries.push((stamp_ns, commands));
        }
    }
    let mut hashes = Vec::new();
    for _ in 0..2 {
        let Ok(mut machine) = Machine::open(MemState::new()) else {
            return;
        };
        for (at, (stamp_ns, commands)) in entries.iter().enumerate() {
            let mut events = Vec::new();
            let applied =
                machine.apply_entry(at as u64 + 2, *stamp_ns, commands.clone(), &mut events);
            assert!(applied.is_ok(), "{applied:?}");
            let report = check(machine.state()).map(|report| report.verdict());
            assert!(matches!(report, Ok(Ok(()))), "{report:?}");
        }
        hashes.push(state_hash(machine.state()).ok());
    }
    assert_eq!(hashes[0], hashes[1]);
});
