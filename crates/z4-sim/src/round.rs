//! The simulated raft thread: takes inputs in, steps, does the work in the
//! order that a replica demands.

use raft::eraftpb::{HardState, Message, MessageType};
use rand::Rng;
use z4_consensus::log::{LogStore as _, Position};
use z4_consensus::machine::StateMachine as _;
use z4_consensus::replica::{Answer, Input, Work};
use z4_consensus::status::Role;

use crate::check::promises;
use crate::clients::Reply;
use crate::options::Bug;
use crate::peer::{ApplyJob, LogJob, Token};
use crate::world::{Event, World, MS};

impl World {
    pub(crate) fn round(&mut self, id: u64) {
        let now = self.clocks(id);
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        run.round_planned = false;
        for input in std::mem::take(&mut run.inbox) {
            run.replica.step(input, now);
        }
        self.works(id);
        self.note_role(id);
    }

    fn works(&mut self, id: u64) {
        loop {
            let peer = self.peers.get_mut(&id);
            let Some(run) = peer.and_then(|p| p.run.as_mut()) else {
                return;
            };
            let Some(work) = run.replica.work() else {
                return;
            };
            self.work(id, work);
        }
    }

    fn work(&mut self, id: u64, work: Work<Token>) {
        if let Some(reason) = work.stop {
            return self.fail(format!("peer {id} stops: {reason}"));
        }
        for message in work.send {
            self.send(id, message);
        }
        for answer in work.answers {
            self.answered(id, answer);
        }
        if let Some((position, hard_state)) = work.install {
            if !self.install(id, position, &hard_state) {
                return;
            }
        }
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let mut early = None;
        if let Some(persist) = work.persist {
            early = Some(persist.number);
            run.log_jobs.push_back(LogJob::Persist(persist));
        }
        run.log_jobs.extend(work.cut.map(LogJob::Cut));
        let mut acked = Vec::new();
        if !work.waiting.is_empty() {
            if self.options.bug == Some(Bug::AcksBeforeCommit) {
                acked.extend(work.waiting.iter().map(|w| {
                    let tokens = w.tokens.clone();
                    (w.position, w.stamp_ns, tokens)
                }));
            }
            run.apply_jobs.push_back(ApplyJob::Callers(work.waiting));
        }
        if !work.apply.is_empty() {
            run.apply_jobs.push_back(ApplyJob::Apply(work.apply));
        }
        if work.checkpoint {
            run.apply_jobs.push_back(ApplyJob::Checkpoint);
        }
        if !work.drop_snapshots.is_empty() {
            run.apply_jobs
                .push_back(ApplyJob::Drop(work.drop_snapshots));
        }
        for (position, stamp_ns, tokens) in acked {
            self.ack_uncommitted(id, position, stamp_ns, tokens);
        }
        if let Some(number) = early.filter(|_| self.bug(Bug::SendsBeforeSync)) {
            self.input(id, Input::Persisted { number });
        }
        self.write_next(id);
        self.plan_apply(id);
    }

    /// Gives the log thread what waits, if it is idle: all in one group.
    pub(crate) fn write_next(&mut self, id: u64) {
        let slow = self.options.chaos && self.healed_at_ns.is_none();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let (life, log) = (peer.life(), &peer.log);
        let Some(run) = peer.run.as_mut() else {
            return;
        };
        if run.writing.is_some() || run.log_jobs.is_empty() {
            return;
        }
        let mut last = 0;
        for job in std::mem::take(&mut run.log_jobs) {
            let result = match job {
                LogJob::Persist(mut persist) => {
                    // Synced when the group is done.
                    persist.write.sync = false;
                    last = last.max(persist.number);
                    log.write(&persist.write)
                }
                LogJob::Cut(through) => log.cut_through(through),
            };
            if let Err(error) = result {
                return self.fail(format!("peer {id}: {error}"));
            }
        }
        run.group += 1;
        run.writing = Some((run.group, last));
        let group = run.group;
        let longest_ms = match self.rng.gen_range(0..100) {
            0 if slow => 400,
            1..=9 if slow => 40,
            _ => 4,
        };
        let delay_ns = self.rng.gen_range(MS / 5..longest_ms * MS);
        self.at(delay_ns, Event::LogDone(life, group));
    }

    pub(crate) fn log_done(&mut self, id: u64, group: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(run) = peer.run.as_mut() else {
            return;
        };
        if let Some((_, number)) = run.writing.take_if(|(writing, _)| *writing == group) {
            peer.log.sync();
            self.input(id, Input::Persisted { number });
            self.write_next(id);
        }
    }

    /// Switches a snapshot in: all that was asked of log and machine first, then
    /// the machine, then the log. `false` when power was lost on the way.
    fn install(&mut self, id: u64, position: Position, hard_state: &HardState) -> bool {
        self.trace
            .note(self.now_ns, format_args!("install {id} {position:?}"));
        self.apply(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let Some(run) = peer.run.as_mut() else {
            return false;
        };
        let mut done = None;
        let result = loop {
            // The group under way, and what waits behind it.
            if let Some((_, number)) = run.writing.take() {
                done = done.max(Some(number));
            }
            let Some(job) = run.log_jobs.pop_front() else {
                peer.log.sync();
                break Ok(());
            };
            let result = match job {
                LogJob::Persist(persist) => {
                    done = done.max(Some(persist.number));
                    peer.log.write(&persist.write)
                }
                LogJob::Cut(through) => peer.log.cut_through(through),
            };
            if result.is_err() {
                break result;
            }
        };
        if let Err(error) = result {
            self.fail(format!("peer {id}: {error}"));
            return false;
        }
        if let Err(error) = run.machine.install(position) {
            self.fail(format!("peer {id}: {}", error.0));
            return false;
        }
        let applied = run.machine.applied().clone();
        self.report.installs += 1;
        self.installed(id, position);
        let between = self.options.chaos && self.healed_at_ns.is_none();
        if between && self.rng.gen_range(0..5) == 0 {
            self.crash(id);
            self.within(50, 1_000, Event::Restart(id));
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

    fn send(&mut self, id: u64, message: Message) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if let Err(broken) = promises::check(&peer.log, &message) {
            return self.fail(format!("peer {id}: {broken}"));
        }
        let (life, to) = (peer.life(), message.to);
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let longer_ns = self.rng.gen_range(2..60) * MS;
            let arrives = self.net.fate(&mut self.rng, id, to).first().copied();
            let event = Event::Snapshot {
                from: life,
                to,
                message,
            };
            return match arrives {
                Some(delay_ns) => self.at(delay_ns + longer_ns, event),
                None => self.at(
                    longer_ns,
                    Event::SnapshotSent {
                        from: life,
                        to,
                        ok: false,
                    },
                ),
            };
        }
        for delay_ns in self.net.fate(&mut self.rng, id, to) {
            let message = message.clone();
            self.at(
                delay_ns,
                Event::Deliver {
                    from: id,
                    to,
                    message,
                },
            );
        }
    }

    pub(crate) fn deliver(&mut self, from: u64, to: u64, message: Message) {
        self.trace.note(
            self.now_ns,
            format_args!(
                "{from}->{to} {:?} term {} index {} commit {} entries {} reject {}",
                message.get_msg_type(),
                message.term,
                message.index,
                message.commit,
                message.entries.len(),
                message.reject
            ),
        );
        let Some(run) = self.peers.get(&to).and_then(|p| p.run.as_ref()) else {
            if self.rng.gen_range(0..4) == 0 {
                self.input(from, Input::Unreachable(to));
            }
            return;
        };
        // A transport tells a removed peer so.
        if run.replica.status().membership.removed.contains(&from) {
            return self.within(1, 20, Event::ToldRemoved(from));
        }
        self.input(to, Input::Message { from, message });
    }

    pub(crate) fn deliver_snapshot(&mut self, from: (u64, u64), to: u64, message: Message) {
        let metadata = message.get_snapshot().get_metadata();
        let position = Position {
            index: metadata.index,
            term: metadata.term,
        };
        self.trace.note(
            self.now_ns,
            format_args!("{from:?}->{to} snapshot {position:?}"),
        );
        let alive = |peer: &&crate::peer::Peer| peer.run.is_some();
        let source = self.peers.get(&from.0).filter(|p| p.life() == from);
        let target = self.peers.get(&to).filter(alive);
        let ok = match (source.filter(alive), target) {
            (Some(source), Some(target)) => source
                .state
                .snapshots
                .carry(&target.state.incoming, position),
            _ => false,
        };
        if ok {
            self.input(
                to,
                Input::Snapshot {
                    from: from.0,
                    message,
                },
            );
        }
        let delay_ns = self.net.delay(&mut self.rng);
        self.at(delay_ns, Event::SnapshotSent { from, to, ok });
    }

    /// A peer that hears of no leader dials one of the others, who may know that
    /// it was removed: a learner says nothing by itself.
    pub(crate) fn dial(&mut self, id: u64) {
        let others: Vec<u64> = self.up().into_iter().filter(|o| *o != id).collect();
        if others.is_empty() {
            return;
        }
        let other = others[self.rng.gen_range(0..others.len())];
        let run = self.peers.get(&other).and_then(|p| p.run.as_ref());
        let removed = run.is_some_and(|run| run.replica.status().membership.removed.contains(&id));
        if removed && self.net.open(id, other) && self.net.open(other, id) {
            self.within(1, 20, Event::ToldRemoved(id));
        }
    }

    fn answered(&mut self, id: u64, answer: Answer<Token>) {
        match answer {
            Answer::Propose(token, _) => self.proposal_failed(id, token),
            Answer::Admin(_, result) => {
                let said = match &result {
                    Ok(()) => "done".to_owned(),
                    Err(error) => error.to_string(),
                };
                self.trace
                    .note(self.now_ns, format_args!("admin at {id}: {said}"));
                if result.is_ok() {
                    self.report.changes += 1;
                }
            }
            Answer::Read(Token::Read { client, attempt }, result) => {
                let reply = match result {
                    Ok(index) => Reply::Read { peer: id, index },
                    Err(_) => Reply::Failed,
                };
                // Read here and now, whatever the answer's way takes.
                self.client_read(client, attempt, &reply);
            }
            Answer::Read(..) => {}
        }
    }

    fn note_role(&mut self, id: u64) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        for (from, refused) in run.replica.take_refused() {
            self.trace
                .note(self.now_ns, format_args!("{id} refuses {from}: {refused}"));
        }
        let status = run.replica.status();
        if status.role == Role::Removed {
            let Some(peer) = self.peers.get_mut(&id) else {
                return;
            };
            peer.run = None;
            peer.gone = true;
            return self
                .trace
                .note(self.now_ns, format_args!("{id} is removed"));
        }
        let leads = status.role == Role::Leader && status.leader_ready;
        if status.role == Role::Leader {
            match self.checks.leader(status.term, id) {
                Err(broken) => return self.fail(broken),
                Ok(new) => self.report.leaders += u64::from(new),
            }
        }
        self.lead(id, leads);
    }
}
