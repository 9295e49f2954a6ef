//! Rounds of probes, and what peers do by their answers.

use std::collections::BTreeMap;

use z4_consensus::assembly::{Answer, Next, WaitingPeer};

use super::{address, name, settings, Disk, Event, Life, Sim, COUNT, MS};

/// The time for which a probe is waited for.
const PROBE_MS: u64 = 3_000;
/// Between two rounds.
const INTERVAL_MS: u64 = 300;

impl Sim {
    /// A peer dials all addresses.
    pub(super) fn round(&mut self, life: Life) {
        let is_empty = self.peers[life.0].disk == Disk::Empty;
        let Some(run) = self.lives(life) else { return };
        if !is_empty || run.founding || run.asking {
            return;
        }
        run.round += 1;
        run.answers = BTreeMap::new();
        let round = run.round;
        for to in 0..COUNT {
            if let Some(late_ns) = self.passes() {
                let from = life;
                self.at(
                    late_ns,
                    Event::Probe {
                        from,
                        round,
                        to,
                        late_ns,
                    },
                );
            }
        }
        self.at(PROBE_MS * MS, Event::RoundEnd(life, round));
    }

    pub(super) fn probe(&mut self, from: Life, round: u64, to: usize, late_ns: u64) {
        let answer = match (&self.peers[to].run, &self.peers[to].disk) {
            (None, _) => Answer::Unreachable("refused".to_owned()),
            (Some(_), Disk::Member { cluster, .. }) => Answer::Member {
                peer_id: name(to),
                cluster_id: *cluster,
            },
            (Some(_), Disk::Empty) => {
                let told = settings(to);
                Answer::Waiting(WaitingPeer {
                    peer_id: told.peer_id,
                    address: told.address,
                    join: told.join,
                    expect: COUNT as u32,
                })
            }
        };
        let Some(back_ns) = self.passes() else { return };
        if late_ns + back_ns < PROBE_MS * MS {
            self.at(
                back_ns,
                Event::Answer {
                    from,
                    round,
                    to,
                    answer,
                },
            );
        }
    }

    pub(super) fn answer(&mut self, from: Life, round: u64, to: usize, answer: Answer) {
        let Some(run) = self.lives(from).filter(|run| run.round == round) else {
            return;
        };
        run.answers.insert(address(to), answer);
        if run.answers.len() == COUNT {
            self.round_end(from, round);
        }
    }

    /// All have answered, or the time is over.
    pub(super) fn round_end(&mut self, life: Life, round: u64) {
        let (now_ns, is_empty) = (self.now_ns, self.peers[life.0].disk == Disk::Empty);
        let Some(run) = self.lives(life).filter(|run| run.round == round) else {
            return;
        };
        // The time of this round may be over later.
        run.round += 1;
        if !is_empty {
            return;
        }
        let mut answers = std::mem::take(&mut run.answers);
        for to in 0..COUNT {
            let silent = || Answer::Unreachable("no answer".to_owned());
            answers.entry(address(to)).or_insert_with(silent);
        }
        match run.assembly.step(now_ns, &answers) {
            Next::Wait { .. } => self.at(INTERVAL_MS * MS, Event::Round(life)),
            Next::Ask { address: at } => {
                run.asking = true;
                let to = (0..COUNT).find(|place| address(*place) == at);
                let to = to.unwrap_or_default();
                match self.passes() {
                    Some(late_ns) => self.at(late_ns, Event::Ask { from: life, to }),
                    None => self.answered(life, to, "lost", 10_000 * MS),
                }
            }
            Next::Found => {
                run.founding = true;
                self.note(format!("{} founds", name(life.0)));
                let sync_ms = rand::Rng::gen_range(&mut self.rng, 1..200);
                self.at(sync_ms * MS, Event::Founded(life));
                if !self.calm && self.one_in(3) {
                    let dies_ms = rand::Rng::gen_range(&mut self.rng, 0..300);
                    self.at(dies_ms * MS, Event::Kill(life));
                }
            }
        }
    }

    /// Tells an asker how it went, later.
    pub(super) fn answered(&mut self, from: Life, to: usize, why: &str, after_ns: u64) {
        let why = why.to_owned();
        self.at(after_ns, Event::Asked { from, to, why });
    }

    pub(super) fn asked(&mut self, from: Life, to: usize, why: &str) {
        let now_ns = self.now_ns;
        let Some(run) = self.lives(from).filter(|run| run.asking) else {
            return;
        };
        run.asking = false;
        run.assembly.refused(now_ns, &address(to), why);
        self.at(INTERVAL_MS * MS, Event::Round(from));
    }
}
