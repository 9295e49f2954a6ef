//! What a peer sends on its streams: openings, batches of raft messages through
//! the gate, forwarded asks and answers, and what a peer says that was dialled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protobuf::Message as _;
use z4_consensus::assembly::{Assembly, Settings};
use z4_consensus::gate::Gate;
use z4_consensus::{Change, Identity, Membership};
use z4_proto::generated::peer::{
    ForwardReply, ForwardReply_oneof_answer as Answer, ForwardRequest,
    ForwardRequest_oneof_ask as Ask, ProbeReply, RaftBatch,
};
use z4_rpc::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let identity = Identity {
        cluster_id: [7; 16],
        raft_id: 1,
        peer_id: "a".into(),
    };
    let mut membership = Membership::bootstrap(&identity, "a:1");
    let _ = membership.change(&Change::AddLearner {
        raft_id: 2,
        peer_id: "b".into(),
        address: "b:1".into(),
        levels: None,
    });
    if let Ok(batch) = RaftBatch::parse_from_bytes(bytes) {
        let _ = fuzzing::opening(batch.get_opening(), &identity, &membership);
        for message in batch.get_messages() {
            let Ok(message) = fuzzing::raft_message(message, 2, 1) else {
                continue;
            };
            for (leads, writes) in [(true, true), (false, false)] {
                let gate = Gate {
                    raft_id: 1,
                    term: 3,
                    last_index: 20,
                    leads,
                    writes,
                    membership: &membership,
                };
                let _ = gate.admit(2, &message, false);
                let _ = gate.admit(2, &message, true);
            }
        }
    }
    if let Ok(request) = ForwardRequest::parse_from_bytes(bytes) {
        match &request.ask {
            Some(Ask::opening(opening)) => {
                let _ = fuzzing::opening(opening, &identity, &membership);
            }
            Some(Ask::proposal(proposal)) => {
                let _ = z4_proto::decode_command(&proposal.command);
            }
            _ => {}
        }
    }
    if let Ok(reply) = ProbeReply::parse_from_bytes(bytes) {
        let join = ["a:1".to_owned(), "b:1".to_owned()];
        let mut assembly = Assembly::new(Settings {
            peer_id: "a".into(),
            address: "a:1".into(),
            join: join.iter().cloned().collect(),
            expect: Some(2),
        });
        let answers = join.map(|address| (address, fuzzing::probe_answer(&reply)));
        let _ = assembly.step(0, &answers.into_iter().collect());
    }
    if let Ok(reply) = ForwardReply::parse_from_bytes(bytes) {
        if let Some(Answer::outcome(outcome)) = &reply.answer {
            let _ = z4_proto::decode_outcome(outcome);
        }
    }
});
