//! How a cluster of three comes to be: seeds that begin with three peers do not begin with
//! a cluster, but with three empty peers that run the production rules of
//! `z4_consensus::assembly` until they are one.
//!
//! Probes and requests are lost, late and stale; peers start in any order and die at any
//! moment, also between the decision to found a cluster and the sync of it; volumes get
//! lost, or are not mounted at one start and there again at the next. The cluster itself is
//! the membership of production with an abstract log: what is committed is what a quorum
//! of voters that run takes in.
//!
//! Checked at each durable step: all disks that are there belong to one cluster. Checked
//! at the end: all three peers are its voters.

mod faults;
mod members;
mod probes;

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_consensus::assembly::{Answer, Assembly, Settings};
use z4_consensus::Membership;

/// The peers, which are numbered from 0 here.
pub(crate) const COUNT: usize = 3;
const MS: u64 = 1_000_000;
/// Faults end after this time at the latest.
const FAULTS_MS: u64 = 40_000;
/// The cluster must be there so long after the last fault.
const SETTLE_MS: u64 = 40_000;
/// The draws of this part are its own, so that it changes nothing in what follows.
const SALT: u64 = 0x6173_7365_6d62_6c65;

/// One start of a peer: its place, and how often it was started.
type Life = (usize, u64);

/// What a peer has on its disk.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Disk {
    /// No cluster.
    Empty,
    /// The identity of a member.
    Member { cluster: [u8; 16], raft_id: u64 },
}

/// A peer that runs.
struct Run {
    assembly: Assembly,
    round: u64,
    answers: BTreeMap<String, Answer>,
    /// The peer is about to make a cluster durable, and cannot be added meanwhile.
    founding: bool,
    /// The peer has asked a member and waits for the answer.
    asking: bool,
}

struct Peer {
    disk: Disk,
    /// A volume that was not mounted at the last start.
    shelf: Option<Disk>,
    run: Option<Run>,
    starts: u64,
}

/// What can happen.
enum Event {
    Start(usize),
    Kill(Life),
    /// The next random fault.
    Fault,
    EndFaults,
    Round(Life),
    /// A probe arrives.
    Probe {
        from: Life,
        round: u64,
        to: usize,
        late_ns: u64,
    },
    /// Its answer arrives.
    Answer {
        from: Life,
        round: u64,
        to: usize,
        answer: Answer,
    },
    RoundEnd(Life, u64),
    /// What was founded is durable.
    Founded(Life),
    /// A request for membership arrives.
    Ask {
        from: Life,
        to: usize,
    },
    /// A leader gives a newcomer its identity.
    Join {
        leader: Life,
        to: Life,
        cluster: [u8; 16],
        raft_id: u64,
    },
    /// The asker has its answer, or gives up.
    Asked {
        from: Life,
        to: usize,
        why: String,
    },
    /// A leader looks whether a learner can vote.
    Promote([u8; 16]),
}

/// What a run of this part says.
#[derive(Debug, Default)]
pub(crate) struct Assembled {
    /// Rare events that were reached.
    pub seen: BTreeSet<&'static str>,
    /// What has happened, in order; a fingerprint is made of it.
    pub lines: Vec<(u64, String)>,
}

struct Sim {
    rng: StdRng,
    now_ns: u64,
    order: u64,
    queue: BTreeMap<(u64, u64), Event>,
    peers: Vec<Peer>,
    /// The members of each cluster that has a disk, as its log has them.
    clusters: BTreeMap<[u8; 16], Membership>,
    /// Raft ids that have been durable at some disk.
    received: BTreeSet<([u8; 16], u64)>,
    founded: u8,
    calm: bool,
    /// One message in so many is lost; 0: none.
    lost_one_in: u32,
    failure: Option<String>,
    said: Assembled,
}

/// Has three empty peers become a cluster, in one of many ways.
///
/// # Errors
/// What was broken.
pub(crate) fn assemble(seed: u64, way: u64) -> Result<Assembled, String> {
    let mut sim = Sim {
        rng: StdRng::seed_from_u64((seed ^ SALT).wrapping_add(way << 48)),
        now_ns: 0,
        order: 0,
        queue: BTreeMap::new(),
        peers: (0..COUNT)
            .map(|_| Peer {
                disk: Disk::Empty,
                shelf: None,
                run: None,
                starts: 0,
            })
            .collect(),
        clusters: BTreeMap::new(),
        received: BTreeSet::new(),
        founded: 0,
        calm: false,
        lost_one_in: 0,
        failure: None,
        said: Assembled::default(),
    };
    sim.lost_one_in = [0, 10, 4, 2][sim.rng.gen_range(0..4)];
    for place in 0..COUNT {
        let after_ns = sim.rng.gen_range(0..8_000) * MS;
        sim.at(after_ns, Event::Start(place));
    }
    sim.at(500 * MS, Event::Fault);
    let end_ms = sim.rng.gen_range(2_000..FAULTS_MS);
    sim.at(end_ms * MS, Event::EndFaults);
    sim.run(end_ms + SETTLE_MS)
}

impl Sim {
    fn run(&mut self, until_ms: u64) -> Result<Assembled, String> {
        while let Some(((at_ns, _), event)) = self.queue.pop_first() {
            self.now_ns = at_ns;
            if at_ns > until_ms * MS {
                let what = "assembly: no cluster of three in time";
                return Err(format!("{what}: {}{}", self.whereabouts(), self.story()));
            }
            self.happen(event);
            if let Some(failure) = self.failure.take() {
                let at_ms = self.now_ns / MS;
                return Err(format!(
                    "assembly, at {at_ms} ms: {failure}{}",
                    self.story()
                ));
            }
            if self.calm && self.is_whole() {
                self.saw("three empty peers became a cluster");
                return Ok(std::mem::take(&mut self.said));
            }
        }
        Err("assembly: nothing happens any more".to_owned())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(place) => self.start(place),
            Event::Kill(life) => self.kill(life),
            Event::Fault => self.fault(),
            Event::EndFaults => self.end_faults(),
            Event::Round(life) => self.round(life),
            Event::Probe {
                from,
                round,
                to,
                late_ns,
            } => self.probe(from, round, to, late_ns),
            Event::Answer {
                from,
                round,
                to,
                answer,
            } => self.answer(from, round, to, answer),
            Event::RoundEnd(life, round) => self.round_end(life, round),
            Event::Founded(life) => self.founded(life),
            Event::Ask { from, to } => self.ask(from, to),
            Event::Join {
                leader,
                to,
                cluster,
                raft_id,
            } => self.join(leader, to, cluster, raft_id),
            Event::Asked { from, to, why } => self.asked(from, to, &why),
            Event::Promote(cluster) => self.promote(cluster),
        }
    }

    fn at(&mut self, delay_ns: u64, event: Event) {
        self.order += 1;
        self.queue
            .insert((self.now_ns + delay_ns, self.order), event);
    }

    /// A message is on its way for so long; `None`: it is lost.
    fn passes(&mut self) -> Option<u64> {
        let lost = !self.calm && self.lost_one_in > 0 && self.one_in(self.lost_one_in);
        let late = !self.calm && self.one_in(8);
        let most_ms = if late { 2_900 } else { 20 };
        let delay_ns = self.rng.gen_range(1..most_ms) * MS;
        (!lost).then_some(delay_ns)
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.rng.gen_range(0..many) == 0
    }

    fn life(&self, place: usize) -> Life {
        (place, self.peers[place].starts)
    }

    /// The start of a peer that still runs.
    fn lives(&mut self, life: Life) -> Option<&mut Run> {
        let peer = self.peers.get_mut(life.0)?;
        (peer.starts == life.1).then_some(peer.run.as_mut())?
    }

    fn saw(&mut self, what: &'static str) {
        self.said.seen.insert(what);
    }

    fn note(&mut self, line: String) {
        self.said.lines.push((self.now_ns, line));
    }

    /// A peer has written to its disk.
    fn check(&mut self) {
        let mut clusters: BTreeMap<[u8; 16], usize> = BTreeMap::new();
        for (place, peer) in self.peers.iter().enumerate() {
            for disk in [Some(&peer.disk), peer.shelf.as_ref()]
                .into_iter()
                .flatten()
            {
                if let Disk::Member { cluster, .. } = disk {
                    clusters.entry(*cluster).or_insert(place);
                }
            }
        }
        if clusters.len() > 1 && self.failure.is_none() {
            let named = clusters
                .iter()
                .map(|(id, place)| format!("peer {} is in cluster {}", place + 1, id[0]));
            let named: Vec<String> = named.collect();
            self.failure = Some(format!("two clusters have disks: {}", named.join(", ")));
        }
    }

    /// Tells whether all three are voters of one cluster, and run.
    fn is_whole(&self) -> bool {
        let mut members = self.clusters.values();
        let (Some(members), None) = (members.next(), members.next()) else {
            return false;
        };
        let is_voter = |place: usize| {
            let found = members.find(&name(place));
            found.is_some_and(|(id, member)| {
                let disk = Disk::Member {
                    cluster: members.cluster_id,
                    raft_id: id,
                };
                member.voter && self.peers[place].disk == disk && self.peers[place].run.is_some()
            })
        };
        (0..COUNT).all(is_voter)
    }

    /// What has happened, a line each, for whoever looks into a failure.
    fn story(&self) -> String {
        let lines = self.said.lines.iter();
        let lines = lines.map(|(at_ns, line)| format!("\n{:>8} ms {line}", at_ns / MS));
        lines.collect()
    }

    fn whereabouts(&self) -> String {
        let peers = self.peers.iter().map(|p| (&p.disk, p.run.is_some()));
        format!("{:?}, {:?}", peers.collect::<Vec<_>>(), self.clusters)
    }
}

fn name(place: usize) -> String {
    format!("peer{}", place + 1)
}

fn address(place: usize) -> String {
    format!("peer{}:6356", place + 1)
}

fn settings(place: usize) -> Settings {
    Settings {
        peer_id: name(place),
        address: address(place),
        join: (0..COUNT).map(address).collect(),
        expect: Some(COUNT as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_empty_peers_become_one_cluster_whatever_dies() {
        let mut seen = BTreeSet::new();
        for seed in 0..400 {
            match assemble(seed, 0) {
                Ok(said) => seen.extend(said.seen),
                Err(what) => panic!("seed {seed}: {what}"),
            }
        }
        assert_eq!(seen.len(), 6, "{seen:?}");
    }
}
