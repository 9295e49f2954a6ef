//! The mutants of the shell: what the simulator has instead of threads, disks
//! and administrators gone wrong.

use z4_consensus::log::Position;
use z4_consensus::machine::{Committed, StateMachine as _};
use z4_core::command::{Ended, HeldLeases, LeaseLost, Unchanged};
use z4_core::{Command, Outcome, TaskId};
use z4_proto::command::{decode_command, encode_command};

use crate::clients::Reply;
use crate::peer::Token;
use crate::world::World;

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
                        let held = HeldLeases::of_anybody(refs);
                        *bytes = encode_command(&Command::ReleaseTasks(held));
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

    /// What a faulty peer tells of an outcome.
    pub(crate) fn told(&mut self, token: &Token, mut outcome: Outcome) -> Outcome {
        match (&mut outcome, token) {
            (Outcome::Changed(results), Token::Client { .. })
                if self.options.planted("change-told-done") && self.one_in(4) =>
            {
                for result in results {
                    if matches!(result, Err(Unchanged::Leased { .. })) {
                        *result = Ok(());
                    }
                }
            }
            (Outcome::Ended { results, .. }, Token::End { .. })
                if self.options.planted("late-ack-told-done") =>
            {
                for result in results {
                    if matches!(result, Err(LeaseLost::Expired | LeaseLost::Taken)) {
                        *result = Ok(Ended::Done);
                    }
                }
            }
            _ => {}
        }
        outcome
    }

    /// The peer whose state answers a read that was confirmed at a peer.
    pub(crate) fn answers_read(&self, id: u64) -> u64 {
        if !self.options.planted("read-of-another-time") {
            return id;
        }
        let running = self.peers.values().filter_map(|peer| {
            let applied = peer.run.as_ref()?.machine.applied().position.index;
            Some((applied, peer.raft_id))
        });
        running.min().map_or(id, |(_, laggard)| laggard)
    }
}
