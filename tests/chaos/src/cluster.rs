//! The peers of a run, and which of them form the cluster.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use z4_e2e::client::{option, Refused};
use z4_e2e::wait;
use z4_proto::generated::admin::{
    ClusterInfo, MemberLiveness, MemberRole, PeerRole, TransferLeadershipRequest,
};

use crate::fault::disk_full;
use crate::net::{self, Net};
use crate::peer::Peer;
use z4_e2e::life::work::Places;

/// How long a healthy cluster may take to agree, members that need a snapshot
/// included.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// How long a peer may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How the names of files end that entries of the raft log are synced to.
const RAFT_LOG: &str = ".log";
/// Room on a disk that does not fill up.
const DISK_BYTES: u64 = 4 << 30;
/// Lines of its log that are shown of a peer that ended by itself.
const SHOWN_LINES: usize = 12;

/// The peers and their network.
pub struct Cluster {
    /// The network.
    pub net: Net,
    /// A peer for each place, members first.
    pub peers: Vec<Peer>,
    /// The places of the members, for clients.
    pub known: Places,
    /// Ends that no fault explains, one text each.
    pub ends: Vec<String>,
}

impl Cluster {
    /// `members` voters, and places for more up to `places`. Their disks may be
    /// lying about each sync of the raft log.
    ///
    /// # Errors
    /// When they do not form a cluster.
    pub fn start(run: &Path, members: usize, places: usize, lying: bool) -> Result<Self, String> {
        let net = Net::new(places)?;
        let disk_bytes = |n| match n {
            disk_full::PLACE => disk_full::VOLUME_BYTES,
            _ => DISK_BYTES,
        };
        let peers = (0..places).map(|n| Peer::new(n, run, disk_bytes(n)));
        let mut cluster = Self {
            net,
            peers: peers.collect::<Result<_, _>>()?,
            known: Places::default(),
            ends: Vec::new(),
        };
        if lying {
            let peers = cluster.peers.iter();
            peers.for_each(|peer| peer.volume().lie_about(RAFT_LOG));
        }
        cluster.peers[0].start(true)?;
        cluster.set_member(0, true);
        cluster.leader()?;
        for n in 1..members {
            cluster.join(n)?;
        }
        cluster.settle(SETTLE_LIMIT)?;
        Ok(cluster)
    }

    fn set_member(&mut self, n: usize, member: bool) {
        self.peers[n].member = member;
        let members = self.members();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// The places of the members.
    pub fn members(&self) -> Vec<usize> {
        let members = self.peers.iter().filter(|peer| peer.member);
        members.map(|peer| peer.n).collect()
    }

    /// The places where no member is.
    pub fn spares(&self) -> Vec<usize> {
        let spares = self.peers.iter().filter(|peer| !peer.member);
        spares.map(|peer| peer.n).collect()
    }

    /// The member that leads, of those that are awake.
    ///
    /// # Errors
    /// When none leads within a bound.
    pub fn leader(&mut self) -> Result<usize, String> {
        wait::within(SETTLE_LIMIT, || {
            let mut best: Option<(u64, usize)> = None;
            for n in self.members() {
                if !self.peers[n].is_awake() {
                    continue;
                }
                let Ok(info) = self.peers[n].client().info() else {
                    continue;
                };
                if leads(&info) {
                    best = best.max(Some((info.get_term(), n)));
                }
            }
            best.map(|(_, n)| n)
                .ok_or_else(|| "nobody leads".to_owned())
        })
    }

    /// The members that do not lead.
    ///
    /// # Errors
    /// When none leads.
    pub fn followers(&mut self) -> Result<Vec<usize>, String> {
        let leader = self.leader()?;
        Ok(self
            .members()
            .into_iter()
            .filter(|n| *n != leader)
            .collect())
    }

    /// Starts the peer at `n` and adds it; returns when it votes.
    ///
    /// # Errors
    /// When it is not added or does not catch up.
    pub fn join(&mut self, n: usize) -> Result<(), String> {
        if !self.peers[n].is_running() {
            self.peers[n].start(false)?;
        }
        self.wait_answers(n)?;
        self.add(n)?;
        wait::within(SETTLE_LIMIT, || {
            let info = self.leader_info()?;
            let voter = |id: &str| {
                info.get_members()
                    .iter()
                    .any(|m| m.get_id() == id && m.get_role() == MemberRole::MEMBER_ROLE_VOTER)
            };
            wait::check(voter(&self.peers[n].id()), || format!("{info:?}"))
        })
        .map_err(|why| format!("{} does not become a voter: {why}", self.peers[n].id()))
    }

    /// Asks once that a peer is added, and does not look at what comes of it.
    pub fn try_add(&mut self, n: usize) {
        let (id, address) = (self.peers[n].id(), net::peer_address(n));
        let answers = self.wait_answers(n);
        if let (Ok(()), Ok(leader)) = (answers, self.leader()) {
            let _ = self.peers[leader].client().add_member(&id, &address);
        }
    }

    /// Adds a peer that runs, as a learner at first.
    ///
    /// # Errors
    /// The last refusal within a bound.
    pub fn add(&mut self, n: usize) -> Result<(), String> {
        let (id, address) = (self.peers[n].id(), net::peer_address(n));
        wait::within(SETTLE_LIMIT, || {
            let leader = self.leader()?;
            if is_member(&self.leader_info()?, &id) {
                return Ok(());
            }
            let answer = self.peers[leader].client().add_member(&id, &address);
            answer.map_err(|e| e.to_string())
        })
        .map_err(|why| format!("{id} was not added: {why}"))?;
        self.set_member(n, true);
        Ok(())
    }

    /// Removes the member at `n`, through `by` if it is given, else through the
    /// leader; leaves its process alone.
    ///
    /// # Errors
    /// The last refusal within a bound.
    pub fn remove(&mut self, n: usize, by: Option<usize>) -> Result<(), String> {
        let id = self.peers[n].id();
        if let Some(by) = by {
            // A first try at that peer; its answer may be lost.
            let _ = self.peers[by].client().remove_member(&id);
        }
        wait::within(SETTLE_LIMIT, || {
            // The removed may not have heard of it: the others are asked.
            let others = self.members().into_iter().filter(|other| *other != n);
            let others: Vec<usize> = others.collect();
            let gone = others.iter().any(|other| {
                let info = self.peers[*other].client().info();
                info.is_ok_and(|info| leads(&info) && !is_member(&info, &id))
            });
            if gone {
                return Ok(());
            }
            let leader = self.leader()?;
            let answer = self.peers[leader].client().remove_member(&id);
            answer.map_err(|e| e.to_string())
        })
        .map_err(|why| format!("{id} was not removed: {why}"))?;
        self.set_member(n, false);
        Ok(())
    }

    /// Hands leadership to the member at `to`.
    ///
    /// # Errors
    /// The refusal.
    pub fn transfer(&mut self, to: usize) -> Result<(), Refused> {
        let mut request = TransferLeadershipRequest::new();
        request.set_member_id(self.peers[to].id());
        let limit = option(Duration::from_secs(5));
        let admin = &self.peers[to].client().admin;
        let answer = admin.transfer_leadership_opt(&request, limit);
        answer.map(|_| ()).map_err(Refused::from)
    }

    /// What the leader says of the cluster.
    ///
    /// # Errors
    /// When there is none or it does not answer.
    pub fn leader_info(&mut self) -> Result<ClusterInfo, String> {
        let leader = self.leader()?;
        self.peers[leader]
            .client()
            .info()
            .map_err(|e| e.to_string())
    }

    fn wait_answers(&mut self, n: usize) -> Result<(), String> {
        let end = Instant::now() + START_LIMIT;
        loop {
            match self.peers[n].client().info() {
                Ok(_) => return Ok(()),
                Err(why) if Instant::now() > end || !self.peers[n].is_running() => {
                    let end = self.peers[n].log_end(SHOWN_LINES);
                    return Err(format!(
                        "{} does not answer: {why}\n{end}",
                        self.peers[n].id()
                    ));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Notes the peers that ended by themselves. Those that no fault allowed to
    /// are breaches.
    pub fn look_for_ends(&mut self) {
        for peer in &mut self.peers {
            let Some(status) = peer.ended() else { continue };
            if !peer.may_end {
                let end = peer.log_end(SHOWN_LINES);
                self.ends
                    .push(format!("{} ended by itself: {status}\n{end}", peer.id()));
            }
        }
    }

    /// Makes every fault end: network and disks are whole, paused peers go on,
    /// members that do not run are started.
    ///
    /// # Errors
    /// What the system refused.
    pub fn heal(&mut self) -> Result<(), String> {
        self.net.heal()?;
        self.look_for_ends();
        for peer in &mut self.peers {
            peer.mend_disk();
            peer.may_end = false;
            if peer.is_running() && !peer.is_awake() {
                peer.resume()?;
            }
            if peer.member && !peer.is_running() {
                peer.start(false)?;
            }
        }
        Ok(())
    }

    /// Waits until all members answer, name one leader, and are alive in its
    /// eyes.
    ///
    /// # Errors
    /// What is missing after `limit`.
    pub fn settle(&mut self, limit: Duration) -> Result<(), String> {
        wait::within(limit, || {
            self.look_for_ends();
            let leader = self.leader()?;
            let name = self.peers[leader].id();
            for n in self.members() {
                let who = self.peers[n].id();
                if !self.peers[n].is_running() {
                    // It ended since; that is noted, and the run goes on.
                    self.peers[n].start(false)?;
                }
                let info = self.peers[n].client().info();
                let info = info.map_err(|e| format!("{who}: {e}"))?;
                wait::check(info.get_leader_id() == name, || {
                    format!("{who} follows {:?}, not {name}", info.get_leader_id())
                })?;
            }
            let info = self.peers[leader].client().info();
            let info = info.map_err(|e| e.to_string())?;
            let well = info.get_members().iter().all(|m| {
                m.get_role() == MemberRole::MEMBER_ROLE_VOTER
                    && m.get_liveness() == MemberLiveness::MEMBER_LIVENESS_ALIVE
            });
            let count = self.members().len();
            wait::check(well && info.get_members().len() == count, || {
                format!("of {count} members: {:?}", info.get_members())
            })
        })
    }
}

fn leads(info: &ClusterInfo) -> bool {
    info.get_role() == PeerRole::PEER_ROLE_LEADER
}

fn is_member(info: &ClusterInfo, id: &str) -> bool {
    info.get_members().iter().any(|m| m.get_id() == id)
}
