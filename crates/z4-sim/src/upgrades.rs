//! Upgrades: binaries that know different levels, and an operator who exchanges them.
//!
//! A peer that starts may have a newer binary than before. It may have an older one while
//! all members hold the level, as `z4t upgrade hold` makes them do, and a command was
//! committed since; then no raise is on its way. Now and then a careless operator starts a
//! peer with a binary that is too old for its cluster. Such a peer must end, or stay deaf,
//! and must never take in what it cannot read.

use std::collections::BTreeSet;

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, Entry, EntryType};
use rand::Rng;
use z4_consensus::level::check_opening;
use z4_consensus::replica::Input;
use z4_consensus::{Change, Levels, Membership};
use z4_core::Command;
use z4_proto::level::{needed, LEVEL_MAX};
use z4_proto::{decode_command, encode_command};

use crate::faults::Fault;
use crate::peer::{Life, Peer, Token};
use crate::world::{Event, World, MS};

/// The greatest level that any binary here knows. What the levels above the second one
/// brought is that they exist.
const TOP: u32 = 4;
/// A peer says so often what its binary knows.
const SAY_NS: u64 = 2_000 * MS;

/// The operator's plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Plan {
    /// The level may rise.
    #[default]
    Free,
    /// All members were told to hold the level, and a command is being committed: this
    /// try of it.
    Holding(u64),
    /// Members may be taken back to binaries that know this level.
    Held(u32),
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    plan: Plan,
    tries: u64,
    /// Members that were told to hold the level.
    told: BTreeSet<u64>,
    /// The greatest level that was ever committed.
    level: u32,
}

impl World {
    /// The level of the cluster as it is founded.
    pub(crate) fn found_level(&mut self) -> u32 {
        let level = self.rng.gen_range(1..=2);
        self.upgrades.level = level;
        level
    }

    /// A binary for a peer that has none.
    pub(crate) fn new_binary(&mut self, level: u32) -> Levels {
        let max = self.rng.gen_range(level..=TOP);
        Levels { min: 1, max }
    }

    /// The greatest level that any peer has heard of.
    fn level(&self) -> u32 {
        let runs = self.peers.values().filter_map(|peer| peer.run.as_ref());
        let known = runs.map(|run| run.replica.membership().level);
        known.chain([self.upgrades.level]).max().unwrap_or_default()
    }

    /// Tells whether a command may not stand yet in the log of the cluster, as a peer knows it.
    pub(crate) fn is_above_level(&self, id: u64, command: &[u8]) -> bool {
        if self.options.planted("access-too-early") {
            return false;
        }
        let run = self.peers.get(&id).and_then(|peer| peer.run.as_ref());
        let level = run.map_or(u32::MAX, |run| run.replica.membership().level);
        // Each level that clients can ask for is known to all who decode here.
        level < LEVEL_MAX && decode_command(command).is_ok_and(|known| needed(&known) > level)
    }

    /// A peer is about to start: now and then with another binary.
    pub(crate) fn take_binary(&mut self, id: u64) {
        let level = self.level();
        let is_calm = self.calm();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let max = peer.levels.max;
        if is_calm {
            peer.levels.max = max.max(level);
            peer.is_too_old = false;
            return;
        }
        if peer.boot == 0 {
            // A founder, or a newcomer: its operator knows nothing of the cluster.
            return;
        }
        // The operator has seen what it did.
        let mut new = max.max(level);
        if !self.about(Fault::Upgrade) || self.one_in(2) {
        } else if let (Plan::Held(held), true) = (self.upgrades.plan, self.rng.gen()) {
            new = self.rng.gen_range(held..=max.max(held));
            if new < max {
                self.saw("a member was taken back to an older binary");
            }
        } else if level > 1
            && self.one_in(if self.admin.adding() == Some(id) {
                2
            } else {
                12
            })
        {
            new = self.rng.gen_range(1..level);
            self.saw("a member was started with a binary that is too old");
        } else {
            new = self.rng.gen_range(new..=TOP);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.levels = Levels { min: 1, max: new };
            peer.is_too_old = new < level;
        }
    }

    /// A peer that is too old for its cluster has ended; it comes back with a newer binary.
    pub(crate) fn too_old_ended(&mut self, id: u64) {
        self.saw("a peer that is too old for its cluster ended");
        self.within(200, 3_000, Event::Restart(id));
    }

    /// Tells whether a stream from one peer to another is refused for their levels.
    pub(crate) fn is_refused(&self, from: u64, to: u64) -> bool {
        let of = |id: u64| {
            let peer = self.peers.get(&id)?;
            let run = peer.run.as_ref()?;
            Some((peer.levels, run.replica.membership().level))
        };
        let (Some((said, of_cluster)), Some((own, level))) = (of(from), of(to)) else {
            return false;
        };
        check_opening(own, level, "a peer", said, of_cluster).is_err()
    }

    /// Something of one peer arrived at another one: what the opening of the stream says, and
    /// a batch now and then.
    pub(crate) fn heard_levels(&mut self, from: u64, to: u64) {
        let Some(peer) = self.peers.get(&from) else {
            return;
        };
        let (life, said, now_ns) = (peer.life(), peer.says_levels(), self.now_ns);
        let Some(run) = self.peers.get_mut(&to).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let last = run.said_at.get(&from);
        let is_due = |(of, at_ns): &(Life, u64)| *of != life || now_ns >= at_ns + SAY_NS;
        if last.is_none_or(is_due) {
            run.said_at.insert(from, (life, now_ns));
            let raft_id = from;
            self.input(to, Input::SaidLevels { raft_id, said });
        }
    }

    /// The operator takes the next step, again and again.
    pub(crate) fn operate(&mut self) {
        self.within(400, 2_500, Event::Operate);
        if self.calm() {
            return;
        }
        let is_moved = self.one_in(3);
        // Members are held for long enough for a raise, if nobody held it.
        let is_over = self.one_in(12);
        match self.upgrades.plan {
            Plan::Free if is_moved && self.about(Fault::Upgrade) => self.hold(),
            Plan::Free => self.let_rise(),
            Plan::Held(_) if is_over => {
                self.upgrades.plan = Plan::Free;
                self.let_rise();
            }
            // The answer was lost with its leader.
            Plan::Holding(_) if is_moved => self.upgrades.plan = Plan::Free,
            Plan::Holding(_) | Plan::Held(_) => {}
        }
    }

    /// All members hold the level from now on, if all are there to be told.
    fn hold(&mut self) {
        let up = self.up();
        let Some(asked) = self.one_of(&up) else {
            return;
        };
        self.upgrades.told.clear();
        self.upgrades.tries += 1;
        self.hold_at(asked);
    }

    /// Tells the members that a peer has, but for those who were told, and has a command
    /// committed.
    fn hold_at(&mut self, asked: u64) {
        self.upgrades.plan = Plan::Free;
        let Some(run) = self.peers.get(&asked).and_then(|p| p.run.as_ref()) else {
            return;
        };
        let ids: Vec<u64> = run.replica.membership().members.keys().copied().collect();
        for id in ids {
            let peer = self.peers.get(&id);
            if !peer.is_some_and(|p| p.run.is_some() && p.paused_until_ns <= self.now_ns) {
                return;
            }
            self.tell_hold(id, true);
            self.upgrades.told.insert(id);
        }
        if self.options.planted("held-without-a-commit") {
            self.upgrades.plan = Plan::Held(self.level());
            return;
        }
        let number = self.upgrades.tries;
        self.upgrades.plan = Plan::Holding(number);
        let command = encode_command(&Command::Pulse);
        self.forward(asked, command, 0, Token::Hold { number, asked });
    }

    /// The command after a hold was committed. Members that came meanwhile are told too.
    pub(crate) fn held(&mut self, at: u64, number: u64, asked: u64) {
        if self.upgrades.plan != Plan::Holding(number) {
            return;
        }
        // The peer that was asked catches up with where it was applied.
        let run = self.peers.get(&at).and_then(|p| p.run.as_ref());
        let told = &self.upgrades.told;
        let is_all = run.is_some_and(|run| {
            let members = &run.replica.membership().members;
            members.keys().all(|id| told.contains(id))
        });
        if is_all {
            let level = run.map_or(0, |run| run.replica.membership().level);
            self.upgrades.plan = Plan::Held(level);
            self.saw("the level was held");
        } else {
            self.hold_at(asked);
        }
    }

    /// Members that are there need not hold the level any more.
    pub(crate) fn let_rise(&mut self) {
        for id in self.up() {
            self.tell_hold(id, false);
        }
    }

    /// A peer notes whether it holds the level, and tells its replica.
    fn tell_hold(&mut self, id: u64, hold: bool) {
        let Some(peer) = self.peers.get_mut(&id).filter(|p| p.holds_level != hold) else {
            return;
        };
        peer.holds_level = hold;
        let said = peer.says_levels();
        self.input(id, Input::SaidLevels { raft_id: id, said });
    }

    /// A peer is about to write these entries. When a leader raises the level, it may be cut
    /// off now, so that the raise comes late, or never; or the operator begins to hold the
    /// level at this very moment.
    pub(crate) fn raise_appended(&mut self, id: u64, entries: &[Entry]) {
        let is_raise = |entry: &Entry| {
            entry.get_entry_type() == EntryType::EntryConfChange && {
                let conf = ConfChange::parse_from_bytes(&entry.data).unwrap_or_default();
                matches!(Change::decode(&conf.context, TOP), Ok(Change::SetLevel(_)))
            }
        };
        let leads = self.leader_known_to(id) == Some(id);
        if !leads || self.calm() || !entries.iter().any(is_raise) {
            return;
        }
        if self.one_in(2) {
            let ids: Vec<u64> = self.members().into_iter().collect();
            self.partition(id, &ids);
            self.saw("a leader was cut off when it raised the level");
        } else if self.upgrades.plan == Plan::Free {
            self.hold();
        }
    }

    /// The level rose, or a member came: all members know it, unless the operator was
    /// careless with them.
    pub(crate) fn check_level(&mut self, id: u64, level: u32, members: &[u64]) {
        if level > self.upgrades.level {
            self.saw("the level was raised");
            self.upgrades.level = level;
        }
        // The level stays as long as one of those that were told is there.
        let holds = |id: &u64| self.peers.get(id).is_some_and(|peer| !peer.gone);
        if !self.upgrades.told.iter().any(holds) {
            self.upgrades.plan = Plan::Free;
        }
        if let Plan::Held(held) = self.upgrades.plan {
            if level > held {
                let what = format!("the level rose to {level}, and all members held it at {held}");
                return self.fail(what);
            }
        }
        let is_behind = |peer: &&Peer| {
            let is_member = members.contains(&peer.raft_id) && !peer.gone;
            is_member && !peer.is_too_old && peer.levels.max < level
        };
        if let Some(peer) = self.peers.values().find(is_behind) {
            let what = format!(
                "peer {id} has level {level}, and the binary of member {} knows levels up to {}",
                peer.raft_id, peer.levels.max
            );
            return self.fail(what);
        }
        if self.peers.get(&id).is_some_and(|p| p.levels.max < level) {
            self.fail(format!(
                "peer {id} took in level {level}, which it does not know"
            ));
        }
    }

    /// The operator mends what it was careless with.
    pub(crate) fn replace_too_old(&mut self) {
        let old = self.peers.values().filter(|p| p.is_too_old && !p.gone);
        for id in old.map(|peer| peer.raft_id).collect::<Vec<_>>() {
            self.die(id);
            self.start(id);
        }
    }

    /// All faults are over: the level may rise to what the members know.
    pub(crate) fn finish_upgrades(&mut self) {
        self.upgrades.plan = Plan::Free;
        self.replace_too_old();
        self.let_rise();
    }

    /// The reason for which the level is not what it is to be at rest.
    pub(crate) fn level_open(&self, leader: u64, members: &Membership) -> Option<String> {
        let ids = members.members.keys();
        let known = ids.filter_map(|id| Some(self.peers.get(id)?.levels.max));
        let (level, known) = (members.level, known.min()?);
        if level >= known {
            return None;
        }
        let run = self.peers.get(&leader).and_then(|p| p.run.as_ref())?;
        let said = run.replica.status().said_levels;
        let said: Vec<_> = said
            .iter()
            .map(|(id, said)| (id, said.levels.max, said.is_held))
            .collect();
        Some(format!(
            "the cluster has level {level}, and all know {known}; said to {leader}: {said:?}"
        ))
    }
}
