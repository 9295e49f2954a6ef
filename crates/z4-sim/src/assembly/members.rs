//! The cluster: who founds it, who is added, who is replaced.

use z4_consensus::{Change, Identity, Levels, Membership};

use super::{address, name, Disk, Event, Life, Sim, COUNT, MS};

impl Sim {
    /// What a founder wrote is durable.
    pub(super) fn founded(&mut self, life: Life) {
        let place = life.0;
        if self.lives(life).is_none() {
            self.saw("a peer died between the decision to found a cluster and its sync");
            return;
        }
        self.founded += 1;
        let cluster = [self.founded; 16];
        let identity = Identity {
            cluster_id: cluster,
            raft_id: 1,
            peer_id: name(place),
        };
        let mut members = Membership::bootstrap(&identity, &address(place));
        members.level = z4_proto::level::LEVEL_MAX;
        self.clusters.insert(cluster, members);
        self.becomes(place, cluster, 1);
    }

    fn becomes(&mut self, place: usize, cluster: [u8; 16], raft_id: u64) {
        self.note(format!(
            "{} is {raft_id} of cluster {}",
            name(place),
            cluster[0]
        ));
        self.peers[place].disk = Disk::Member { cluster, raft_id };
        // The operator throws away what the peer does not have any more.
        self.peers[place].shelf = None;
        self.received.insert((cluster, raft_id));
        self.check();
    }

    /// Tells whether this member runs, with its disk.
    fn is_up(&self, members: &Membership, raft_id: u64) -> bool {
        let disk = Disk::Member {
            cluster: members.cluster_id,
            raft_id,
        };
        let up = |peer: &super::Peer| peer.run.is_some() && peer.disk == disk;
        self.peers.iter().any(up)
    }

    /// The number of voters that run, but for one.
    fn voters_up(&self, members: &Membership, without: u64) -> usize {
        let voters = members.members.iter().filter(|(_, m)| m.voter);
        let others = voters.filter(|(id, _)| **id != without);
        others.filter(|(id, _)| self.is_up(members, **id)).count()
    }

    fn has_quorum(&self, members: &Membership) -> bool {
        self.voters_up(members, 0) > members.voter_count() / 2
    }

    /// A request for membership arrives at a member, whose leader sees to it.
    pub(super) fn ask(&mut self, from: Life, to: usize) {
        let why = match self.add(from, to) {
            Ok(()) => "no answer yet",
            Err(why) => why,
        };
        let after_ns = if why == "no answer yet" { 5_000 } else { 10 };
        self.answered(from, to, why, after_ns * MS);
    }

    fn add(&mut self, from: Life, to: usize) -> Result<(), &'static str> {
        let Disk::Member { cluster, .. } = self.peers[to].disk else {
            return Err("it is in no cluster");
        };
        let members = self.clusters.get(&cluster).cloned();
        let members = members.filter(|_| self.peers[to].run.is_some());
        let Some(mut members) = members.filter(|members| self.has_quorum(members)) else {
            return Err("no leader is known");
        };
        // The leader dials the newcomer.
        let is_empty = self.peers[from.0].disk == Disk::Empty && self.lives(from).is_some();
        if !is_empty || self.passes().is_none() {
            return Err("no peer answers at its address");
        }
        let known = members.find(&name(from.0)).map(|(id, m)| (id, m.voter));
        let raft_id = match known {
            Some((id, false)) if !self.received.contains(&(cluster, id)) => id,
            Some((id, is_voter)) => {
                if is_voter && self.voters_up(&members, id) <= (members.voter_count() - 1) / 2 {
                    return Err("bring the others back first");
                }
                change(&mut members, &Change::Remove { raft_id: id })?;
                self.peers[from.0].shelf = None;
                self.saw("an empty peer took the place of the member that it was");
                self.learner(&mut members, from.0)?
            }
            None => self.learner(&mut members, from.0)?,
        };
        self.clusters.insert(cluster, members);
        let leader = self.life(to);
        if let Some(late_ns) = self.passes() {
            let to = from;
            self.at(
                late_ns,
                Event::Join {
                    leader,
                    to,
                    cluster,
                    raft_id,
                },
            );
        }
        Ok(())
    }

    fn learner(&self, members: &mut Membership, place: usize) -> Result<u64, &'static str> {
        let raft_id = members.raft_id_next;
        let change_of = Change::AddLearner {
            raft_id,
            peer_id: name(place),
            address: address(place),
            levels: Some(Levels {
                min: z4_proto::level::LEVEL_MIN,
                max: z4_proto::level::LEVEL_MAX,
            }),
        };
        change(members, &change_of)?;
        Ok(raft_id)
    }

    /// An identity arrives. The connection breaks when one of the two dies.
    pub(super) fn join(&mut self, leader: Life, to: Life, cluster: [u8; 16], raft_id: u64) {
        let leads = self.lives(leader).is_some();
        let founds = self.lives(to).map(|run| run.founding);
        if !leads || founds != Some(false) || self.peers[to.0].disk != Disk::Empty {
            return;
        }
        self.becomes(to.0, cluster, raft_id);
        self.at(50 * MS, Event::Promote(cluster));
    }

    /// A leader makes voters of learners that are there.
    pub(super) fn promote(&mut self, cluster: [u8; 16]) {
        let Some(mut members) = self.clusters.get(&cluster).cloned() else {
            return;
        };
        let learners = members.members.iter().filter(|(_, m)| !m.voter);
        let learners: Vec<u64> = learners.map(|(id, _)| *id).collect();
        if learners.is_empty() {
            return;
        }
        for raft_id in learners {
            if self.has_quorum(&members) && self.is_up(&members, raft_id) {
                if let Err(why) = change(&mut members, &Change::Promote { raft_id }) {
                    self.failure = Some(why.to_owned());
                }
            }
        }
        self.clusters.insert(cluster, members);
        self.at(200 * MS, Event::Promote(cluster));
    }

    /// The number of disks that belong to a cluster, but for that of one peer.
    pub(super) fn others_of(&self, cluster: [u8; 16], without: usize) -> usize {
        let others = (0..COUNT).filter(|place| *place != without);
        let disks = others.flat_map(|place| {
            let peer = &self.peers[place];
            [Some(&peer.disk), peer.shelf.as_ref()]
        });
        let of = |disk: &&Disk| matches!(disk, Disk::Member { cluster: c, .. } if *c == cluster);
        disks.flatten().filter(of).count()
    }
}

fn change(members: &mut Membership, change: &Change) -> Result<(), &'static str> {
    members
        .change(change)
        .map(drop)
        .map_err(|_| "the change is refused")
}
