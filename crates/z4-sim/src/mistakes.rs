//! Mistakes that can be put in on purpose, each of which the simulator must find.
//!
//! Most are in the code that runs in production, behind the feature `planted` of
//! `z4-core`, `z4-consensus` and `z4-storage`; those marked *shell* are in what
//! the simulator has instead of threads, disks and administrators.

use z4_consensus::log::Position;
use z4_consensus::machine::Committed;
use z4_core::{Command, TaskId};
use z4_proto::command::{decode_command, encode_command};

use crate::clients::Reply;
use crate::options::Options;
use crate::peer::Token;
use crate::world::World;

/// A mistake: its name, and what is wrong.
pub type Mistake = (&'static str, &'static str);

/// All of them.
pub const MISTAKES: &[Mistake] = &[
    (
        "ack-before-quorum",
        "shell: creates are acknowledged when the leader has appended them",
    ),
    (
        "ack-only-releases",
        "an ack gives the lease back, and the task comes again",
    ),
    (
        "age-unchecked",
        "tasks are delivered after their time to live",
    ),
    (
        "attempts-without-end",
        "a task that failed as often as it may comes again",
    ),
    (
        "credit-leaks",
        "the room that a lease command reserved is not given back",
    ),
    (
        "cursor-not-lowered",
        "a task put below the cursor of its queue is not seen",
    ),
    (
        "cut-above-flushed",
        "the log is cut above what the state has flushed",
    ),
    (
        "deliver-early",
        "tasks are delivered a second before they are due",
    ),
    (
        "disk-loses-synced",
        "shell: a power loss takes entries that were synced",
    ),
    (
        "due-not-told",
        "the dispatcher does not hear of tasks that fall due",
    ),
    (
        "due-row-stays",
        "a task that is leased again stays in the due index",
    ),
    (
        "failed-lease-forgotten",
        "what a lost lease command would have taken is not asked for again",
    ),
    ("flush-not-durable", "a flush says it is done and is not"),
    ("lease-row-stays", "the row of an ended lease stays"),
    (
        "leases-forgotten-at-start",
        "a peer that starts does not know the deadlines of live leases",
    ),
    ("leases-not-in-snapshot", "a snapshot lacks the leases"),
    (
        "local-clock-in-apply",
        "shell: each peer expires leases by a clock of its own",
    ),
    (
        "members-not-stored",
        "a change of members is not stored with the state",
    ),
    ("one-replica-skips", "shell: one peer leaves out some acks"),
    (
        "position-not-with-rows",
        "rows are stored without the index they lead to",
    ),
    (
        "promise-before-sync",
        "votes and acknowledgements leave before the write they rest on is done",
    ),
    (
        "pulse-not-repeated",
        "a pulse that was lost with its leader is not proposed again",
    ),
    (
        "raft-id-reused",
        "shell: a peer that lost its disk comes back under its old raft id",
    ),
    (
        "read-context-reused",
        "a read that is tried again has the context of an earlier one",
    ),
    (
        "read-without-quorum",
        "a read is answered from what happens to be applied",
    ),
    ("removed-goes-on", "a removed peer does not stop"),
    (
        "reply-by-order",
        "callers are answered in order, not by index and term",
    ),
    ("request-forgotten", "a repeated request makes new tasks"),
    (
        "requests-not-in-snapshot",
        "a snapshot lacks the request ids",
    ),
    ("skip-sync", "the log is written and not synced"),
    (
        "stamp-by-clock",
        "entries are stamped with the clock alone, which may go back",
    ),
    ("token-unchecked", "an old token ends the lease of another"),
    (
        "vote-not-written",
        "the vote is missing from the hard state that is written",
    ),
];

/// Plants the mistake of a run in the crates that have it.
pub(crate) fn plant(options: &Options) {
    #[cfg(feature = "planted")]
    {
        z4_core::planted::plant(options.planted);
        z4_consensus::planted::plant(options.planted);
    }
    // Without the feature only those of the shell can be planted.
    #[cfg(not(feature = "planted"))]
    let _ = options;
}

impl World {
    /// What a faulty peer would make of a run of entries.
    pub(crate) fn spoil(&self, id: u64, entries: &[Committed]) -> Vec<Committed> {
        let mut entries = entries.to_vec();
        if self.options.planted("local-clock-in-apply") {
            let wall_ns = self.clocks(id).wall_ns;
            for entry in &mut entries {
                let pulses = entry
                    .commands
                    .iter()
                    .any(|bytes| matches!(decode_command(bytes), Ok(Command::Pulse)));
                if pulses {
                    entry.stamp_ns = wall_ns;
                }
            }
        }
        if self.options.planted("one-replica-skips") && id == 2 {
            for bytes in entries.iter_mut().flat_map(|entry| &mut entry.commands) {
                if let Ok(Command::AckTasks(refs)) = decode_command(bytes) {
                    if refs.leases.len() == 3 {
                        *bytes = encode_command(&Command::ReleaseTasks(refs));
                    }
                }
            }
        }
        entries
    }

    /// Answers creates that are only appended.
    pub(crate) fn ack_appended(
        &mut self,
        position: Position,
        stamp_ns: u64,
        tokens: Vec<(Token, u32)>,
    ) {
        for (token, unit) in tokens {
            let Token::Client { client, attempt } = token else {
                continue;
            };
            let Some(count) = self.creates_of(client) else {
                continue;
            };
            let index = position.index;
            let created = (0..count).map(|place| z4_core::command::CreatedTask {
                id: TaskId::new(stamp_ns, index, unit + place),
                deliver_at: z4_core::task::WallTime::from_ns(stamp_ns),
            });
            let outcome = z4_core::Outcome::Created(created.collect());
            self.reply(client, attempt, Reply::Outcome { outcome, index });
        }
    }
}
