//! The founder of a cluster that has a past: it elects itself, and does what it is asked.

use std::sync::Arc;

use z4_consensus::limits::CLOCK_OFFSET_MAX;
use z4_consensus::log::{LogStore as _, Position};
use z4_consensus::machine::StateMachine as _;
use z4_consensus::proposals::Asked;
use z4_consensus::replica::{Config, Input, Now};
use z4_consensus::{Levels, Replica, Role, SaidLevels};
use z4_core::{Command, Outcome};
use z4_proto::command::encode_command;
use z4_storage::{Founding, MemDisk, MemStore, TaskMachine, TaskStore as _};

use crate::addresses;
use crate::disk::SimLog;
use crate::world::MS;

/// Ticks within which a founder must have applied a command: those of two elections.
const TICKS_MAX: u64 = 60;
const TICK_NS: u64 = z4_consensus::limits::TICK.as_nanos() as u64;
/// An operator founds with the newest binary, which knows all levels of the simulator.
pub(crate) const ANY_LEVEL: Levels = Levels {
    min: 1,
    max: u32::MAX,
};

/// Takes the steps of a founding: the state stands where the log begins, durably.
pub(crate) fn found(mut store: MemStore, log: &SimLog, founding: &Founding) -> Result<(), String> {
    let committed = store.commit(founding.at, Some(&founding.membership));
    committed.map_err(|e| e.0)?;
    store.flusher()().map_err(|e| e.0)?;
    log.begin_at(founding.at)
}

/// A cluster of one, as its peer was started after the founding.
pub(crate) struct Founder {
    replica: Replica<SimLog, ()>,
    machine: TaskMachine<MemStore>,
    log: Arc<SimLog>,
    begun_at: Position,
    wall_ns: u64,
    ticks: u64,
}

impl Founder {
    /// Starts the peer with this raft id, and its address of that number, from its disks and at
    /// this time.
    pub(crate) fn start(
        (raft_id, address): (u64, u64),
        log: Arc<SimLog>,
        state: &MemDisk,
        wall_ns: u64,
    ) -> Result<Self, String> {
        let config = Config {
            raft_id,
            address: addresses::text(address),
            own: SaidLevels {
                levels: ANY_LEVEL,
                version: String::new(),
                is_held: true,
            },
            seed: raft_id,
            log_keep_entries: 40,
            max_clock_offset_ns: CLOCK_OFFSET_MAX.as_nanos() as u64,
        };
        let (store, applied) = state.open();
        let begun_at = applied.position;
        let machine = TaskMachine::open(store, applied, Box::new(|_| {})).map_err(|e| e.0)?;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let replica = Replica::new(config, Arc::clone(&log), machine.applied(), &logger);
        Ok(Self {
            replica: replica.map_err(|e| e.to_string())?,
            machine,
            log,
            begun_at,
            wall_ns,
            ticks: 0,
        })
    }

    /// Where its state stood when it was started.
    pub(crate) fn begun_at(&self) -> Position {
        self.begun_at
    }

    /// Has a command committed and applied, and gives what came of it.
    pub(crate) fn ask(&mut self, command: &Command) -> Result<Outcome, String> {
        let mut asked = Some(Asked {
            command: encode_command(command),
            units: 1,
            token: (),
        });
        for _ in 0..TICKS_MAX {
            self.ticks += 1;
            let monotonic_ns = self.ticks * TICK_NS;
            let now = Now {
                wall_ns: self.wall_ns + monotonic_ns,
                monotonic_ns,
            };
            self.replica.step(Input::Tick, now);
            let outcome = self.work(now)?;
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            if self.replica.status().role == Role::Leader {
                if let Some(asked) = asked.take() {
                    self.replica.step(Input::Propose(vec![asked]), now);
                }
            }
        }
        let ms = TICKS_MAX * TICK_NS / MS;
        Err(format!(
            "the founder did nothing of what it was asked within {ms} ms"
        ))
    }

    /// Does all that there is to be done. Gives what came of a command.
    fn work(&mut self, now: Now) -> Result<Option<Outcome>, String> {
        let mut outcome = None;
        while let Some(work) = self.replica.work() {
            if let Some(reason) = work.stop {
                return Err(format!("the founder stops: {reason}"));
            }
            if let Some(persist) = work.persist {
                self.log.write(&persist.write).map_err(|e| e.to_string())?;
                self.log.sync();
                let number = persist.number;
                self.replica.step(Input::Persisted { number }, now);
            }
            let Some(index) = work.apply.last().map(|entry| entry.position.index) else {
                continue;
            };
            let replies = self.machine.apply(work.apply).map_err(|e| e.0)?;
            // One command is on its way at a time.
            outcome = replies.into_iter().flatten().next().or(outcome);
            self.replica.step(Input::Applied { index }, now);
        }
        Ok(outcome)
    }
}
