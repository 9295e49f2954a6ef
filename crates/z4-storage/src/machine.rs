//! The task machine behind consensus: commands in, outcomes and events out.

use std::sync::Arc;

use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Committed, Flusher, MachineError, StateMachine};
use z4_consensus::Membership;
use z4_core::state::StateError;
use z4_core::{Command, Event, Machine, Outcome, State};
use z4_proto::command::{decode_command, is_create};

use crate::verify::VerdictSink;

/// A [`State`] that knows the place in the log it stands at: RocksDB
/// ([`RocksState`](crate::RocksState)) and memory
/// (`MemStore`).
///
/// The core's `State` is ignorant of positions, members and snapshots on
/// purpose; these belong to what is replicated around it.
pub trait TaskStore: State + Sized + Send + 'static {
    /// Makes all changes since the last commit visible to readers in one piece, with the
    /// position, and with the members when they changed. A later flush makes them
    /// durable.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    fn commit(
        &mut self,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError>;

    /// See [`StateMachine::flusher`].
    fn flusher(&self) -> Flusher;

    /// See [`StateMachine::wants_flush`].
    fn wants_flush(&self) -> bool;

    /// Checks what is committed now, all of it and nothing later, while the
    /// work goes on; the verdict goes to `sink`, from any thread.
    fn verify(&mut self, position: Position, mark_id: u64, sink: VerdictSink);

    /// See [`StateMachine::checkpoint`]; `position` is that of the last commit.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    fn checkpoint(&mut self, position: Position) -> Result<(), MachineError>;

    /// See [`StateMachine::drop_snapshot`].
    fn drop_snapshot(&mut self, position: Position);

    /// See [`StateMachine::install`]; gives the store to go on with.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    fn install(&mut self, position: Position) -> Result<(Self, Applied), MachineError>;
}

/// What a run of entries did, told after its commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppliedEvents {
    /// Events of all entries, in order.
    pub events: Vec<Event>,
    /// The last entry of the run.
    pub position: Position,
    /// Machine time after the run, in nanoseconds.
    pub stamp_ns: u64,
    /// The earliest deadline of a live lease, in machine nanoseconds.
    pub pulse_next_ns: Option<u64>,
    /// A snapshot took the place of entries, whose events nobody tells.
    pub is_jump: bool,
}

/// Where events go. Called by whoever applies, after the commit: should not block, for
/// that may be the raft thread.
pub type EventSink = Box<dyn FnMut(AppliedEvents) + Send>;

/// The task machine as consensus drives it.
pub struct TaskMachine<S> {
    machine: Machine<S>,
    applied: Applied,
    sink: EventSink,
    verdicts: Option<VerdictSink>,
}

impl<S> std::fmt::Debug for TaskMachine<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskMachine")
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl<S: TaskStore> TaskMachine<S> {
    /// Opens the machine over a store that stands at `applied`. The sink is
    /// called at once, without events, with machine time and next deadline;
    /// then after each run, and after the installation of a snapshot.
    ///
    /// # Errors
    /// [`MachineError`] when the store fails: end the process.
    pub fn open(store: S, applied: Applied, sink: EventSink) -> Result<Self, MachineError> {
        let machine = Machine::open(store).map_err(state_error)?;
        let applied = Applied {
            stamp_ns: machine.stamp_ns(),
            ..applied
        };
        let mut opened = Self {
            machine,
            applied,
            sink,
            verdicts: None,
        };
        opened.tell(Vec::new(), false);
        Ok(opened)
    }

    /// Sends the verdicts on the state at marks there; without it marks do
    /// nothing.
    #[must_use]
    pub fn with_verdicts(mut self, sink: VerdictSink) -> Self {
        self.verdicts = Some(sink);
        self
    }

    /// The machine inside, to be looked at.
    #[must_use]
    pub fn machine(&self) -> &Machine<S> {
        &self.machine
    }

    fn commit(&mut self, members_changed: bool) -> Result<(), MachineError> {
        let membership = members_changed.then_some(&self.applied.membership);
        let state = self.machine.state_mut();
        state.commit(self.applied.position, membership)
    }

    fn verify(&mut self, marks: &mut Vec<u64>) {
        let position = self.applied.position;
        for mark_id in marks.drain(..) {
            if let Some(sink) = &self.verdicts {
                let state = self.machine.state_mut();
                state.verify(position, mark_id, Arc::clone(sink));
            }
        }
    }

    fn tell(&mut self, events: Vec<Event>, is_jump: bool) {
        (self.sink)(AppliedEvents {
            events,
            position: self.applied.position,
            stamp_ns: self.machine.stamp_ns(),
            pulse_next_ns: self.machine.pulse_next_ns(),
            is_jump,
        });
    }
}

impl<S: TaskStore> StateMachine for TaskMachine<S> {
    type Reply = Outcome;

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn apply(&mut self, run: Vec<Committed>) -> Result<Vec<Vec<Outcome>>, MachineError> {
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let mut events = Vec::new();
        let mut replies = Vec::with_capacity(run.len());
        let mut members_changed = false;
        let mut marks = Vec::new();
        for entry in run {
            let index = entry.position.index;
            if index <= self.applied.position.index {
                return Err(MachineError(format!(
                    "entry {index} came after entry {}",
                    self.applied.position.index
                )));
            }
            replies.push(if entry.commands.is_empty() {
                Vec::new()
            } else {
                let commands = entry
                    .commands
                    .iter()
                    .map(|bytes| decode_command(bytes))
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|e| MachineError(format!("a command of entry {index}: {e}")))?;
                marks.extend(commands.iter().filter_map(|command| match command {
                    Command::Mark { id } => Some(*id),
                    _ => None,
                }));
                self.machine
                    .apply_entry(index, entry.stamp_ns, commands, &mut events)
                    .map_err(state_error)?
            });
            if let Some(membership) = entry.membership {
                self.applied.membership = membership;
                members_changed = true;
            }
            self.applied.position = entry.position;
            if !marks.is_empty() {
                // Every peer checks the state as of this very entry.
                self.commit(std::mem::take(&mut members_changed))?;
                self.verify(&mut marks);
            }
        }
        self.commit(members_changed)?;
        self.applied.stamp_ns = self.machine.stamp_ns();
        self.tell(events, false);
        Ok(replies)
    }

    fn flusher(&self) -> Flusher {
        self.machine.state().flusher()
    }

    fn wants_flush(&self) -> bool {
        self.machine.state().wants_flush()
    }

    /// Only new tasks are: they are written to memory, and at most their request id is
    /// looked up. A pulse or a lease is a few bytes too, and may read a thousand rows.
    fn is_light(&self, entries: &[Committed]) -> bool {
        let mut commands = entries.iter().flat_map(|entry| &entry.commands);
        commands.all(|command| is_create(command))
    }

    fn checkpoint(&mut self) -> Result<Applied, MachineError> {
        self.machine.state_mut().checkpoint(self.applied.position)?;
        Ok(self.applied.clone())
    }

    fn drop_snapshot(&mut self, position: Position) {
        self.machine.state_mut().drop_snapshot(position);
    }

    fn install(&mut self, position: Position) -> Result<(), MachineError> {
        let (store, applied) = self.machine.state_mut().install(position)?;
        self.machine = Machine::open(store).map_err(state_error)?;
        self.applied = Applied {
            stamp_ns: self.machine.stamp_ns(),
            ..applied
        };
        self.tell(Vec::new(), true);
        Ok(())
    }
}

fn state_error(e: StateError) -> MachineError {
    MachineError(e.0)
}
