//! One change of members: a peer is added, and when it votes another leaves.

use rand::Rng;
use z4_consensus::replica::Input;
use z4_consensus::status::Role;
use z4_consensus::{Change, Membership};

use crate::peer::{Peer, Token};
use crate::world::{Event, World};

#[derive(Debug, Default)]
pub(crate) struct Admin {
    added: Option<u64>,
    removing: Option<u64>,
    pub(crate) done: bool,
}

impl World {
    /// A peer that says it leads, with its members.
    pub(crate) fn some_leader(&self) -> Option<(u64, Membership)> {
        self.peers.values().find_map(|peer| {
            let status = peer.run.as_ref()?.replica.status();
            (status.role == Role::Leader && status.leader_ready)
                .then_some((peer.raft_id, status.membership))
        })
    }

    /// Takes the next step of the change, again and again until it is done.
    pub(crate) fn administer(&mut self) {
        if self.admin.done {
            return;
        }
        self.within(150, 400, Event::Admin);
        let Some((leader, members)) = self.some_leader() else {
            return;
        };
        let Some(added) = self.admin.added else {
            let id = members.raft_id_next;
            self.trace.note(self.now_ns, format_args!("adding {id}"));
            self.peers.insert(id, Peer::new(id));
            self.start(id);
            self.admin.added = Some(id);
            return;
        };
        match members.members.get(&added) {
            None if members.raft_id_next == added => {
                let change = Change::AddLearner {
                    raft_id: added,
                    peer_id: format!("peer{added}"),
                    address: format!("sim:{added}"),
                };
                return self.input(leader, Input::Change(change, Token::Admin));
            }
            // A leader that lags may not know it yet.
            Some(member) if !member.voter => return,
            _ => {}
        }
        if members.voter_count() < 4 && self.options.peers < 3 {
            // With two voters, to lose one is to lose the quorum.
            self.admin.done = members.members.contains_key(&added);
            return;
        }
        let Some(removing) = self.admin.removing else {
            let ids: Vec<u64> = members.members.keys().copied().collect();
            if members.members.contains_key(&added) {
                self.admin.removing = Some(ids[self.rng.gen_range(0..ids.len())]);
            }
            return;
        };
        if members.removed.contains(&removing) {
            self.admin.done = true;
        } else if removing == leader {
            self.input(leader, Input::Transfer(0, Token::Admin));
        } else {
            let change = Change::Remove { raft_id: removing };
            self.input(leader, Input::Change(change, Token::Admin));
        }
    }
}
