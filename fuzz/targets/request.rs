//! Requests of clients, through their checks: an error that names a field, or a
//! command that keeps every limit and goes through the log unchanged. The first
//! byte chooses the request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protobuf::Message as _;
use z4_core::command::CreateTasks;
use z4_core::{Command, Refusal};
use z4_proto::generated::{admin, collection as wire};
use z4_proto::{decode_command, encode_command};
use z4_rpc::{fuzzing, validate};

fn judge(result: Result<CreateTasks, Refusal>) {
    match result.map(Command::CreateTasks) {
        Ok(command) => {
            assert_eq!(command.check(), Ok(()));
            assert_eq!(
                decode_command(&encode_command(&command)).ok(),
                Some(command)
            );
        }
        Err(refusal) => assert!(!refusal.message.is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 11 {
        0 => {
            if let Ok(request) = wire::CreateTaskRequest::parse_from_bytes(bytes) {
                judge(validate::create(request));
            }
        }
        1 => {
            if let Ok(request) = wire::CreateTasksRequest::parse_from_bytes(bytes) {
                judge(validate::create_batch(request));
            }
        }
        2 => {
            if let Ok(request) = wire::GetTaskRequest::parse_from_bytes(bytes) {
                let _ = validate::get(&request);
            }
        }
        3 => {
            if let Ok(request) = wire::ListTasksRequest::parse_from_bytes(bytes) {
                let _ = fuzzing::list(&request);
            }
        }
        4 => {
            if let Ok(request) = wire::RedriveTasksRequest::parse_from_bytes(bytes) {
                let _ = fuzzing::redrive(&request);
            }
        }
        5 => {
            if let Ok(request) = wire::PurgeTasksRequest::parse_from_bytes(bytes) {
                let _ = fuzzing::purge(&request);
            }
        }
        6 => {
            if let Ok(request) = wire::RescheduleTaskRequest::parse_from_bytes(bytes) {
                let _ = fuzzing::reschedule(&request);
            }
        }
        7 => {
            if let Ok(request) = admin::UpdateNamespaceRequest::parse_from_bytes(bytes) {
                let patch = fuzzing::patch(request.get_settings(), request.get_update_mask());
                if let Ok(patch) = patch {
                    assert_eq!(patch.check(), Ok(()));
                }
            }
        }
        8 => {
            if let Ok(request) = wire::AckTasksRequest::parse_from_bytes(bytes) {
                for lease in request.leases {
                    let _ = fuzzing::ack(lease);
                }
            }
        }
        9 => {
            if let Ok(request) = wire::NackTasksRequest::parse_from_bytes(bytes) {
                for nack in request.nacks {
                    let _ = fuzzing::nack(nack);
                }
            }
        }
        _ => {
            if let Ok(request) = wire::ExtendLeasesRequest::parse_from_bytes(bytes) {
                for extend in request.extends {
                    let _ = fuzzing::extend(extend);
                }
            }
            if let Ok(text) = std::str::from_utf8(bytes) {
                let _ = fuzzing::consumer_id(text);
                let _ = z4_rpc::admin::check_address(text);
                let _ = z4_rpc::admin::check_peer_id(text);
            }
        }
    }
});
