//! What goes into the log of a leader in one round: the proposals that wait, and the
//! leases that ride with them.

use std::collections::BTreeSet;

use z4_consensus::proposals::Asked;
use z4_consensus::ProposeError;
use z4_core::command::LeaseTasks;
use z4_core::dispatch::rides_with;
use z4_core::{Command, Namespace, Outcome};
use z4_delivery::Input;
use z4_proto::command::{decode_command, encode_command};

use crate::peer::{Life, Token};
use crate::world::World;

impl World {
    /// Refuses proposals that are meant for another term, and adds the riders.
    pub(crate) fn prepare(&mut self, id: u64, asked: Vec<Asked<Token>>) -> Vec<Asked<Token>> {
        let Some(term) = self.term_of(id) else {
            return asked;
        };
        let (mut kept, mut topics) = (Vec::new(), BTreeSet::new());
        for asked in asked {
            match asked.token {
                Token::Session {
                    only_in: Some(only_in),
                    ..
                } if only_in != term => {
                    self.saw("a proposal came after the term that it was made for");
                    self.proposal_failed(id, asked.token, &ProposeError::NotLeader);
                }
                _ => {
                    topics.extend(self.topic(id, &asked.command));
                    kept.push(asked);
                }
            }
        }
        for namespace in topics {
            kept.extend(self.rider(id, &namespace, term));
        }
        kept
    }

    /// The term of a peer; `None` while it is down.
    pub(super) fn term_of(&self, id: u64) -> Option<u64> {
        let run = self.peers.get(&id)?.run.as_ref()?;
        Some(run.replica.glance().term)
    }

    fn topic(&self, id: u64, command: &[u8]) -> Option<Namespace> {
        let command = decode_command(command).ok()?;
        rides_with(&command, self.clocks(id).wall_ns).cloned()
    }

    fn rider(&mut self, id: u64, namespace: &Namespace, term: u64) -> Option<Asked<Token>> {
        let peer = self.peers.get_mut(&id)?;
        let life = peer.life();
        let run = peer.run.as_mut()?;
        if run.replica.glance().role != z4_consensus::status::Role::Leader {
            return None;
        }
        let lease = run.shell.riders.take(namespace, term)?;
        self.saw("a lease went into the log behind a new task");
        Some(Asked {
            command: encode_command(&Command::LeaseTasks(lease.clone())),
            units: 0,
            token: Token::Rider { life, term, lease },
        })
    }

    /// A rider was applied, or it was not, or nobody knows.
    pub(crate) fn rider_answered(
        &mut self,
        life: Life,
        (term, lease): (u64, LeaseTasks),
        outcome: Option<&Outcome>,
    ) {
        // A lease that was granted comes back as an event.
        if !matches!(outcome, Some(Outcome::Leased { .. })) {
            self.saw("a lease that rode was not applied");
            self.later(life, Input::RiderFailed { term, lease });
        }
    }
}
