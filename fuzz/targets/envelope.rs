//! Envelopes: the stamp and commands of a log entry.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_consensus::proposals::Envelope;

fuzz_target!(|bytes: &[u8]| {
    let stamp = Envelope::stamp(bytes);
    if let Some(envelope) = Envelope::decode(bytes) {
        assert_eq!(stamp, Some(envelope.stamp_ns));
        assert_eq!(Envelope::decode(&envelope.encode()), Some(envelope));
    }
});
