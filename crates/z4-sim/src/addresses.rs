//! Addresses: where peers are, where others look for them, and how they find
//! each other again.
//!
//! A peer has one address at a time, and may have another one after a restart,
//! also one that was another peer's before. What is sent to a member goes to the
//! address at which the sender's book has it, and arrives only if the member is
//! there. What production does with streams is done here with each message that
//! arrives: the sender says its own address and the one that it dialled.
//!
//! While too many have moved at once for anybody to find a quorum, the simulated
//! administrator says where members are, as `z4t set-address` does.

use std::collections::BTreeSet;

use rand::Rng;
use z4_consensus::replica::Input;
use z4_consensus::Membership;

use crate::faults::Fault;
use crate::peer::{Life, Peer};
use crate::world::{Event, World, MS};

/// How often a peer looks whether the members have its address right.
const SAY_MS: (u64, u64) = (500, 2_000);

/// The address number of a founding peer or a newcomer is its raft id; peers that
/// move get numbers from here on.
const MOVED_FROM: u64 = 1_000;

/// The text of an address.
pub(crate) fn text(number: u64) -> String {
    format!("sim:{number}")
}

impl World {
    /// A peer is about to start: now and then at another address, and always
    /// when another peer is at its own.
    pub(crate) fn take_address(&mut self, id: u64) {
        let taken: BTreeSet<u64> = self
            .peers
            .values()
            .filter(|p| p.run.is_some() && p.raft_id != id)
            .map(|p| p.address)
            .collect();
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let (old, is_first) = (peer.address, peer.boot == 0);
        let moves = !is_first && self.about(Fault::Address) && self.rng.gen();
        let lies = !is_first && self.about(Fault::Address) && self.one_in(4);
        self.says(id, old);
        if !moves && !taken.contains(&old) {
            if lies {
                let nowhere = self.new_address();
                self.says(id, nowhere);
                self.saw("a peer was started with an address that is not its own");
            }
            return;
        }
        // An address that another peer had, or a new one.
        let known: BTreeSet<u64> = self.peers.values().map(|p| p.address).collect();
        let free: Vec<u64> = known.difference(&taken).copied().collect();
        let free: Vec<u64> = free.into_iter().filter(|a| *a != old).collect();
        let reused = if self.one_in(4) {
            self.one_of(&free)
        } else {
            None
        };
        let new = reused.unwrap_or_else(|| self.new_address());
        self.move_to(id, new);
    }

    fn says(&mut self, id: u64, address: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.says = address;
        }
    }

    fn new_address(&mut self) -> u64 {
        self.moves += 1;
        MOVED_FROM + self.moves
    }

    fn move_to(&mut self, id: u64, address: u64) {
        self.trace
            .note(self.now_ns, format_args!("{id} moves to {address}"));
        let changing = self.some_leader().is_some_and(|(leader, members)| {
            let run = self.peers.get(&leader).and_then(|p| p.run.as_ref());
            run.is_some_and(|run| run.change_in_flight)
                || members.members.values().any(|m| !m.voter)
        });
        if changing {
            self.saw("an address changed while members were changing");
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.address = address;
            peer.been_at.insert(address);
        }
        self.says(id, address);
        self.saw("a peer came back at another address");
    }

    /// The administrator mends the settings of peers that say an address which is
    /// not theirs, and starts them again.
    pub(crate) fn mend_settings(&mut self) {
        let wrong = self.peers.values().filter(|p| p.says != p.address);
        let wrong: Vec<u64> = wrong.map(|p| p.raft_id).collect();
        for id in wrong {
            self.die(id);
            self.start(id);
        }
    }

    /// Peers stop and come back at other addresses: one, two that swap theirs,
    /// or all.
    pub(crate) fn move_addresses(&mut self, id: u64, ids: &[u64]) {
        match self.rng.gen_range(0..4) {
            0 => {
                for id in ids {
                    self.die(*id);
                    let address = self.new_address();
                    self.move_to(*id, address);
                    self.within(20, 800, Event::Restart(*id));
                }
                self.saw("all peers came back at other addresses");
            }
            1 => {
                let others: Vec<u64> = ids.iter().copied().filter(|o| *o != id).collect();
                let Some(other) = self.one_of(&others) else {
                    return;
                };
                let at = |w: &Self, id: u64| w.peers.get(&id).map_or(0, |p| p.address);
                let (first, second) = (at(self, id), at(self, other));
                for (id, address) in [(id, second), (other, first)] {
                    self.die(id);
                    self.move_to(id, address);
                    self.within(20, 800, Event::Restart(id));
                }
                self.saw("two peers swapped their addresses");
            }
            _ => {
                self.die(id);
                let address = self.new_address();
                self.move_to(id, address);
                self.within(20, 800, Event::Restart(id));
            }
        }
    }

    /// The address at which a peer dials a member, if the member is there. When
    /// it is not, another address has its turn soon.
    pub(crate) fn dials(&mut self, from: u64, to: u64) -> Option<u64> {
        if self.is_refused(from, to) {
            return None;
        }
        let run = self.peers.get(&from)?.run.as_ref()?;
        let dialled = run.book.dial(run.replica.membership(), to)?.to_owned();
        let target = self.peers.get(&to);
        let there = target.filter(|p| p.run.is_some() && text(p.address) == dialled);
        if let Some(target) = there {
            return Some(target.address);
        }
        if self.one_in(4) {
            if let Some(run) = self.peers.get_mut(&from).and_then(|p| p.run.as_mut()) {
                run.book.failed(run.replica.membership(), to, &dialled);
            }
        }
        None
    }

    /// The delay of a call from one peer to another, if it reaches it.
    pub(crate) fn call(&mut self, from: u64, to: u64) -> Option<u64> {
        if from != to {
            self.dials(from, to)?;
        }
        self.net.call(&mut self.rng, from, to)
    }

    /// Whether a peer is where what was sent to it went.
    pub(crate) fn is_at(&self, id: u64, address: u64) -> bool {
        let peer = self.peers.get(&id);
        peer.is_some_and(|p| p.run.is_some() && p.address == address)
    }

    /// Something of one peer arrived at another one, which was dialled at
    /// `dialled`: what the opening of the stream says.
    pub(crate) fn heard_from(&mut self, from: u64, to: u64, dialled: u64) {
        self.heard_levels(from, to);
        let Some(address) = self.peers.get(&from).map(|p| p.says) else {
            return;
        };
        let Some(run) = self.peers.get_mut(&to).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let reached = run.reached_at.insert(from, dialled);
        let members = run.replica.membership();
        let says = text(address);
        let member = members.members.get(&from);
        let is_known = run.book.dial(members, from) == Some(says.as_str())
            && member.is_none_or(|m| m.address == says);
        // One look at a time, as production bounds it.
        let looks = !is_known && run.checking.insert(from);
        if reached != Some(dialled) {
            let address = text(dialled);
            self.input(
                to,
                Input::ReachedAt {
                    raft_id: from,
                    address,
                },
            );
        }
        if looks {
            let Some(at) = self.peers.get(&to).map(Peer::life) else {
                return;
            };
            self.within(
                1,
                40,
                Event::LookAt {
                    at,
                    raft_id: from,
                    address,
                },
            );
        }
    }

    /// A peer dials where another says it is; only the right one is believed.
    pub(crate) fn look_at(&mut self, at: Life, raft_id: u64, address: u64) {
        if !self.lives(at) {
            return;
        }
        let open = self.net.open(at.0, raft_id) && self.net.open(raft_id, at.0);
        let answers = open && self.is_at(raft_id, address);
        if let Some(run) = self.peers.get_mut(&at.0).and_then(|p| p.run.as_mut()) {
            run.checking.remove(&raft_id);
        }
        if !answers {
            return;
        }
        self.found(at.0, raft_id, address);
        // When the leader has moved too, only a third one knows both.
        let leader = self.leader_known_to(at.0).filter(|leader| *leader != at.0);
        let Some(leader) = leader else { return };
        let Some(delay_ns) = self.call(at.0, leader) else {
            return;
        };
        if let Some(at) = self.peers.get(&leader).map(Peer::life) {
            self.at(
                delay_ns,
                Event::LookAt {
                    at,
                    raft_id,
                    address,
                },
            );
        }
    }

    fn found(&mut self, id: u64, raft_id: u64, address: u64) {
        let address = text(address);
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            run.book.found(raft_id, &address);
        }
        self.input(id, Input::MemberAt { raft_id, address });
        // The transport opens its connections anew.
        let life = self.peers.get(&id).map(Peer::life);
        if let Some(life) = life {
            self.at(MS, Event::Open(life));
        }
    }

    /// A peer opens its streams: to all members once it runs or has found one,
    /// and again while the members have its address wrong.
    pub(crate) fn open_streams(&mut self, life: Life) {
        let id = life.0;
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let Some(run) = peer.run.as_ref() else { return };
        let members: Vec<u64> = run.replica.membership().members.keys().copied().collect();
        for to in members.into_iter().filter(|to| *to != id) {
            let Some(dialled) = self.dials(id, to) else {
                continue;
            };
            if let Some(delay_ns) = self.net.call(&mut self.rng, id, to) {
                self.at(
                    delay_ns,
                    Event::Opened {
                        from: life,
                        to,
                        dialled,
                    },
                );
            }
        }
    }

    /// Says this peer's address again while the members have another one.
    pub(crate) fn say_address(&mut self, life: Life) {
        let peer = self.peers.get(&life.0);
        let known = peer.and_then(|p| {
            let members = &p.run.as_ref()?.replica.membership().members;
            Some(members.get(&p.raft_id)?.address == text(p.says))
        });
        if known == Some(false) {
            self.open_streams(life);
        }
        self.within(SAY_MS.0, SAY_MS.1, Event::Say(life));
    }

    /// The administrator says where members are, where a voter has no way to a
    /// quorum of the others: neither knows the other's address. It is said at
    /// peers that run, of peers that run.
    pub(crate) fn set_addresses(&mut self) {
        let running: Vec<u64> = self
            .up()
            .into_iter()
            .filter(|id| !self.is_away(*id))
            .collect();
        for id in &running {
            let Some(members) = self.members_at(*id) else {
                continue;
            };
            let voters: Vec<u64> = voters(members);
            // A learner needs a way to its leader, whoever that is.
            let needed = match voters.contains(id) {
                true => voters.len() / 2 + 1,
                false => voters.len(),
            };
            let meets = |other: &&u64| {
                let known = self.knows(*id, **other) || self.knows(**other, *id);
                **other == *id || (known && running.contains(other))
            };
            let lost = voters.iter().filter(meets).count() < needed;
            let hints: Vec<(u64, u64)> = voters
                .iter()
                .filter(|other| lost && *other != id && running.contains(other))
                .filter_map(|other| Some((*other, self.peers.get(other)?.address)))
                .collect();
            // All that it knows may be gone, while it is a member still.
            let is_forlorn = lost && hints.is_empty();
            for (other, address) in hints {
                self.found(*id, other, address);
                self.saw("addresses were set by hand");
            }
            let at = self.peers.get(id).map(|peer| peer.address);
            if let Some(address) = at.filter(|_| is_forlorn) {
                self.set_address_of(*id, address, &running);
            }
        }
        self.set_addresses_of_learners();
    }

    /// The administrator says at those of these peers that have it as a member where another
    /// one is.
    fn set_address_of(&mut self, id: u64, address: u64, at: &[u64]) {
        for other in at.iter().filter(|other| **other != id) {
            let members = self.members_at(*other);
            if members.is_some_and(|members| members.members.contains_key(&id)) {
                self.found(*other, id, address);
                self.saw("addresses were set by hand");
            }
        }
    }

    /// The administrator says where newcomers are that moved before they knew any
    /// member: they are lost to all. The members may hear of such a newcomer as
    /// late as after the faults, when the entry that adds it is committed.
    pub(crate) fn set_addresses_of_learners(&mut self) {
        let running: BTreeSet<u64> = self
            .up()
            .into_iter()
            .filter(|id| !self.is_away(*id))
            .collect();
        for id in &running {
            let Some(members) = self.members_at(*id) else {
                continue;
            };
            if !voters(members).contains(id) {
                continue;
            }
            let lost = members.members.iter().filter(|(other, member)| {
                let known = self.knows(*id, **other) || self.knows(**other, *id);
                !member.voter && running.contains(other) && !known
            });
            let lost: Vec<(u64, u64)> = lost
                .filter_map(|(other, _)| Some((*other, self.peers.get(other)?.address)))
                .collect();
            for (other, address) in lost {
                self.found(*id, other, address);
                self.saw("addresses were set by hand");
            }
        }
    }

    /// The transport of a peer is told of its members.
    pub(crate) fn members_told(&mut self, id: u64, members: &Membership) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        if let Some(run) = peer.run.as_mut() {
            run.book.keep(members);
            self.at(MS, Event::Open(life));
        }
        let ids: Vec<u64> = members.members.keys().copied().collect();
        self.check_level(id, members.level, &ids);
    }

    fn members_at(&self, id: u64) -> Option<&Membership> {
        let run = self.peers.get(&id)?.run.as_ref()?;
        Some(run.replica.membership())
    }

    /// Whether the members, as a peer has them, have the true address of another.
    fn knows(&self, id: u64, other: u64) -> bool {
        let members = self.members_at(id);
        let member = members.and_then(|m| m.members.get(&other));
        let there = self.peers.get(&other);
        member.is_some_and(|m| there.is_some_and(|p| m.address == text(p.address)))
    }

    /// An address of a member at which the member has never been, in words: it came
    /// into the log by word alone.
    pub(crate) fn invented_address(&self, members: &Membership) -> Option<String> {
        members.members.iter().find_map(|(id, member)| {
            let peer = self.peers.get(id)?;
            let is_true = peer.been_at.iter().any(|at| text(*at) == member.address);
            (!is_true).then(|| format!("{id} has never been at {}", member.address))
        })
    }

    /// An address that the members have wrong, in words.
    pub(crate) fn wrong_address(&self, members: &Membership) -> Option<String> {
        members.members.iter().find_map(|(id, member)| {
            let peer = self.peers.get(id).filter(|p| !p.gone)?;
            let (known, at) = (&member.address, text(peer.address));
            (*known != at).then(|| format!("the members have {id} at {known}, and it is at {at}"))
        })
    }

    /// A voter that dials another one where it is not, while nobody leads.
    pub(crate) fn dials_in_vain(&self) -> Option<String> {
        self.peers.values().find_map(|peer| {
            let run = peer.run.as_ref()?;
            let members = run.replica.membership();
            voters(members).into_iter().find_map(|to| {
                let target = self.peers.get(&to).filter(|p| p.run.is_some())?;
                let (id, at) = (peer.raft_id, text(target.address));
                let dialled = run.book.dial(members, to)?;
                (to != id && dialled != at)
                    .then(|| format!("peer {id} dials {to} at {dialled}, and it is at {at}"))
            })
        })
    }
}

fn voters(members: &Membership) -> Vec<u64> {
    let voters = members.members.iter().filter(|(_, m)| m.voter);
    voters.map(|(id, _)| *id).collect()
}
