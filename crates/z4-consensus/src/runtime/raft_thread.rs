//! The raft thread: runs a round whenever something waits, or a tick is due.

use crossbeam_channel::Receiver;

use super::inbox::Inbox;
use super::rounds::{lock, Rounds, SharedRounds, Sleep};
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::transport::Transport;

pub(super) struct RaftThread<L: LogStore, M: StateMachine, T> {
    pub(super) rounds: SharedRounds<L, M, T>,
    pub(super) inbox: Inbox<M::Reply>,
    pub(super) nudges: Receiver<()>,
}

impl<L: LogStore, M: StateMachine, T: Transport> RaftThread<L, M, T> {
    /// Runs until it is asked to stop.
    pub(super) fn run(self) {
        while let Some(sleep) = self.round() {
            self.inbox.wait(&sleep, &self.nudges);
        }
        // Nobody runs another one, and the log and apply threads end with them.
        let last = lock(&self.rounds).take();
        if let Some(last) = last {
            last.refuse_rest();
        }
    }

    /// Runs a round. The rounds are free for others when this has returned.
    fn round(&self) -> Option<Sleep> {
        lock(&self.rounds).as_mut().and_then(Rounds::run)
    }
}
