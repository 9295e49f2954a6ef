//! The shell around a replica: a log in memory, and work done soon or late.

use std::collections::BTreeMap;
use std::sync::Arc;

use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType};
use rand::Rng;
use z4_consensus::gate::Refused;
use z4_consensus::log::{LogStore, Position};
use z4_consensus::machine::Applied;
use z4_consensus::mem_log::MemLog;
use z4_consensus::membership::{Identity, Member, Membership};
use z4_consensus::proposals::Asked;
use z4_consensus::replica::{Config, Input, Now, Replica, Work};
use z4_consensus::{Levels, Role, SaidLevels, Status};

use super::messages::Dice;
use super::Seat;

/// The levels of all peers here.
const LEVELS: Levels = Levels { min: 1, max: 2 };

const START: Position = Position { index: 20, term: 3 };
/// This replica.
pub const ME: u64 = 1;
/// It was removed.
pub const GONE: u64 = 5;

pub struct Host {
    log: Arc<MemLog>,
    replica: Replica<MemLog, u32>,
    now: Now,
    /// A write that is done and not yet reported.
    late: Option<u64>,
    /// Writes are reported late.
    slow: bool,
    /// Members by the snapshot that named them.
    confs: BTreeMap<(u64, u64), ConfState>,
    stopped: bool,
    pub messages: u64,
}

impl Host {
    /// A replica that has this seat.
    pub fn new(seat: Seat, dice: &mut Dice<'_>) -> Self {
        let (voters, learners): (&[u64], &[u64]) = match seat {
            Seat::SingleVoter => (&[1], &[4]),
            Seat::Learner => (&[2, 3], &[1, 4]),
            _ => (&[1, 2, 3], &[4]),
        };
        let mut membership = members(voters, learners);
        if seat == Seat::Removed {
            membership.members.remove(&ME);
            membership.removed.insert(ME);
        }
        let log = Arc::new(MemLog::default());
        let hard_state = HardState {
            term: START.term,
            commit: START.index,
            ..HardState::default()
        };
        log.reset(START, &hard_state).unwrap();
        let applied = Applied {
            position: START,
            membership,
            stamp_ns: 0,
        };
        let config = Config {
            raft_id: ME,
            address: String::new(),
            seed: dice.gen(),
            own: SaidLevels {
                levels: LEVELS,
                version: String::new(),
                is_held: false,
            },
            log_keep_entries: 8,
            max_clock_offset_ns: 500_000_000,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let replica = Replica::new(config, Arc::clone(&log), &applied, &logger).unwrap();
        let mut host = Self {
            log,
            replica,
            now: Now {
                wall_ns: 1_000_000,
                monotonic_ns: 0,
            },
            late: None,
            slow: false,
            confs: BTreeMap::new(),
            stopped: false,
            messages: 0,
        };
        host.settle_at_once();
        if seat == Seat::Candidate && dice.gen() {
            host.append_late();
        }
        host.lead(seat);
        assert!(host.sits(seat), "{seat:?}: {:?}", host.status());
        host
    }

    /// A leader sends an entry, whose write takes long.
    fn append_late(&mut self) {
        let mut append = Message::default();
        append.set_msg_type(MessageType::MsgAppend);
        (append.from, append.to, append.term) = (2, ME, 4);
        (append.index, append.log_term) = (START.index, START.term);
        let entry = Entry {
            index: START.index + 1,
            term: 4,
            ..Entry::default()
        };
        append.set_entries(vec![entry].into());
        self.slow = true;
        self.message(2, append, false);
        self.settle_slowly();
    }

    /// Elections and votes until the seat is taken.
    fn lead(&mut self, seat: Seat) {
        if seat == Seat::Follower {
            let mut heartbeat = Message::default();
            heartbeat.set_msg_type(MessageType::MsgHeartbeat);
            (heartbeat.from, heartbeat.to, heartbeat.term) = (2, ME, 4);
            self.message(2, heartbeat, false);
            self.settle_at_once();
        }
        if !matches!(seat, Seat::Leader | Seat::Candidate) {
            return;
        }
        while self.status().role != Role::Candidate {
            self.tick();
            self.settle_slowly();
        }
        while seat == Seat::Leader && self.status().role != Role::Leader {
            let status = self.status();
            for (kind, term) in [
                (MessageType::MsgRequestPreVoteResponse, status.term + 1),
                (MessageType::MsgRequestVoteResponse, status.term),
            ] {
                let mut vote = Message::default();
                vote.set_msg_type(kind);
                (vote.from, vote.to, vote.term) = (2, ME, term);
                self.message(2, vote, false);
                self.settle_at_once();
            }
        }
    }

    pub fn sits(&self, seat: Seat) -> bool {
        let status = self.replica.status();
        let alone = status.membership.voter_count() == 1;
        match seat {
            Seat::Leader => status.role == Role::Leader && !alone,
            Seat::Follower => status.role == Role::Follower,
            Seat::Candidate => status.role == Role::Candidate,
            Seat::Learner => status.role == Role::Learner,
            Seat::SingleVoter => alone && status.membership.members.contains_key(&ME),
            Seat::Removed => status.role == Role::Removed,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub fn status(&self) -> Status {
        self.replica.status()
    }

    fn tick(&mut self) {
        self.now.monotonic_ns += 50_000_000;
        self.now.wall_ns += 50_000_000;
        self.replica.step(Input::Tick, self.now);
    }

    /// A message comes; why it was refused, if it was.
    pub fn message(&mut self, from: u64, message: Message, with_snapshot: bool) -> Option<Refused> {
        self.messages += 1;
        let metadata = message.get_snapshot().get_metadata();
        let conf = metadata.get_conf_state().clone();
        self.confs.insert((metadata.index, metadata.term), conf);
        let input = if with_snapshot {
            Input::Snapshot { from, message }
        } else {
            Input::Message { from, message }
        };
        self.replica.step(input, self.now);
        self.replica.take_refused().pop().map(|(_, why)| why)
    }

    /// Work that is there already; it is done.
    pub fn take_work(&mut self) -> Option<()> {
        let work = self.replica.work()?;
        self.take(work, self.slow);
        Some(())
    }

    /// Does what the replica wants done; a write may be reported later. Now and
    /// then a tick passes, or a client calls.
    pub fn settle(&mut self, dice: &mut Dice<'_>) {
        match dice.gen_range(0..40) {
            0 | 7..=9 => self.tick(),
            1 => {
                let asked = Asked {
                    command: vec![7; 9],
                    units: 1,
                    token: 1,
                };
                self.replica.step(Input::Propose(vec![asked]), self.now);
            }
            2 => {
                let read = Input::Read {
                    deadline_ns: self.now.monotonic_ns + 1_000_000_000,
                    token: 2,
                };
                self.replica.step(read, self.now);
            }
            3 => self.replica.step(Input::Transfer(0, 3), self.now),
            4 => self.replica.step(Input::Unreachable(2), self.now),
            5 => {
                let to = dice.gen_range(2..5);
                let ok = dice.gen();
                self.replica.step(Input::SnapshotSent { to, ok }, self.now);
            }
            _ => {}
        }
        if dice.gen_bool(0.05) {
            self.slow = !self.slow;
        }
        self.settle_slowly();
    }

    fn settle_slowly(&mut self) {
        while let Some(work) = self.replica.work() {
            self.take(work, self.slow);
        }
        if !self.slow {
            self.settle_at_once();
        }
    }

    fn settle_at_once(&mut self) {
        loop {
            if let Some(number) = self.late.take() {
                self.replica.step(Input::Persisted { number }, self.now);
            }
            let Some(work) = self.replica.work() else {
                return;
            };
            self.take(work, false);
        }
    }

    fn take(&mut self, work: Work<u32>, late: bool) {
        if let Some((position, hard_state)) = &work.install {
            self.log.reset(*position, hard_state).unwrap();
            let conf = &self.confs[&(position.index, position.term)];
            let membership = members(&conf.voters, &conf.learners);
            let applied = Applied {
                position: *position,
                membership,
                stamp_ns: 0,
            };
            self.replica.step(Input::Installed(applied), self.now);
        }
        if let Some(persist) = work.persist {
            self.log.write(&persist.write).unwrap();
            self.late = self.late.max(Some(persist.number));
        }
        if let Some(cut) = work.cut {
            self.log.cut_through(cut).unwrap();
        }
        if work.stop.is_some() {
            self.stopped = true;
            return;
        }
        if let Some(last) = work.apply.last() {
            let position = last.position;
            let index = position.index;
            self.replica.step(Input::Applied { index }, self.now);
            self.replica.step(Input::Flushed(position), self.now);
        }
        if work.checkpoint {
            let status = self.replica.status();
            let index = status.applied_index;
            if let Ok(Some(term)) = self.log.term(index) {
                let applied = Applied {
                    position: Position { index, term },
                    membership: status.membership,
                    stamp_ns: 0,
                };
                self.replica.step(Input::Checkpointed(applied), self.now);
            }
        }
        if !late {
            if let Some(number) = self.late.take() {
                self.replica.step(Input::Persisted { number }, self.now);
            }
        }
    }
}

fn members(voters: &[u64], learners: &[u64]) -> Membership {
    let identity = Identity {
        cluster_id: [1; 16],
        raft_id: ME,
        peer_id: "peer1".into(),
    };
    let mut membership = Membership::bootstrap(&identity, "a:1");
    membership.members.clear();
    for (ids, voter) in [(voters, true), (learners, false)] {
        for id in ids {
            let member = Member {
                peer_id: format!("peer{id}"),
                address: format!("a:{id}"),
                voter,
            };
            membership.members.insert(*id, member);
        }
    }
    if !membership.members.contains_key(&GONE) {
        membership.removed.insert(GONE);
    }
    let last = membership.members.keys().copied().max();
    membership.raft_id_next = last.unwrap_or(GONE).max(GONE) + 1;
    membership
}
