//! The commands of the tasks that the works do something with.

use z4_core::command::{CreateTasks, CreatedTask, Grant, LeaseRefs, LeaseTasks, NewTask, Taker};
use z4_core::{Command, Namespace, Outcome};

/// Tasks of one entry of the log: a leader under load packs about so many.
pub(crate) const BATCH: usize = 50;
/// Bytes of a payload.
const PAYLOAD_LEN: usize = 256;

/// The commands of one namespace.
pub(crate) struct Tasks {
    pub(crate) namespace: Namespace,
}

impl Tasks {
    pub(crate) fn new() -> Result<Self, String> {
        let namespace = Namespace::new("mail").map_err(|refusal| refusal.message)?;
        Ok(Self { namespace })
    }

    /// Creates of one task each, due at once.
    pub(crate) fn creates(&self) -> Vec<Command> {
        let create = |seed: usize| {
            Command::CreateTasks(CreateTasks {
                namespace: self.namespace.clone(),
                request_id: String::new(),
                tasks: vec![NewTask {
                    payload: vec![seed as u8; PAYLOAD_LEN],
                    ..NewTask::default()
                }],
            })
        };
        (0..BATCH).map(create).collect()
    }

    /// A lease of all of them.
    pub(crate) fn lease(&self) -> LeaseTasks {
        LeaseTasks {
            namespace: self.namespace.clone(),
            takers: vec![Taker {
                consumer: "consumer~1.boot.1".to_owned(),
                room: BATCH as u32,
            }],
            lease_ms: 0,
            ahead_ms: 0,
        }
    }

    /// The acks of leases.
    pub(crate) fn ack(&self, grants: &[Grant]) -> Command {
        Command::AckTasks(LeaseRefs {
            namespace: self.namespace.clone(),
            leases: grants.iter().map(Grant::key).collect(),
        })
    }
}

/// The leases that a lease command was answered with.
pub(crate) fn granted(outcome: Option<Outcome>) -> Result<Vec<Grant>, String> {
    match outcome {
        Some(Outcome::Leased { grants, .. }) if grants.len() == BATCH => Ok(grants),
        other => Err(format!("the lease was answered with {other:?}")),
    }
}

/// A lease as the log would grant it, for works without a machine.
pub(crate) fn grant(task: &CreatedTask, index: u64, consumer: &str) -> Grant {
    Grant {
        consumer: consumer.to_owned(),
        id: task.id,
        token: z4_core::task::LeaseToken(index),
        deadline_ns: u64::MAX,
        due_at_ns: 1,
        attempt: 1,
        deliveries: 1,
        bytes: PAYLOAD_LEN as u64,
    }
}
