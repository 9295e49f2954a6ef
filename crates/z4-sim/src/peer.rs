//! One simulated peer: what outlives a crash, and what runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use z4_check::history::OpId;
use z4_consensus::callers::Callers;
use z4_consensus::clocks::Exchange;
use z4_consensus::log::{LogStore, LogWrite, Position};
use z4_consensus::machine::{Applied, Committed, StateMachine as _};
use z4_consensus::replica::{Config, Input, Persist, Waiting};
use z4_consensus::{limits, AddressBook, Levels, Replica, SaidLevels, StartError};
use z4_core::command::LeaseTasks;
use z4_core::Namespace;
use z4_delivery::{SessionId, Ticket, Whose};
use z4_storage::{AppliedEvents, MemDisk, MemStore, TaskMachine};

use crate::addresses;
use crate::disk::{SimLog, Tear};
use crate::faults::Full;
use crate::sessions::Shell;

/// A peer's raft id and how often it was started: what was meant for an earlier
/// life of a peer does not reach a later one.
pub(crate) type Life = (u64, u64);

/// Who asked the replica for what.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// A command or a read of a client.
    Client { client: usize, attempt: u64 },
    /// A proposal of the sessions of a peer.
    Session {
        life: Life,
        ticket: Ticket,
        attempt: u64,
        /// In its own log, and only in this term.
        only_in: Option<u64>,
    },
    /// A lease that rides with a new task.
    Rider {
        life: Life,
        term: u64,
        lease: LeaseTasks,
    },
    /// A session looks for leases, once this read is confirmed.
    Find {
        life: Life,
        session: SessionId,
        namespace: Namespace,
        whose: Whose,
    },
    /// A consumer ends leases by a call.
    End {
        /// The acks in the history, if they are acks.
        acks: Vec<Option<OpId>>,
    },
    /// The command after all members were told to hold the level.
    Hold {
        /// The number of the try.
        number: u64,
        /// The peer that tells the others.
        asked: u64,
    },
    /// A change of members.
    Admin,
    /// A transfer of leadership.
    Transfer,
}

/// What waits for the simulated log thread.
#[derive(Debug)]
pub(crate) enum LogJob {
    Persist(Persist),
    Cut(Position),
}

/// What waits for the simulated apply thread.
#[derive(Debug)]
pub(crate) enum ApplyJob {
    Callers(Vec<Waiting<Token>>),
    Apply(Vec<Committed>),
    Checkpoint,
    Drop(Vec<Position>),
}

/// A group of writes on its way to the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) number: u64,
    /// The last persist in it.
    pub(crate) persist: u64,
    pub(crate) sync: bool,
    /// Steps of the log that were not synced before it.
    pub(crate) before: usize,
}

/// The running half of a peer.
pub(crate) struct Running {
    pub(crate) replica: Replica<SimLog, Token>,
    pub(crate) machine: TaskMachine<MemStore>,
    pub(crate) told: Arc<Mutex<Vec<AppliedEvents>>>,
    pub(crate) inbox: VecDeque<Input<Token>>,
    pub(crate) round_planned: bool,
    /// Ticks that have passed and that the replica was not told of yet.
    pub(crate) ticks: u64,
    pub(crate) log_jobs: VecDeque<LogJob>,
    pub(crate) writing: Option<Group>,
    pub(crate) groups: u64,
    pub(crate) apply_jobs: VecDeque<ApplyJob>,
    pub(crate) apply_planned: bool,
    pub(crate) callers: Callers<Waiting<Token>>,
    /// Its consumer sessions.
    pub(crate) shell: Shell,
    pub(crate) leading: bool,
    /// An administrator's change waits for its answer here.
    pub(crate) change_in_flight: bool,
    /// Proposals of clients and consumers that it took and has not answered.
    pub(crate) in_flight: usize,
    /// Where it dials members.
    pub(crate) book: AddressBook,
    /// At which address each member has reached it last.
    pub(crate) reached_at: BTreeMap<u64, u64>,
    /// Members whose addresses it is looking into.
    pub(crate) checking: BTreeSet<u64>,
    /// In which of its lives, and when, each member has said what its binary knows.
    pub(crate) said_at: BTreeMap<u64, (Life, u64)>,
    /// Its samples of clocks, and those of others.
    pub(crate) exchange: Exchange,
    /// The leader has asked another voter to take over for its clock, and nothing came of it yet.
    pub(crate) hands_over: bool,
}

/// The result of a start.
pub(crate) enum Started {
    Runs {
        /// The log ended in a write that is there in part, and was dropped.
        torn: bool,
    },
    /// The binary does not know the level of what the peer has.
    TooOld,
}

/// A peer.
pub(crate) struct Peer {
    pub(crate) raft_id: u64,
    /// Where it is, as a number: `addresses.rs`.
    pub(crate) address: u64,
    /// Where it says that it is: elsewhere when it was started with a wrong setting.
    pub(crate) says: u64,
    /// All addresses that it has been at.
    pub(crate) been_at: BTreeSet<u64>,
    pub(crate) log: Arc<SimLog>,
    pub(crate) state: MemDisk,
    pub(crate) boot: u64,
    pub(crate) run: Option<Running>,
    /// Its wall clock minus the true time, at the moment its pace last changed.
    pub(crate) skew_ns: i64,
    pub(crate) drift_from_ns: u64,
    /// Parts in a million by which its wall clock is fast.
    pub(crate) drift_ppm: i64,
    /// What it was off by at moments at which that changed: before and after each.
    pub(crate) clock_was: VecDeque<(u64, i64)>,
    pub(crate) paused_until_ns: u64,
    /// Longest sync, in milliseconds.
    pub(crate) sync_ms: u64,
    /// How long the next write stands still, in milliseconds.
    pub(crate) stall_ms: u64,
    /// Which write is to fail for want of space.
    pub(crate) full: Option<Full>,
    /// It is told so when it starts.
    pub(crate) space_low: bool,
    /// A snapshot was installed and nothing applied since.
    pub(crate) fresh_snapshot: bool,
    /// The levels that its binary knows.
    pub(crate) levels: Levels,
    /// The operator was careless: the binary does not know the level of the cluster.
    pub(crate) is_too_old: bool,
    /// The peer was told to hold the level of the cluster.
    pub(crate) holds_level: bool,
    /// Was removed and knows it, or lost its disk: does not run again.
    pub(crate) gone: bool,
}

impl Peer {
    /// A peer with empty disks.
    pub(crate) fn new(raft_id: u64, levels: Levels) -> Self {
        Self {
            raft_id,
            address: raft_id,
            says: raft_id,
            been_at: BTreeSet::from([raft_id]),
            log: Arc::new(SimLog::new()),
            state: MemDisk::default(),
            boot: 0,
            run: None,
            skew_ns: 0,
            drift_from_ns: 0,
            drift_ppm: 0,
            clock_was: VecDeque::new(),
            paused_until_ns: 0,
            sync_ms: 4,
            stall_ms: 0,
            full: None,
            space_low: false,
            fresh_snapshot: false,
            levels,
            is_too_old: false,
            holds_level: false,
            gone: false,
        }
    }

    /// The levels that it says it knows.
    pub(crate) fn says_levels(&self) -> SaidLevels {
        SaidLevels {
            levels: self.levels,
            version: String::new(),
            is_held: self.holds_level,
        }
    }

    pub(crate) fn life(&self) -> Life {
        (self.raft_id, self.boot)
    }

    /// A founding member: state and log begin behind the same entry.
    pub(crate) fn found(&self, applied: &Applied) -> Result<(), String> {
        self.state.bootstrap(applied.clone());
        self.log.begin_at(applied.position)
    }

    /// Starts from what is on the disks.
    pub(crate) fn start(&mut self, seed: u64, log_keep_entries: u64) -> Result<Started, String> {
        self.boot += 1;
        let torn = self.log.recover();
        let (store, applied) = self.state.open();
        reconcile(&self.log, applied.position)?;
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&told);
        let machine = TaskMachine::open(
            store,
            applied,
            Box::new(move |events| {
                if let Ok(mut told) = sink.lock() {
                    told.push(events);
                }
            }),
        )
        .map_err(|e| e.0)?;
        let config = Config {
            raft_id: self.raft_id,
            address: addresses::text(self.says),
            own: self.says_levels(),
            seed,
            log_keep_entries,
            max_clock_offset_ns: limits::CLOCK_OFFSET_MAX.as_nanos() as u64,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let replica = Replica::new(config, Arc::clone(&self.log), machine.applied(), &logger);
        let replica = match replica {
            Ok(replica) => replica,
            Err(StartError::Level { .. }) if self.is_too_old => return Ok(Started::TooOld),
            Err(error) => return Err(error.to_string()),
        };
        self.run = Some(Running {
            replica,
            machine,
            told,
            inbox: VecDeque::new(),
            round_planned: false,
            ticks: 0,
            log_jobs: VecDeque::new(),
            writing: None,
            groups: 0,
            apply_jobs: VecDeque::new(),
            apply_planned: false,
            callers: Callers::default(),
            shell: Shell::new((self.raft_id, self.boot)),
            leading: false,
            change_in_flight: false,
            in_flight: 0,
            book: AddressBook::default(),
            reached_at: BTreeMap::new(),
            checking: BTreeSet::new(),
            said_at: BTreeMap::new(),
            exchange: Exchange::default(),
            hands_over: false,
        });
        Ok(Started::Runs { torn })
    }

    /// Power loss: of the unsynced writes of the log `kept` survive, and perhaps
    /// a part of the next; of the state, what was flushed. Gives the number of
    /// entries that are lost.
    pub(crate) fn crash(&mut self, kept: usize, tear: Option<Tear>) -> usize {
        self.run = None;
        self.paused_until_ns = 0;
        self.log.crash(kept, tear)
    }

    /// Its disks are empty; it keeps its number.
    pub(crate) fn lose_disk(&mut self) {
        self.log = Arc::new(SimLog::new());
        self.state = MemDisk::default();
    }

    /// An orderly stop: log and state are brought to disk.
    pub(crate) fn stop(&mut self) {
        if let Some(run) = self.run.take() {
            self.log.sync();
            // The flush of a store in memory cannot fail.
            let _ = run.machine.flusher()();
        }
        self.paused_until_ns = 0;
        // What was handed to the log thread and not written is gone; nobody was
        // promised anything for it.
        self.log.crash(0, None);
    }
}

/// Brings log and state to where raft can go on, by the rules of a production
/// start: a state ahead of the commit index raises it; a state that the log
/// does not have is a snapshot whose installation was cut short.
fn reconcile(log: &SimLog, applied: Position) -> Result<(), String> {
    let failed = |e: z4_consensus::log::LogError| e.to_string();
    let mut hard_state = log.hard_state().map_err(failed)?;
    let has = log.term(applied.index).map_err(failed)? == Some(applied.term);
    if has && hard_state.commit >= applied.index {
        return Ok(());
    }
    if hard_state.term < applied.term {
        hard_state.term = applied.term;
        hard_state.vote = 0;
    }
    hard_state.commit = hard_state.commit.max(applied.index);
    if has {
        let write = LogWrite {
            entries: Vec::new(),
            hard_state: Some(hard_state),
            sync: true,
        };
        return log.write(&write).map_err(failed);
    }
    log.reset(applied, &hard_state).map_err(failed)
}
