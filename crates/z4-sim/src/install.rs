//! The switch to a received snapshot: machine first, then the log. The peer may
//! lose power between the two.

use raft::eraftpb::HardState;
use z4_consensus::log::{LogStore as _, Position};
use z4_consensus::machine::StateMachine as _;
use z4_consensus::replica::Input;

use crate::faults::Fault;
use crate::peer::LogJob;
use crate::world::{Event, World, MS};

impl World {
    /// Switches a snapshot in: all that was asked of log and machine first, then
    /// the machine, then the log. `false` when power was lost on the way.
    pub(crate) fn install(&mut self, id: u64, position: Position, hard_state: &HardState) -> bool {
        self.trace
            .note(self.now_ns, format_args!("install {id} {position:?}"));
        self.apply(id);
        let done = match self.finish_writes(id) {
            Ok(done) => {
                self.check_synced(id, done.unwrap_or_default());
                done
            }
            Err(error) => {
                self.fail(format!("peer {id}: {error}"));
                return false;
            }
        };
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return false;
        };
        if let Err(error) = run.machine.install(position) {
            self.fail(format!("peer {id}: {}", error.0));
            return false;
        }
        let applied = run.machine.applied().clone();
        let level = applied.membership.level;
        if self.peers.get(&id).is_some_and(|p| p.levels.max < level) {
            self.fail(format!(
                "peer {id} took in a snapshot of level {level}, which it does not know"
            ));
            return false;
        }
        self.report.installs += 1;
        let peer = self.peers.get_mut(&id);
        let again = peer.is_some_and(|peer| std::mem::replace(&mut peer.fresh_snapshot, true));
        if again {
            self.saw("two snapshots in a row at one peer");
        }
        if !self.calm() && self.now_ns > 5_000 * MS {
            self.saw("a snapshot was installed under load");
        }
        self.jumped(id, position);
        let may = self.about(Fault::Crash) || self.about(Fault::Blackout);
        if may && self.one_in(3) {
            self.crash(id);
            self.within(50, 1_000, Event::Restart(id));
            self.saw("a peer crashed between a snapshot and the reset of its log");
            return false;
        }
        let now = self.clocks(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        if let Err(error) = peer.log.reset(position, hard_state) {
            self.fail(format!("peer {id}: {error}"));
            return false;
        }
        if let Some(run) = peer.run.as_mut() {
            run.replica.step(Input::Installed(applied), now);
        }
        if let Some(number) = done {
            self.input(id, Input::Persisted { number });
        }
        true
    }

    /// Writes all that waits for the log thread, and syncs. Gives the number of
    /// the last persist that was done.
    fn finish_writes(&mut self, id: u64) -> Result<Option<u64>, String> {
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(None);
        };
        let Some(run) = peer.run.as_mut() else {
            return Ok(None);
        };
        let mut done = run.writing.take().map(|group| group.persist);
        for job in run.log_jobs.drain(..) {
            let result = match job {
                LogJob::Persist(persist) => {
                    done = done.max(Some(persist.number));
                    peer.log.write(&persist.write)
                }
                LogJob::Cut(through) => peer.log.cut_through(through),
            };
            result.map_err(|e| e.to_string())?;
        }
        peer.log.sync();
        Ok(done)
    }
}
