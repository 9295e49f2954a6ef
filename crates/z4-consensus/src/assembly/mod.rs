//! Empty peers become one cluster, and a peer that lost its volume comes back.
//!
//! A peer that is in no cluster and has a list of addresses (`Z4_JOIN`) dials all of them,
//! round by round, and this machine says what follows from what it found. Members that
//! answer are asked to add the peer. A cluster is founded by one peer alone, the one with
//! the least address of the list, and only when all addresses of the list answered in one
//! round as empty peers that have the same list and await the same number of peers
//! (`Z4_BOOTSTRAP_EXPECT`). So a peer whose volume was lost finds the members and never
//! founds a second cluster, and while members are away it waits for them.
//!
//! The machine does no IO: the server and the simulator dial, and act.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

use crate::limits::{JOIN_RETRY_MAX, JOIN_RETRY_MIN};
use crate::planted::planted;

/// The settings of a peer that is to be in a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The name of the peer.
    pub peer_id: String,
    /// `host:port` of its peer port, as others reach it, in its normal form.
    pub address: String,
    /// `host:port` of the peer ports that it dials, in their normal form.
    pub join: BTreeSet<String>,
    /// The number of peers that found a cluster together; `None`: this peer never founds
    /// one.
    pub expect: Option<u32>,
}

/// The answer at one address of the list, in one round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nobody answered, and why, for a person.
    Unreachable(String),
    /// A peer that is in no cluster.
    Waiting(WaitingPeer),
    /// A peer that is in a cluster.
    Member {
        /// Its name.
        peer_id: String,
        /// The cluster that it is in.
        cluster_id: [u8; 16],
    },
}

/// A peer that is in no cluster, as it describes itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingPeer {
    /// Its name.
    pub peer_id: String,
    /// `host:port` that it tells others.
    pub address: String,
    /// The addresses that it dials; none from a peer that waits for an operator.
    pub join: BTreeSet<String>,
    /// The number of peers that it awaits; 0: it never founds a cluster.
    pub expect: u32,
}

/// The next step of the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// The peer dials all addresses again a moment later.
    Wait {
        /// The thing that it waits for, and what a person may do about it.
        reason: String,
    },
    /// The peer asks the member at this address to be added.
    Ask {
        /// One of the list.
        address: String,
    },
    /// The peer founds a cluster.
    Found,
}

/// An empty peer, and all that it has seen and tried so far.
#[derive(Clone, Debug)]
pub struct Assembly {
    settings: Settings,
    /// The turn of the members that answer: the one that is asked next.
    turn: usize,
    /// The time at which it may ask again, by the monotonic clock.
    ask_at_ns: u64,
    /// The time that it waits after the next refusal.
    retry_ns: u64,
    /// The member that refused last, and why.
    refusal: Option<String>,
}

impl Assembly {
    /// A peer that has just started, or has just become one without a cluster.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            turn: 0,
            ask_at_ns: 0,
            retry_ns: nanos(JOIN_RETRY_MIN),
            refusal: None,
        }
    }

    /// The settings of the peer.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says what follows from one round: `answers` has every address of the list, and nothing
    /// that was heard in an earlier round. `now_ns` is of the monotonic clock.
    #[must_use]
    pub fn step(&mut self, now_ns: u64, answers: &BTreeMap<String, Answer>) -> Next {
        let mut clusters: BTreeMap<[u8; 16], (&str, &str)> = BTreeMap::new();
        let mut members = Vec::new();
        for (address, answer) in answers {
            if let Answer::Member {
                peer_id,
                cluster_id,
            } = answer
            {
                clusters.entry(*cluster_id).or_insert((peer_id, address));
                members.push(address);
            }
        }
        if clusters.len() > 1 {
            let named = clusters.iter().map(|(id, (peer_id, address))| {
                format!("{peer_id} at {address} is in cluster {}", hex(id))
            });
            let named: Vec<String> = named.collect();
            return wait(format!(
                "Z4_JOIN leads to two clusters: {}; list the peers of one cluster alone",
                named.join(", ")
            ));
        }
        if members.is_empty() {
            return match self.may_found(answers) {
                Ok(()) => Next::Found,
                Err(reason) => wait(reason),
            };
        }
        if now_ns < self.ask_at_ns {
            let refusal = self.refusal.as_deref().unwrap_or("it was refused");
            return wait(format!("asks to be added again and again: {refusal}"));
        }
        match members.get(self.turn % members.len()) {
            Some(address) => Next::Ask {
                address: (*address).clone(),
            },
            None => wait("no member answers".to_owned()),
        }
    }

    /// The member at `address` did not add this peer. The next one has its turn, after a
    /// while that doubles each time.
    pub fn refused(&mut self, now_ns: u64, address: &str, why: &str) {
        self.turn = self.turn.wrapping_add(1);
        self.ask_at_ns = now_ns.saturating_add(self.retry_ns);
        self.retry_ns = (2 * self.retry_ns).min(nanos(JOIN_RETRY_MAX));
        self.refusal = Some(format!("{address} answered: {why}"));
    }

    /// Checks that this peer founds a cluster now; the error says what it waits for.
    fn may_found(&self, answers: &BTreeMap<String, Answer>) -> Result<(), String> {
        let Settings {
            peer_id,
            address,
            join,
            expect,
        } = &self.settings;
        let silent: Vec<String> = answers
            .iter()
            .filter_map(|(at, answer)| match answer {
                Answer::Unreachable(why) => Some(format!("{at} ({why})")),
                Answer::Waiting(_) | Answer::Member { .. } => None,
            })
            .collect();
        let unreached = match silent.is_empty() {
            true => String::new(),
            false => format!("; nobody answers at {}", silent.join(", ")),
        };
        let Some(expect) = *expect else {
            return Err(format!(
                "no peer of Z4_JOIN is in a cluster yet{unreached}; it asks to be added as soon as \
                 one is (where Z4_BOOTSTRAP_EXPECT is not set, this peer founds none)"
            ));
        };
        if join.len() != expect as usize {
            return Err(format!(
                "Z4_BOOTSTRAP_EXPECT is {expect} and Z4_JOIN lists {} addresses: to found a \
                 cluster, list all of the {expect} peers, the same at each of them",
                join.len()
            ));
        }
        if !join.contains(address) {
            return Err(format!(
                "no peer of Z4_JOIN is in a cluster yet{unreached}; it asks to be added as soon as \
                 one is ({address}, the address of this peer, is not in Z4_JOIN, so it does not \
                 found a cluster itself)"
            ));
        }
        let waiting = self.agreeing(answers)?;
        let awaited = match planted!("assembly-founds-without-all") {
            true => join.len() / 2 + 1,
            false => join.len(),
        };
        if waiting < awaited {
            return Err(format!(
                "a new cluster is founded when all {expect} peers of Z4_JOIN answer{unreached}; \
                 start them, or check their addresses"
            ));
        }
        let least = join.iter().next();
        if least != Some(address) && !planted!("assembly-founder-of-any-order") {
            let founder = least.map_or("", String::as_str);
            return Err(format!(
                "all {expect} peers are there, and the one at {founder}, whose address is the \
                 least, founds the cluster; {peer_id} asks to be added then"
            ));
        }
        Ok(())
    }

    /// The number of addresses that answered as empty peers that agree with this one; an error names
    /// the peer that does not, and the difference.
    fn agreeing(&self, answers: &BTreeMap<String, Answer>) -> Result<usize, String> {
        let own = &self.settings;
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        for at in &own.join {
            let Some(Answer::Waiting(peer)) = answers.get(at) else {
                continue;
            };
            let name = peer.peer_id.as_str();
            if peer.address != *at {
                return Err(format!(
                    "{name} answers at {at} and tells others {}: write its address in Z4_JOIN of \
                     all peers as its Z4_PEER_ADVERTISE_ADDR has it",
                    peer.address
                ));
            }
            if *at == own.address && name != own.peer_id {
                return Err(format!(
                    "{name} answers at {at}, which is the address of this peer, {}: give each \
                     peer a Z4_PEER_ADVERTISE_ADDR of its own",
                    own.peer_id
                ));
            }
            if let Some(other) = names.insert(name, at) {
                return Err(format!(
                    "{name} answers at {other} and at {at}: give each peer a Z4_PEER_ID of its own"
                ));
            }
            if peer.join != own.join {
                return Err(different_lists(own, peer));
            }
            if Some(peer.expect) != own.expect {
                return Err(format!(
                    "Z4_BOOTSTRAP_EXPECT is {} at {name} and {} at {}: set the same number at all \
                     peers",
                    peer.expect,
                    own.expect.unwrap_or_default(),
                    own.peer_id
                ));
            }
        }
        Ok(names.len())
    }
}

fn different_lists(own: &Settings, peer: &WaitingPeer) -> String {
    let here = own.join.difference(&peer.join).next();
    let there = peer.join.difference(&own.join).next();
    let (with, without, address) = match (here, there) {
        (Some(address), _) => (&own.peer_id, &peer.peer_id, address.as_str()),
        (None, Some(address)) => (&peer.peer_id, &own.peer_id, address.as_str()),
        (None, None) => (&own.peer_id, &peer.peer_id, ""),
    };
    format!(
        "Z4_JOIN of {with} lists {address}, and that of {without} does not: give all peers the \
         same list"
    )
}

fn wait(reason: String) -> Next {
    Next::Wait { reason }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
