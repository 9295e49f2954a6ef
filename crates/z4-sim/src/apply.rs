//! The simulated apply and flush threads.

use rand::Rng;
use z4_consensus::log::Position;
use z4_consensus::machine::{Committed, StateMachine as _};
use z4_consensus::proposals::Asked;
use z4_consensus::replica::{Input, Waiting};
use z4_consensus::{ClockFault, ProposeError};
use z4_core::Outcome;

use crate::clients::Reply;
use crate::faults::Full;
use crate::peer::{ApplyJob, Peer, Token};
use crate::sessions::EndReply;
use crate::world::{Event, World, MS};

/// Proposals of clients and consumers that a peer takes before it has answered
/// some: far less than in production, so that bursts meet the bound.
const IN_FLIGHT_MAX: usize = 32;
/// Runs end at multiples of this index, where state hashes are compared.
const HASH_EVERY: u64 = 128;

impl World {
    pub(crate) fn plan_apply(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        let Some(run) = peer.run.as_mut() else { return };
        if run.apply_planned || run.apply_jobs.is_empty() {
            return;
        }
        if self.rng.gen_range(0..4) == 0 {
            // The raft thread applies it itself, and takes in nothing meanwhile.
            return self.apply(id);
        }
        run.apply_planned = true;
        let delay_ns = self.rng.gen_range(MS / 20..3 * MS);
        self.at(delay_ns, Event::Apply(life));
    }

    /// Does all that waits for the apply thread.
    pub(crate) fn apply(&mut self, id: u64) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        run.apply_planned = false;
        let jobs = std::mem::take(&mut run.apply_jobs);
        let mut entries = Vec::new();
        for job in jobs {
            match job {
                ApplyJob::Apply(more) => {
                    for entry in more {
                        let ends = entry.position.index.is_multiple_of(HASH_EVERY);
                        entries.push(entry);
                        if ends {
                            self.apply_run(id, std::mem::take(&mut entries));
                        }
                    }
                }
                other => {
                    self.apply_run(id, std::mem::take(&mut entries));
                    self.apply_other(id, other);
                }
            }
        }
        self.apply_run(id, entries);
    }

    fn apply_other(&mut self, id: u64, job: ApplyJob) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        match job {
            ApplyJob::Callers(all) => {
                let mut superseded = Vec::new();
                for callers in all {
                    superseded.extend(run.callers.add(callers.position, callers));
                }
                for callers in superseded {
                    self.callers_failed(id, callers, &ProposeError::Superseded);
                }
            }
            ApplyJob::Checkpoint => match run.machine.checkpoint() {
                Ok(applied) => self.input(id, Input::Checkpointed(applied)),
                Err(error) => self.fail(format!("peer {id}: {}", error.0)),
            },
            ApplyJob::Drop(positions) => {
                for position in positions {
                    run.machine.drop_snapshot(position);
                }
            }
            ApplyJob::Apply(_) => {}
        }
    }

    fn apply_run(&mut self, id: u64, entries: Vec<Committed>) {
        let Some(last) = entries.last().map(|e| e.position) else {
            return;
        };
        let spoilt = self.spoil(id, &entries);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.fresh_snapshot = false;
        let Some(run) = peer.run.as_mut() else { return };
        let replies = match run.machine.apply(spoilt) {
            Ok(replies) => replies,
            Err(error) => return self.fail(format!("peer {id}: {}", error.0)),
        };
        for (entry, outcomes) in entries.iter().zip(&replies) {
            self.check_applied(id, entry, outcomes);
        }
        if self.is_full(id, Full::State) {
            self.saw("a disk was full while entries were applied");
            return self.state_write_failed(id);
        }
        if last.index.is_multiple_of(HASH_EVERY) {
            self.check_state(id, last.index);
        }
        self.input(id, Input::Applied { index: last.index });
        self.take_events(id);
        for (entry, outcomes) in entries.iter().zip(replies) {
            self.answer(id, entry.position, outcomes);
        }
    }

    /// Answers the callers of an applied entry.
    fn answer(&mut self, id: u64, position: Position, outcomes: Vec<Outcome>) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let (superseded, callers) = run.callers.applied(position);
        for callers in superseded {
            self.callers_failed(id, callers, &ProposeError::Superseded);
        }
        let tokens = callers.into_iter().flat_map(|callers| callers.tokens);
        for ((token, _), outcome) in tokens.zip(outcomes) {
            self.proposal_applied(id, token, outcome, position.index);
        }
    }

    /// A proposal reached a peer: it goes in, or nothing is done for want of room.
    pub(crate) fn take_proposal(&mut self, id: u64, asked: Asked<Token>) {
        if self.is_above_level(id, &asked.command) {
            self.saw("a command was refused for the level of the cluster");
            return self.proposal_refused(id, asked.token, &ProposeError::NotLeader);
        }
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        if run.in_flight < IN_FLIGHT_MAX {
            run.in_flight += 1;
            return self.input(id, Input::Propose(vec![asked]));
        }
        self.saw("a proposal found the queue full");
        let error = ProposeError::Busy {
            what: "the budget of proposals in flight",
            retry_after_ms: 100,
        };
        self.proposal_refused(id, asked.token, &error);
    }

    /// A proposal that was taken has its answer.
    fn has_answer(&mut self, id: u64, token: &Token) {
        let taken = matches!(
            token,
            Token::Client { .. }
                | Token::End { .. }
                | Token::Hold { .. }
                | Token::Session { only_in: None, .. }
        );
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            run.in_flight = run.in_flight.saturating_sub(usize::from(taken));
        }
    }

    fn proposal_applied(&mut self, id: u64, token: Token, outcome: Outcome, index: u64) {
        self.has_answer(id, &token);
        let outcome = self.told(&token, outcome);
        match token {
            Token::Client { client, attempt } => {
                self.reply(client, attempt, Reply::Outcome { outcome, index });
            }
            Token::End { acks } => {
                let results = match outcome {
                    Outcome::Ended { results, .. } => {
                        results.into_iter().map(|r| r.map(|_| ())).collect()
                    }
                    Outcome::Extended { results, .. } => {
                        results.into_iter().map(|r| r.map(|_| ())).collect()
                    }
                    other => return self.fail(format!("an end was answered by {other:?}")),
                };
                self.reply_ended(EndReply::Applied { acks, results });
            }
            Token::Session { .. } => self.session_answered(id, token, Ok(outcome)),
            Token::Rider { life, term, lease } => {
                self.rider_answered(life, (term, lease), Some(&outcome))
            }
            Token::Hold { number, asked } => self.held(id, number, asked),
            Token::Find { .. } | Token::Admin | Token::Transfer => {}
        }
    }

    fn callers_failed(&mut self, id: u64, callers: Waiting<Token>, error: &ProposeError) {
        if *error == ProposeError::Superseded {
            self.saw("a proposal lost its place to another leader");
        }
        for (token, _) in callers.tokens {
            self.proposal_failed(id, token, error);
        }
    }

    /// A proposal of this peer was not appended, lost its place, or nobody knows.
    pub(crate) fn proposal_failed(&mut self, id: u64, token: Token, error: &ProposeError) {
        if matches!(error, ProposeError::Clock(ClockFault::Ahead { .. })) {
            self.saw("a leader did not stamp for its clock");
        }
        self.has_answer(id, &token);
        self.proposal_refused(id, token, error);
    }

    /// The same of one that was not even taken.
    pub(crate) fn proposal_refused(&mut self, id: u64, token: Token, error: &ProposeError) {
        let certain = *error != ProposeError::Unknown;
        match token {
            Token::Client { client, attempt } => {
                self.reply(client, attempt, Reply::Failed { certain });
            }
            Token::End { acks } => {
                self.reply_ended(EndReply::Failed { acks, certain });
            }
            Token::Session { .. } => self.session_answered(id, token, Err(error.clone())),
            Token::Rider { life, term, lease } => self.rider_answered(life, (term, lease), None),
            Token::Hold { .. } | Token::Find { .. } | Token::Admin | Token::Transfer => {}
        }
    }

    /// A snapshot jumped over entries: whoever waits for them does not learn
    /// their outcome.
    pub(crate) fn jumped(&mut self, id: u64, position: Position) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        for callers in run.callers.jumped(position.index) {
            self.saw("a snapshot jumped over callers");
            self.callers_failed(id, callers, &ProposeError::Unknown);
        }
        self.take_events(id);
    }

    pub(crate) fn flush(&mut self, id: u64) {
        let Some(life) = self.peers.get(&id).map(Peer::life) else {
            return;
        };
        if self.is_full(id, Full::State) {
            return self.state_write_failed(id);
        }
        // A flush takes its time: entries are applied between its cut and its write.
        let is_cut_only = self.one_in(3);
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        if is_cut_only {
            run.machine.machine().state().begin_flush();
            return self.within(1, 400, Event::Flush(life));
        }
        let applied = run.machine.applied().position;
        match run.machine.flusher()() {
            Ok(position) => {
                if position < applied {
                    self.saw("entries were applied between the cut of a flush and its write");
                }
                self.input(id, Input::Flushed(position));
            }
            Err(error) => self.fail(format!("peer {id}: {}", error.0)),
        }
        self.within(200, 3_000, Event::Flush(life));
    }
}
