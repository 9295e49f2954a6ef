//! Peers that form a cluster.

use std::time::Duration;

use z4_proto::generated::admin::{ClusterInfo, MemberRole, PeerRole};

use crate::client::Client;
use crate::command::z4t;
use crate::peer::{Peer, PeerSpec};
use crate::wait;

/// How long an election, or the way of a newcomer into a cluster, may take.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(20);

/// Peers that form a cluster, `peer1` and on.
pub struct Cluster {
    /// The peers, in the order of their names.
    pub peers: Vec<Peer>,
}

impl Cluster {
    /// One peer that bootstrapped.
    #[must_use]
    pub fn single() -> Self {
        Self::of(1, &[])
    }

    /// Three peers, all voters.
    #[must_use]
    pub fn three() -> Self {
        Self::of(3, &[])
    }

    /// `count` peers, all voters, each with these variables more.
    ///
    /// # Panics
    /// When they do not form a cluster.
    #[must_use]
    pub fn of(count: usize, variables: &[(&str, &str)]) -> Self {
        let spec = |n: usize| {
            let spec = match n {
                1 => PeerSpec::bootstrap("peer1"),
                n => PeerSpec::waiting(&format!("peer{n}")),
            };
            let add = |spec: PeerSpec, (name, value): &(&str, &str)| spec.with(name, value);
            variables.iter().fold(spec, add)
        };
        Self::formed((1..=count).map(spec).collect())
    }

    /// Peers started so, all voters; the first bootstraps.
    ///
    /// # Panics
    /// When they do not form a cluster.
    #[must_use]
    pub fn formed(specs: Vec<PeerSpec>) -> Self {
        let count = specs.len();
        let mut peers: Vec<Peer> = specs.into_iter().map(Peer::new).collect();
        peers.iter_mut().for_each(Peer::start);
        peers.iter_mut().for_each(Peer::wait_answers);
        peers[0].wait_ready();
        let mut cluster = Self { peers };
        for n in 1..count {
            cluster.join(n);
        }
        cluster.wait_settled();
        cluster
    }

    /// Adds the peer at place `n` by the command line, through the first.
    ///
    /// # Panics
    /// When `z4t` does not say that it was added.
    pub fn join(&mut self, n: usize) {
        let target = self.peers[0].service_address();
        let address = self.peers[n].peer_address();
        let id = self.peers[n].spec.id.clone();
        let done = z4t(&["-t", &target, "-p", &address, "-id", &id, "add-peer"]);
        assert_eq!(done.code, 0, "{id} was not added: {done:?}");
    }

    /// Waits until every running peer knows one and the same leader, and the
    /// leader has as many voters as there are peers here; the leader's place.
    ///
    /// # Panics
    /// When that does not come about within 20 s.
    #[track_caller]
    pub fn wait_settled(&mut self) -> usize {
        let count = self.peers.len();
        let leader = self.wait_leader();
        let client = self.peers[leader].client();
        wait::until("all peers are voters", SETTLE_LIMIT, || {
            let info = client.info().map_err(|e| e.to_string())?;
            wait::check(voters(&info) == count, || format!("{info:?}"))
        });
        self.wait_leader()
    }

    /// Waits until every running peer names one and the same leader, and that
    /// peer says so itself; its place.
    ///
    /// # Panics
    /// When that does not come about within 20 s.
    #[track_caller]
    pub fn wait_leader(&mut self) -> usize {
        wait::until("the running peers agree on a leader", SETTLE_LIMIT, || {
            let mut leader = None;
            let mut said = Vec::new();
            for n in 0..self.peers.len() {
                if !self.peers[n].is_running() {
                    continue;
                }
                let info = self.peers[n].client().info().map_err(|e| e.to_string())?;
                if info.get_role() == PeerRole::PEER_ROLE_LEADER {
                    leader = Some(n);
                }
                said.push((
                    info.get_server_id().to_owned(),
                    info.get_leader_id().to_owned(),
                ));
            }
            let place = leader.ok_or_else(|| format!("none leads: {said:?}"))?;
            let id = &self.peers[place].spec.id;
            wait::check(said.iter().all(|(_, named)| named == id), || {
                format!("{said:?}")
            })?;
            Ok(place)
        })
    }

    /// The places of all peers but `place`.
    #[must_use]
    pub fn others(&self, place: usize) -> Vec<usize> {
        (0..self.peers.len()).filter(|n| *n != place).collect()
    }

    /// A client of each peer.
    #[must_use]
    pub fn clients(&self) -> Vec<Client> {
        self.peers.iter().map(Peer::client).collect()
    }

    /// Processor time of all running peers so far.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.peers.iter().map(Peer::cpu_time).sum()
    }

    /// Kill -9 of every peer, as near to one moment as a process can.
    pub fn kill_all(&mut self) {
        self.peers.iter_mut().for_each(Peer::kill_soon);
        self.peers.iter_mut().for_each(Peer::reap);
    }

    /// Starts the peers that do not run, and waits until all agree on a
    /// leader; its place.
    ///
    /// # Panics
    /// When that does not come about.
    #[track_caller]
    pub fn start_missing(&mut self) -> usize {
        for peer in &mut self.peers {
            if !peer.is_running() {
                peer.start();
            }
        }
        self.peers.iter_mut().for_each(Peer::wait_answers);
        self.wait_leader()
    }
}

/// How many voters `info` lists.
#[must_use]
pub fn voters(info: &ClusterInfo) -> usize {
    let voter = |role| role == MemberRole::MEMBER_ROLE_VOTER;
    info.get_members()
        .iter()
        .filter(|m| voter(m.get_role()))
        .count()
}
