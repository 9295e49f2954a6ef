//! What consumers send, through the checks: requests for leases, and the messages
//! of a Consume stream, the first and those behind it, each with its length
//! before it. The first byte chooses. What passes keeps every limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protobuf::{CodedInputStream, Message as _};
use z4_core::limits;
use z4_proto::generated::collection as wire;
use z4_rpc::fuzzing;

fn lease_ms(given: u64) {
    let allowed = limits::LEASE_MS_MIN..=limits::LEASE_MS_MAX;
    assert!(given == 0 || allowed.contains(&given), "{given}");
}

fn talk(bytes: &[u8]) {
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut is_first = true;
    while !input.eof().unwrap_or(true) {
        // As gRPC hands it over: what does not decode ends the stream.
        let Ok(request) = input.read_message::<wire::ConsumeRequest>() else {
            return;
        };
        if is_first {
            if !request.has_open() {
                return;
            }
            let open = request.get_open();
            let _ = fuzzing::consumer_id(open.get_consumer_id());
            match fuzzing::consume_open(open) {
                Ok((tasks, bytes, lease)) => {
                    assert!((1..=10_000).contains(&tasks) && bytes > 0);
                    lease_ms(lease);
                }
                Err(refusal) => {
                    assert!(!refusal.message.is_empty());
                    return;
                }
            }
            is_first = false;
        } else if let Err(refusal) = fuzzing::consume_said(request) {
            assert!(!refusal.message.is_empty());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    if kind % 2 == 0 {
        return talk(bytes);
    }
    let Ok(request) = wire::LeaseTasksRequest::parse_from_bytes(bytes) else {
        return;
    };
    let _ = fuzzing::consumer_id(request.get_consumer_id());
    match fuzzing::lease_tasks(&request) {
        Ok((tasks, _, lease)) => {
            assert!((1..=limits::LEASE_COUNT_MAX as u32).contains(&tasks));
            lease_ms(lease);
        }
        Err(refusal) => assert!(!refusal.message.is_empty()),
    }
});
