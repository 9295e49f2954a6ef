//! Rolling restarts.
//!
//! Every peer in turn is stopped as an administrator stops it, and started
//! again: a leader hands leadership over first, then state and log are brought
//! to disk. The next one follows when it runs again, whether or not it has
//! caught up.

use rand::Rng;
use z4_consensus::replica::Input;

use crate::peer::Token;
use crate::world::{Event, World, MS};

impl World {
    pub(super) fn rolling_restart(&mut self) {
        if self.rolling.is_empty() {
            self.rolling = self.members().into_iter().collect();
            self.at(MS, Event::Roll { stopping: false });
        }
    }

    /// The next step of a rolling restart.
    pub(crate) fn roll(&mut self, stopping: bool) {
        if self.calm() {
            self.rolling.clear();
        }
        let Some(id) = self.rolling.last().copied() else {
            return;
        };
        let leads = |w: &Self| {
            let run = w.peers.get(&id).and_then(|p| p.run.as_ref());
            run.is_some_and(|run| run.leading)
        };
        if !stopping && leads(self) {
            self.input(id, Input::Transfer(0, Token::Transfer));
            return self.within(200, 1_200, Event::Roll { stopping: true });
        }
        self.rolling.pop();
        self.consumers_end(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            if peer.run.is_some() {
                peer.stop();
                self.check_crashed(id);
                self.trace.note(self.now_ns, format_args!("stop {id}"));
                if self.rolling.is_empty() {
                    self.saw("all peers were restarted in turn");
                }
            }
        }
        self.within(50, 600, Event::Restart(id));
        let gap_ms = self.rng.gen_range(700..3_000);
        self.at(gap_ms * MS, Event::Roll { stopping: false });
    }
}
