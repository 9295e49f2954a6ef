//! The simulated apply and flush threads.

use std::collections::VecDeque;

use rand::Rng;
use z4_consensus::log::Position;
use z4_consensus::machine::{Committed, StateMachine as _};
use z4_consensus::replica::{Input, Waiting};
use z4_core::{Command, Outcome};
use z4_proto::command::{decode_command, encode_command};

use crate::clients::Reply;
use crate::options::Bug;
use crate::peer::{ApplyJob, Token};
use crate::world::{Event, World, MS};

/// Runs end at multiples of this index, where state hashes are compared.
const HASH_EVERY: u64 = 16;

impl World {
    pub(crate) fn plan_apply(&mut self, id: u64) {
        let delay_ns = self.rng.gen_range(MS / 20..3 * MS);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        if let Some(run) = peer.run.as_mut() {
            if !run.apply_planned && !run.apply_jobs.is_empty() {
                run.apply_planned = true;
                self.at(delay_ns, Event::Apply(life));
            }
        }
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
                        let ends = entry.position.index % HASH_EVERY == 0;
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
        self.dispatch(id);
    }

    fn apply_other(&mut self, id: u64, job: ApplyJob) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        match job {
            ApplyJob::Callers(callers) => {
                let mut superseded = Vec::new();
                for new in callers {
                    let index = new.position.index;
                    while run
                        .waiting
                        .back()
                        .is_some_and(|w| w.position.index >= index)
                    {
                        superseded
                            .extend(run.waiting.pop_back().into_iter().flat_map(|w| w.tokens));
                    }
                    run.waiting.push_back(new);
                }
                for (token, _) in superseded {
                    self.proposal_failed(id, token);
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
        let bug = self.options.bug;
        let run: Vec<_> = entries
            .iter()
            .map(|entry| spoil(bug, id, entry.clone()))
            .collect();
        let Some(running) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let replies = match running.machine.apply(run) {
            Ok(replies) => replies,
            Err(error) => return self.fail(format!("peer {id}: {}", error.0)),
        };
        for (entry, outcomes) in entries.iter().zip(&replies) {
            if let Err(broken) = self.checks.applied(id, entry, outcomes) {
                return self.fail(broken);
            }
        }
        if last.index % HASH_EVERY == 0 {
            let state = running.machine.machine().state();
            if let Err(broken) = self.checks.state(id, last.index, state) {
                return self.fail(broken);
            }
        }
        self.input(id, Input::Applied { index: last.index });
        self.take_events(id);
        for (entry, outcomes) in entries.iter().zip(replies) {
            self.answer(id, entry.position, outcomes);
        }
    }

    /// Answers the callers of an applied entry.
    fn answer(&mut self, id: u64, position: Position, outcomes: Vec<Outcome>) {
        let mut answers = Vec::new();
        let mut lost = Vec::new();
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        while let Some(waiting) = next_caller(&mut run.waiting, position) {
            let tokens = waiting.tokens.into_iter().map(|(token, _)| token);
            if waiting.position == position {
                answers.extend(tokens.zip(outcomes));
                break;
            }
            lost.extend(tokens);
        }
        for token in lost {
            self.proposal_failed(id, token);
        }
        for (token, outcome) in answers {
            self.proposal_applied(id, token, outcome, position.index);
        }
    }

    fn proposal_applied(&mut self, id: u64, token: Token, outcome: Outcome, index: u64) {
        match (token, outcome) {
            (Token::Create { client, attempt }, Outcome::Created(tasks)) => {
                let ids = tasks.iter().map(|t| t.id).collect();
                self.reply(id, client, attempt, Reply::Created { ids, index });
            }
            (Token::Create { client, attempt }, Outcome::Refused(refusal)) => {
                self.reply(id, client, attempt, Reply::Failed);
                self.fail(format!("a create was refused: {refusal}"));
            }
            (Token::Ack { life, tasks }, Outcome::Ended { .. }) => {
                let ids = tasks.into_iter().map(|(task, _)| task).collect();
                self.reply_acked(id, life, Some(ids));
            }
            (Token::Pulse, Outcome::Pulsed { .. }) => {
                if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
                    run.dispatcher.on_pulse_done();
                }
            }
            // An extend, whose holder goes on as before: it learns nothing.
            (Token::Ack { .. }, Outcome::Extended { .. }) => {}
            (_, Outcome::Refused(refusal)) => self.fail(format!("refused: {refusal}")),
            _ => {}
        }
    }

    /// A proposal of this peer was not appended, or lost its place.
    pub(crate) fn proposal_failed(&mut self, id: u64, token: Token) {
        match token {
            Token::Create { client, attempt } => self.reply(id, client, attempt, Reply::Failed),
            Token::Lease { namespace, takers } => {
                if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
                    run.dispatcher.on_lease_failed(&namespace, &takers);
                }
            }
            Token::Ack { life, .. } => self.reply_acked(id, life, None),
            Token::Pulse | Token::Read { .. } | Token::Admin => {}
        }
    }

    /// A snapshot jumped over entries; whose callers wait for them does not
    /// learn their outcome.
    pub(crate) fn installed(&mut self, id: u64, position: Position) {
        let mut lost = Vec::new();
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            while let Some(waiting) = next_caller(&mut run.waiting, position) {
                lost.extend(waiting.tokens);
            }
        }
        for (token, _) in lost {
            self.proposal_failed(id, token);
        }
        self.take_events(id);
    }

    pub(crate) fn flush(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        let Some(run) = peer.run.as_mut() else {
            return;
        };
        match run.machine.flusher()() {
            Ok(position) => self.input(id, Input::Flushed(position)),
            Err(error) => self.fail(format!("peer {id}: {}", error.0)),
        }
        self.within(50, 600, Event::Flush(life));
    }

    /// [`Bug::AcksBeforeCommit`]: answers creates that are only appended.
    pub(crate) fn ack_uncommitted(
        &mut self,
        id: u64,
        position: Position,
        stamp_ns: u64,
        tokens: Vec<(Token, u32)>,
    ) {
        for (token, unit) in tokens {
            if let Token::Create { client, attempt } = token {
                let ids = vec![z4_core::TaskId::new(stamp_ns, position.index, unit)];
                let index = position.index;
                self.reply(id, client, attempt, Reply::Created { ids, index });
            }
        }
    }
}

/// The first of the callers that wait at or before a position.
fn next_caller(
    waiting: &mut VecDeque<Waiting<Token>>,
    position: Position,
) -> Option<Waiting<Token>> {
    let first = waiting.front()?;
    (first.position.index <= position.index)
        .then(|| waiting.pop_front())
        .flatten()
}

/// What a faulty machine would make of an entry.
fn spoil(bug: Option<Bug>, id: u64, mut entry: Committed) -> Committed {
    let Some(bug) = bug else { return entry };
    let mut early = false;
    for bytes in &mut entry.commands {
        let Ok(command) = decode_command(bytes) else {
            continue;
        };
        let spoilt = match (bug, command) {
            (Bug::LeasesEarly, Command::LeaseTasks(_)) => {
                early = true;
                continue;
            }
            (Bug::ForgetsRequests, Command::CreateTasks(mut create)) => {
                create.request_id.clear();
                Command::CreateTasks(create)
            }
            (Bug::OnePeerSkipsAcks, Command::AckTasks(_)) if id == 2 => Command::Pulse,
            (Bug::AcksOnlyRelease, Command::AckTasks(refs)) => Command::ReleaseTasks(refs),
            _ => continue,
        };
        *bytes = encode_command(&spoilt);
    }
    if early {
        entry.stamp_ns += 3_000 * MS;
    }
    entry
}
