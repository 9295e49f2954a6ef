//! Deaths, starts, and volumes that are lost or not mounted.

use rand::Rng;
use z4_consensus::assembly::Assembly;

use super::{name, settings, Disk, Event, Life, Run, Sim, COUNT, MS};

impl Sim {
    pub(super) fn start(&mut self, place: usize) {
        if self.peers[place].run.is_some() {
            return;
        }
        self.mount(place);
        let peer = &mut self.peers[place];
        peer.starts += 1;
        peer.run = Some(Run {
            assembly: Assembly::new(settings(place)),
            round: 0,
            answers: Default::default(),
            founding: false,
            asking: false,
        });
        let life = self.life(place);
        self.note(format!("{} starts", name(place)));
        self.at(MS, Event::Round(life));
        if let Disk::Member { cluster, .. } = self.peers[place].disk {
            self.at(MS, Event::Promote(cluster));
        }
    }

    /// What the peer finds at its start.
    fn mount(&mut self, place: usize) {
        if self.peers[place].disk == Disk::Empty {
            if let Some(disk) = self.peers[place].shelf.take() {
                // Now or later.
                match self.calm || self.rng.gen() {
                    true => {
                        self.peers[place].disk = disk;
                        self.saw("a volume that was not mounted is there again");
                    }
                    false => self.peers[place].shelf = Some(disk),
                }
            }
            return;
        }
        if self.calm || !self.one_in(3) {
            return;
        }
        let Disk::Member { cluster, raft_id } = self.peers[place].disk else {
            return;
        };
        // Peers that find all of their volumes empty at once are as new ones, and become a
        // new cluster: one at least keeps what the others do not have at this start.
        let others = (0..COUNT).filter(|other| *other != place);
        let mounted = others.filter(|other| {
            matches!(self.peers[*other].disk, Disk::Member { cluster: c, .. } if c == cluster)
        });
        if mounted.count() == 0 && self.others_of(cluster, place) > 0 {
            return;
        }
        let disk = std::mem::replace(&mut self.peers[place].disk, Disk::Empty);
        self.note(format!("{} finds an empty volume", name(place)));
        if self.others_of(cluster, place) == 0 {
            // Nobody had joined: the cluster is gone with its only disk.
            self.clusters.remove(&cluster);
            self.saw("a founder lost its volume before anybody had joined");
            return;
        }
        // All three have to be there for the rest to go on without it.
        let members = self.clusters.get(&cluster);
        let others = (0..COUNT).filter(|other| *other != place);
        let held = others
            .filter(|other| self.is_voter(*other, cluster))
            .count();
        let spare = members.is_some_and(|members| {
            members.voter_count() == COUNT
                || !members.members.get(&raft_id).is_some_and(|m| m.voter)
        });
        if spare && held == COUNT - 1 && self.rng.gen() {
            self.saw("a member lost its volume for good");
            return;
        }
        self.peers[place].shelf = Some(disk);
    }

    fn is_voter(&self, place: usize, cluster: [u8; 16]) -> bool {
        let Disk::Member {
            cluster: own,
            raft_id,
        } = self.peers[place].disk
        else {
            return false;
        };
        let members = self.clusters.get(&cluster);
        let member = members.and_then(|members| members.members.get(&raft_id));
        own == cluster && member.is_some_and(|member| member.voter)
    }

    pub(super) fn kill(&mut self, life: Life) {
        if self.calm || self.lives(life).is_none() {
            return;
        }
        self.note(format!("{} dies", name(life.0)));
        self.peers[life.0].run = None;
        let after_ms = self.rng.gen_range(1..4_000);
        self.at(after_ms * MS, Event::Start(life.0));
    }

    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let place = self.rng.gen_range(0..COUNT);
        let life = self.life(place);
        self.kill(life);
        let after_ms = self.rng.gen_range(100..4_000);
        self.at(after_ms * MS, Event::Fault);
    }

    pub(super) fn end_faults(&mut self) {
        self.calm = true;
        self.note("the faults end".to_owned());
        for place in 0..COUNT {
            // A volume that is somewhere is mounted again.
            if self.peers[place].shelf.is_some() {
                self.peers[place].run = None;
            }
            self.start(place);
        }
        let clusters: Vec<_> = self.clusters.keys().copied().collect();
        for cluster in clusters {
            self.at(MS, Event::Promote(cluster));
        }
    }
}
