//! The simulated raft thread and log thread: takes inputs in, steps, does the
//! work in the order that a replica demands.

use raft::eraftpb::{Message, MessageType};
use rand::Rng;
use z4_consensus::clocks::ClockSample;
use z4_consensus::log::{LogStore as _, Position};
use z4_consensus::membership::Membership;
use z4_consensus::replica::{Answer, Input, Persist, Work};
use z4_consensus::status::Role;
use z4_consensus::StopReason;
use z4_delivery::ClockReading;

use crate::check::promises;
use crate::clients::Reply;
use crate::faults::Full;
use crate::peer::{ApplyJob, Group, LogJob, Token};
use crate::world::{Event, World, MS};

impl World {
    pub(crate) fn round(&mut self, id: u64) {
        let now = self.clocks(id);
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        run.round_planned = false;
        // Ticks that do nothing come before what has come meanwhile, and the last one after it.
        let ticks = std::mem::take(&mut run.ticks);
        (1..ticks).for_each(|_| run.replica.step(Input::Tick, now));
        let mut asked = Vec::new();
        for input in std::mem::take(&mut run.inbox) {
            match input {
                // As the raft thread does, all together and last.
                Input::Propose(one) => asked.extend(one),
                input => run.replica.step(input, now),
            }
        }
        let mut stamped_by = None;
        if !asked.is_empty() {
            let asked = self.prepare(id, asked);
            if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
                // The work of this round may commit other members, and a stamp is judged by
                // those that were known when it was made.
                stamped_by = Some(run.replica.membership().clone());
                run.replica.step(Input::Propose(asked), now);
            }
        }
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            if ticks > 0 {
                run.replica.step(Input::Tick, now);
            }
        }
        self.works(id, stamped_by.as_ref());
        self.note_role(id);
    }

    fn works(&mut self, id: u64, stamped_by: Option<&Membership>) {
        loop {
            let peer = self.peers.get_mut(&id);
            let Some(run) = peer.and_then(|p| p.run.as_mut()) else {
                return;
            };
            let Some(work) = run.replica.work() else {
                return;
            };
            if let Some(members) = stamped_by {
                self.check_stamps(id, members, &work.waiting);
            }
            self.work(id, work);
        }
    }

    fn work(&mut self, id: u64, work: Work<Token>) {
        if let Some(reason) = work.stop {
            let is_expected = self.peers.get(&id).is_some_and(|peer| peer.is_too_old);
            if is_expected && matches!(reason, StopReason::Level { .. }) {
                self.die(id);
                return self.too_old_ended(id);
            }
            return self.fail(format!("peer {id} stops: {reason}"));
        }
        for message in work.send {
            let term = self.term_at(id, &message, work.persist.as_ref());
            self.send(id, message, term);
        }
        for answer in work.answers {
            self.answered(id, answer);
        }
        if let Some(members) = &work.members {
            self.members_told(id, members);
        }
        if let Some((position, hard_state)) = work.install {
            if !self.install(id, position, &hard_state) {
                return;
            }
        }
        if let Some(persist) = &work.persist {
            self.check_appended(id, persist.number, &persist.write.entries);
            self.raise_appended(id, &persist.write.entries);
        }
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        run.log_jobs.extend(work.persist.map(LogJob::Persist));
        run.log_jobs.extend(work.cut.map(LogJob::Cut));
        let mut appended = Vec::new();
        if !work.waiting.is_empty() {
            if self.options.planted("ack-before-quorum") {
                appended.extend(work.waiting.iter().map(|w| {
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
        for (position, stamp_ns, tokens) in appended {
            self.ack_appended(position, stamp_ns, tokens);
        }
        self.write_next(id);
        self.plan_apply(id);
    }

    /// Gives the log thread what waits, if it is idle: all in one group, synced
    /// when any write in it wants that.
    pub(crate) fn write_next(&mut self, id: u64) {
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
        let mut group = Group {
            number: run.groups + 1,
            persist: 0,
            sync: false,
            before: log.unsynced(),
        };
        for job in std::mem::take(&mut run.log_jobs) {
            let result = match job {
                LogJob::Persist(mut persist) => {
                    // Synced when the group is done.
                    group.sync |= std::mem::take(&mut persist.write.sync);
                    group.persist = group.persist.max(persist.number);
                    log.write(&persist.write)
                }
                LogJob::Cut(through) => log.cut_through(through),
            };
            if let Err(error) = result {
                return self.fail(format!("peer {id}: {error}"));
            }
        }
        run.groups = group.number;
        run.writing = Some(group);
        if self.is_full(id, Full::Log) {
            return self.log_write_failed(id, group.before);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let stall_ns = std::mem::take(&mut peer.stall_ms) * MS;
        let longest_ns = peer.sync_ms.max(1) * MS;
        let delay_ns = stall_ns + self.rng.gen_range(MS / 5..longest_ns);
        self.at(delay_ns, Event::LogDone(life, group.number));
    }

    pub(crate) fn log_done(&mut self, id: u64, number: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(run) = peer.run.as_mut() else {
            return;
        };
        if let Some(group) = run.writing.take_if(|group| group.number == number) {
            let number = group.persist;
            if group.sync {
                peer.log.sync();
                self.check_synced(id, number);
            }
            self.input(id, Input::Persisted { number });
            self.write_next(id);
        }
    }

    /// The term of the entry at the index of a message, as a peer's replica had it
    /// in the term of the message: to be written with this work, waiting for the
    /// log thread, or written. A message that waited for its write may leave when
    /// the leader of a later term has replaced the entry; the later term stands in
    /// the hard state of a write before that.
    fn term_at(&self, id: u64, message: &Message, persist: Option<&Persist>) -> Option<u64> {
        let peer = self.peers.get(&id)?;
        let (index, term) = (message.index, message.term);
        let waiting = peer.run.iter().flat_map(|run| run.log_jobs.iter());
        let waiting = waiting.filter_map(|job| match job {
            LogJob::Persist(persist) => Some(persist),
            LogJob::Cut(_) => None,
        });
        let is_later = peer.log.hard_state().is_ok_and(|seen| seen.term > term);
        let of_the_term = waiting.chain(persist).take_while(|persist| {
            let hard_state = persist.write.hard_state.as_ref();
            !is_later && hard_state.is_none_or(|hard_state| hard_state.term <= term)
        });
        let reaches = |persist: &&Persist| {
            let first = persist.write.entries.first();
            first.is_some_and(|first| first.index <= index)
        };
        match of_the_term.filter(reaches).last() {
            // Behind its last one nothing is left.
            Some(persist) => {
                let mut entries = persist.write.entries.iter();
                entries.find(|e| e.index == index).map(|e| e.term)
            }
            None => peer.log.term_written(index, term),
        }
    }

    fn send(&mut self, id: u64, message: Message, term: Option<u64>) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        if let Err(broken) = promises::check(&peer.log, &message, term) {
            return self.fail(format!("peer {id}: {broken}"));
        }
        let (life, to) = (peer.life(), message.to);
        // Other messages carry what is no entry of the log: the context of a read.
        if message.get_msg_type() == MessageType::MsgAppend {
            if let Err(broken) = self.checks.matching.are(id, &message.entries) {
                return self.fail(broken);
            }
        }
        if message.get_msg_type() == MessageType::MsgSnapshot {
            let longer_ns = self.rng.gen_range(2..60) * MS;
            let dialled = self.dials(id, to);
            let arrives = dialled.and_then(|_| self.net.call(&mut self.rng, id, to));
            let event = match dialled.zip(arrives) {
                Some((dialled, delay_ns)) => {
                    let event = Event::Snapshot {
                        from: life,
                        to,
                        dialled,
                        message,
                    };
                    return self.at(delay_ns + longer_ns, event);
                }
                None => Event::SnapshotSent {
                    from: life,
                    to,
                    ok: false,
                },
            };
            return self.at(longer_ns, event);
        }
        let Some(dialled) = self.dials(id, to) else {
            if self.one_in(4) {
                self.input(id, Input::Unreachable(to));
            }
            return;
        };
        let clock = self.read_clock(id);
        let sample = self.sample_clock(id, to);
        let [first, second] = self.net.fate(&mut self.rng, id, to);
        if let Some(delay_ns) = second {
            let message = message.clone();
            let event = Event::Deliver {
                from: id,
                to,
                dialled,
                message,
                clock,
                sample,
            };
            self.at(delay_ns, event);
        }
        if let Some(delay_ns) = first {
            let event = Event::Deliver {
                from: id,
                to,
                dialled,
                message,
                clock,
                sample,
            };
            self.at(delay_ns, event);
        }
    }

    /// A message arrives, and with it what the clock of a leader showed, and what its sender
    /// says to have clocks compared.
    pub(crate) fn deliver(
        &mut self,
        from: u64,
        (to, dialled): (u64, u64),
        message: Message,
        (clock, sample): (Option<ClockReading>, Option<ClockSample>),
    ) {
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
        let there = self.is_at(to, dialled) && !self.is_refused(from, to);
        let run = self.peers.get(&to).and_then(|p| p.run.as_ref());
        let Some(run) = run.filter(|_| there) else {
            if self.one_in(4) {
                self.input(from, Input::Unreachable(to));
            }
            return;
        };
        // A transport tells a removed peer so.
        if run.replica.membership().removed.contains(&from) {
            let asks = matches!(
                message.get_msg_type(),
                MessageType::MsgRequestVote | MessageType::MsgRequestPreVote
            );
            if asks {
                self.saw("a removed member asked for votes");
            }
            return self.within(1, 20, Event::ToldRemoved(from));
        }
        self.heard_from(from, to, dialled);
        if let Some(sample) = sample {
            self.hear_sample(from, to, &sample);
        }
        self.input(to, Input::Message { from, message });
        if let Some(reading) = clock {
            self.hear_clock(to, reading);
        }
    }

    pub(crate) fn deliver_snapshot(
        &mut self,
        from: (u64, u64),
        to: u64,
        dialled: u64,
        message: Message,
    ) {
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
        let there = self.is_at(to, dialled);
        let target = self.peers.get(&to).filter(alive).filter(|_| there);
        // The stream of an earlier life of the receiver has ended.
        let target = target.filter(|_| !self.is_refused(from.0, to));
        let ok = match (source.filter(alive), target) {
            (Some(source), Some(target)) => source
                .state
                .snapshots
                .carry(&target.state.incoming, position),
            _ => false,
        };
        if !self.lives(from) {
            self.saw("the sender of a snapshot crashed");
        }
        if ok {
            let from = from.0;
            self.input(to, Input::Snapshot { from, message });
        }
        let delay_ns = self.net.delay(&mut self.rng);
        self.at(delay_ns, Event::SnapshotSent { from, to, ok });
    }

    /// A peer that hears of no leader dials one of the others, who may know that
    /// it was removed: a learner says nothing by itself.
    pub(crate) fn dial(&mut self, id: u64) {
        let others: Vec<u64> = self.up().into_iter().filter(|o| *o != id).collect();
        let Some(other) = self.one_of(&others) else {
            return;
        };
        let run = self.peers.get(&other).and_then(|p| p.run.as_ref());
        let removed = run.is_some_and(|run| run.replica.membership().removed.contains(&id));
        if removed && self.net.open(id, other) && self.net.open(other, id) {
            self.within(1, 20, Event::ToldRemoved(id));
        }
    }

    fn answered(&mut self, id: u64, answer: Answer<Token>) {
        match answer {
            Answer::Propose(token, error) => self.proposal_failed(id, token, &error),
            Answer::Admin(token, result) => self.admin_answered(id, &token, &result),
            Answer::Read(Token::Client { client, attempt }, result) => match result {
                // Read here and now, whatever the answer's way takes.
                Ok(index) => self.client_read(id, client, attempt, index),
                Err(_) => self.reply(client, attempt, Reply::Failed { certain: true }),
            },
            Answer::Read(token, result) => self.find_read(id, token, result.is_ok()),
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
        let hands_over = run.replica.handing_over_for_clock().is_some();
        let is_new = hands_over && !std::mem::replace(&mut run.hands_over, hands_over);
        let glance = run.replica.glance();
        if is_new {
            self.saw("a leader handed over for its clock");
        }
        if glance.role == Role::Removed {
            return self.peer_removed(id);
        }
        if glance.role == Role::Leader {
            match self.checks.elections.leads(glance.term, id) {
                Err(broken) => return self.fail(broken),
                Ok(true) => {
                    self.report.leaders += 1;
                    self.check_leader(id, glance.term);
                }
                Ok(false) => {}
            }
        }
        self.lead(id, glance.role == Role::Leader && glance.leader_ready);
    }
}
