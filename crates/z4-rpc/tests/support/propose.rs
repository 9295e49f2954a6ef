//! Commands put into the log directly: what a test needs to have happened.

use std::sync::mpsc::channel;

use z4_consensus::runtime::{Done, Proposal, Sink};
use z4_consensus::ProposeError;
use z4_core::command::{LeaseTasks, Nack, NackTasks, Taker};
use z4_core::task::LeaseToken;
use z4_core::{Command, Namespace, Outcome, TaskId};
use z4_proto::encode_command;

use super::Peer;

/// Applies a command at a leader.
pub fn apply(peer: &Peer, command: Command) -> Outcome {
    let (tx, rx) = channel();
    let sink = Sink::new(move |result: Result<Done<Outcome>, ProposeError>| {
        tx.send(result.unwrap().reply).unwrap();
    });
    let proposal = Proposal::new(encode_command(&command), command.units(), sink);
    peer.node.handle().propose(proposal);
    rx.recv().unwrap()
}

/// Leases due tasks to a consumer of this name.
pub fn lease(peer: &Peer, namespace: &str, consumer: &str, room: u32) -> Vec<(TaskId, LeaseToken)> {
    let command = Command::LeaseTasks(LeaseTasks {
        namespace: Namespace::new(namespace).unwrap(),
        takers: vec![Taker {
            consumer: consumer.into(),
            room,
        }],
        lease_ms: 60_000,
        ahead_ms: 0,
    });
    match apply(peer, command) {
        Outcome::Leased { grants, .. } => grants.iter().map(|g| (g.id, g.token)).collect(),
        other => panic!("{other:?}"),
    }
}

/// Makes due tasks dead letters: for good, or after one failure.
pub fn kill(peer: &Peer, namespace: &str, count: u32) -> Vec<TaskId> {
    let held = lease(peer, namespace, "killer~1.0.1", count);
    let nack = |(id, token): &(TaskId, LeaseToken)| Nack {
        id: *id,
        token: *token,
        delay_ms: None,
        error: "boom".into(),
        permanent: true,
    };
    let nacks = Command::NackTasks(NackTasks {
        namespace: Namespace::new(namespace).unwrap(),
        nacks: held.iter().map(nack).collect(),
    });
    let outcome = apply(peer, nacks);
    assert!(matches!(outcome, Outcome::Ended { .. }), "{outcome:?}");
    held.into_iter().map(|(id, _)| id).collect()
}
