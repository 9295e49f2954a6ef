//! The pure replica: step(input, now) -> work.
//!
//! A [`Replica`] wraps a raft-rs node. The shell around it feeds it [`Input`]s and does
//! the [`Work`] it asks for: a production runtime on several threads, a simulator on
//! one. The replica has no thread, no clock, no IO except reads of the log, and all its
//! randomness comes from the seed, so the same inputs give the same work.
//!
//! Path of a command, at the leader: [`Input::Propose`] packs it into an entry, stamps
//! and appends it ([`Work::waiting`] says where it stands); the next [`Work`] sends the
//! entry and asks to persist it, both at once; [`Input::Persisted`] counts the leader's
//! own copy, [`Input::Message`] those of others; once a quorum has it, [`Work::apply`]
//! hands it to the machine, and [`Input::Applied`] says that it is done (Raft thesis,
//! sections 3.5 and 10.2.1).

mod addresses;
mod changes;
mod clock;
mod heard;
mod input;
mod levels;
mod log_view;
mod proposing;
mod reads;
mod ready;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{HardState, Message, MessageType};
use raft::{RawNode, SnapshotStatus, StateRole};

pub use input::{Answer, Input, Now, Persist, Waiting, Work};

use crate::error::{ProposeError, StartError, StopReason};
use crate::gate::{Gate, Refused};
use crate::level::{SaidLevels, UnknownLevel};
use crate::limits;
use crate::log::{LogStore, Position};
use crate::machine::Applied;
use crate::membership::Membership;
use crate::planted::planted;
use addresses::Addresses;
use changes::Changes;
use clock::Clock;
use heard::Heard;
use log_view::LogView;
use reads::Reads;

/// Settings of a replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// The number the log gave this peer.
    pub raft_id: u64,
    /// `host:port` at which others reach this peer. When it leads it puts this
    /// address into the log if the members have another one. Empty: the shell
    /// has no addresses, and none is compared.
    pub address: String,
    /// The levels that this binary knows, and whether this peer holds that of the cluster.
    pub own: SaidLevels,
    /// Draws the election time-outs.
    pub seed: u64,
    /// Entries that stay in the log for followers that lag.
    pub log_keep_entries: u64,
    /// The clock of a leader may be so many nanoseconds ahead of a majority's;
    /// [`CLOCK_OFFSET_MAX`](limits::CLOCK_OFFSET_MAX) unless set otherwise.
    pub max_clock_offset_ns: u64,
}

/// A write that is not yet known to be durable, and what must wait for it.
struct Outstanding {
    number: u64,
    /// First entry of the write, if it has entries.
    first_index: Option<u64>,
    /// The term that it makes durable.
    term: u64,
    writes: bool,
    /// Votes and acknowledgements that promise what the write makes true.
    messages: Vec<Message>,
}

/// One member of a Raft group.
pub struct Replica<L: LogStore, P> {
    config: Config,
    raw: RawNode<LogView<L>>,
    now: Now,
    /// The members as of the last committed entry.
    membership: Membership,
    applied_index: u64,
    /// Greatest stamp of the log, and of what was applied before it.
    stamp_ns: u64,
    /// First index of this peer's own term, while it leads.
    lead_from: Option<u64>,
    /// Last entry whose commit the other members are told of at once.
    told_at_once: u64,
    /// Part of the election time-out: how often this peer has campaigned.
    campaigns: u64,
    removed: bool,
    outstanding: VecDeque<Outstanding>,
    /// The term of the hard state on stable storage.
    durable_term: u64,
    /// Number of the Ready whose snapshot is being installed.
    installing: Option<u64>,
    /// Installed, but not yet told to raft-rs: applied up to here.
    installed_index: Option<u64>,
    /// A hard state of which only the commit index has moved: it goes with the next
    /// write.
    carried: Option<HardState>,
    /// It has waited for a tick: write it on its own.
    carried_long: bool,
    /// A change of members was committed: the commit index is synced at once.
    members_committed: bool,
    reads: Reads<P>,
    heard: Heard,
    addresses: Addresses,
    said: levels::Said,
    clock: Clock,
    changes: Changes<P>,
    /// Snapshots on their way, by receiver.
    sending: Vec<(u64, Position)>,
    snapshots: Vec<Position>,
    checkpoint_asked: bool,
    flushed: Position,
    space_low: bool,
    /// Mean size of a log entry, for keeping the log within bytes.
    entry_bytes_mean: u64,
    /// What the next [`work`](Self::work) returns besides a Ready.
    work: Work<P>,
    /// Messages that the gate refused, by reason; taken by the shell.
    refused: Vec<(u64, Refused)>,
}

impl<L: LogStore, P> std::fmt::Debug for Replica<L, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("status", &self.status())
            .finish()
    }
}

impl<L: LogStore, P> Replica<L, P> {
    /// A replica over a log, with what its machine has applied.
    ///
    /// # Errors
    /// [`StartError`] when log and machine do not fit each other: the peer must not
    /// start.
    pub fn new(
        config: Config,
        log: Arc<L>,
        applied: &Applied,
        logger: &slog::Logger,
    ) -> Result<Self, StartError> {
        let position = applied.position;
        let (level, levels) = (applied.membership.level, config.own.levels);
        if level > 0 && !levels.include(level) {
            return Err(UnknownLevel { level, levels }.into());
        }
        let hard_state = log.hard_state()?;
        let (cut, last) = (log.cut()?, log.last()?);
        if position.index > hard_state.commit || position.index < cut.index {
            return Err(StartError::Apart {
                state: position.index,
                cut: cut.index,
                commit: hard_state.commit,
            });
        }
        let logged_ns = proposing::greatest_stamp(&*log, cut, last)?;
        let stamp_ns = logged_ns.max(applied.stamp_ns);
        let view = LogView::open(log, applied.membership.conf_state())?;
        let raft_config = raft::Config {
            id: config.raft_id,
            election_tick: limits::ELECTION_TICKS,
            heartbeat_tick: limits::HEARTBEAT_TICKS,
            applied: position.index,
            max_size_per_msg: limits::APPEND_BYTES_MAX,
            max_inflight_msgs: limits::APPEND_INFLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            min_election_tick: limits::ELECTION_TICKS,
            max_election_tick: 2 * limits::ELECTION_TICKS,
            read_only_option: raft::ReadOnlyOption::Safe,
            // Off: raft-rs appends entries to an empty message that stands at
            // another index, and grows one message beyond any bound.
            batch_append: false,
            max_uncommitted_size: limits::UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: limits::COMMITTED_BYTES_PER_READY_MAX,
            ..raft::Config::default()
        };
        let raw = RawNode::new(&raft_config, view, logger)?;
        let mut replica = Self {
            raw,
            now: Now::default(),
            membership: applied.membership.clone(),
            applied_index: position.index,
            stamp_ns,
            lead_from: None,
            told_at_once: 0,
            campaigns: 0,
            removed: applied.membership.removed.contains(&config.raft_id),
            outstanding: VecDeque::new(),
            durable_term: hard_state.term,
            installing: None,
            installed_index: None,
            carried: None,
            carried_long: false,
            members_committed: false,
            reads: Reads::new(config.raft_id),
            heard: Heard::default(),
            addresses: Addresses::default(),
            said: levels::Said::new(config.raft_id, config.own.clone()),
            clock: Clock::new(config.max_clock_offset_ns),
            changes: Changes::default(),
            sending: Vec::new(),
            snapshots: Vec::new(),
            checkpoint_asked: false,
            flushed: position,
            space_low: false,
            entry_bytes_mean: 256,
            work: Work::default(),
            refused: Vec::new(),
            config,
        };
        replica.set_election_timeout();
        replica.limit_clock();
        // A single voter need not wait for anybody.
        let alone = replica.membership.voter_count() == 1
            && replica
                .membership
                .members
                .get(&replica.config.raft_id)
                .is_some_and(|m| m.voter);
        if alone {
            replica.raw.campaign()?;
        }
        Ok(replica)
    }

    /// Takes one input in. Follow one or several by [`work`](Self::work).
    pub fn step(&mut self, input: Input<P>, now: Now) {
        self.now = now;
        self.reads.set_now(now.monotonic_ns);
        if self.removed {
            return self.step_removed(input);
        }
        let log = &self.raw.raft.raft_log;
        let (committed, last) = (log.committed, log.last_index());
        self.raw
            .raft
            .skip_bcast_commit(self.told_at_once <= committed);
        let is_of_tasks = is_of_tasks(&input);
        match input {
            Input::Tick => self.tick(),
            Input::Propose(asked) => self.propose(asked),
            Input::Change(change, token) => self.propose_change(change, token),
            Input::Transfer(to, token) => self.transfer(to, token),
            Input::Read { deadline_ns, token } => self.reads.ask(deadline_ns, token),
            Input::Message { from, message } => self.message(from, message, false),
            Input::Snapshot { from, message } => self.message(from, message, true),
            Input::Persisted { number } => self.persisted(number),
            Input::Applied { index } => self.applied(index),
            Input::Flushed(position) => self.flushed(position),
            Input::SpaceLow(low) => self.space_low = low,
            Input::Checkpointed(applied) => self.checkpointed(applied),
            Input::Installed(applied) => self.installed(applied),
            Input::Unreachable(to) => self.raw.report_unreachable(to),
            Input::SnapshotSent { to, ok } => self.snapshot_sent(to, ok),
            Input::WasRemoved => self.become_removed(),
            Input::MemberAt { raft_id, address } => self.member_at(raft_id, address),
            Input::ReachedAt { raft_id, address } => self.reached_at(raft_id, address),
            Input::SaidLevels { raft_id, said } => self.said_levels(raft_id, said),
            Input::Clock { raft_id, measured } => self.clock_measured(raft_id, measured),
        }
        let last_now = self.raw.raft.raft_log.last_index();
        if last_now > last && !is_of_tasks {
            self.told_at_once = last_now;
        }
        self.set_election_timeout();
    }

    /// Gives how many ticks there are until one of them does something, as things stand: 1
    /// or more, and [`limits::QUIET_TICKS_MAX`] at most. A shell may sleep for so many and
    /// step the ticks that have passed when it wakes, before what came meanwhile.
    #[must_use]
    pub fn ticks_to_next(&self) -> u64 {
        let raft = &self.raw.raft;
        let is_waiting =
            !self.reads.is_empty() || self.changes.is_handing_over() || self.carried.is_some();
        let is_waiting = is_waiting || self.has_wrong_clock();
        let ticks = match raft.state {
            _ if self.removed => usize::MAX,
            _ if is_waiting => 1,
            StateRole::Leader => {
                let to_heartbeat = raft
                    .heartbeat_timeout()
                    .saturating_sub(raft.heartbeat_elapsed());
                // The leader checks its quorum once in an election time-out, by a tick too.
                to_heartbeat.min(limits::ELECTION_TICKS.saturating_sub(raft.election_elapsed))
            }
            _ => raft
                .randomized_election_timeout()
                .saturating_sub(raft.election_elapsed),
        };
        (ticks as u64).clamp(1, limits::QUIET_TICKS_MAX)
    }

    /// The members, as of the committed log.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Messages that the gate has refused since the last call, with the raft id
    /// of their stream.
    pub fn take_refused(&mut self) -> Vec<(u64, Refused)> {
        std::mem::take(&mut self.refused)
    }

    /// This peer, and members heard of within minutes.
    fn is_remembered(&self, raft_id: u64) -> bool {
        let span_ns = limits::REMEMBERED.as_nanos() as u64;
        let now_ns = self.now.monotonic_ns;
        raft_id == self.config.raft_id || self.heard.within(raft_id, now_ns, span_ns)
    }

    fn leads(&self) -> bool {
        !self.removed && self.raw.raft.state == StateRole::Leader
    }

    /// Entries of the log are on their way to stable storage.
    fn writes(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.persisted < log.last_index()
    }

    fn tick(&mut self) {
        let raft = &self.raw.raft;
        // A single voter elects itself on the spot, and raft-rs asserts that
        // all of its log is durable then.
        let alone = self.membership.voter_count() == 1;
        if raft.state == StateRole::Leader || !(self.writes() && alone) {
            self.raw.tick();
        }
        self.reads.tick();
        self.tick_changes();
        self.mind_clock();
        self.correct_addresses();
        self.promote_learners();
        self.raise_level();
        self.plan_cut();
        self.carried_long = true;
    }

    /// raft-rs draws election time-outs from a thread's random numbers. Here
    /// they are a function of seed, term and number of campaigns, set again
    /// after every step, whether or not raft-rs has drawn.
    fn set_election_timeout(&mut self) {
        let mix = self.config.seed
            ^ self.raw.raft.term.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ self.campaigns.wrapping_mul(0xbf58_476d_1ce4_e5b9)
            ^ self.config.raft_id.wrapping_mul(0x94d0_49bb_1331_11eb);
        let spread = limits::ELECTION_TICKS as u64;
        let timeout = limits::ELECTION_TICKS as u64 + splitmix(mix) % spread;
        self.raw
            .raft
            .set_randomized_election_timeout(timeout as usize);
    }

    fn message(&mut self, from: u64, message: Message, with_snapshot: bool) {
        let raft = &self.raw.raft;
        let gate = Gate {
            raft_id: self.config.raft_id,
            term: raft.term,
            last_index: raft.raft_log.last_index(),
            leads: raft.state == StateRole::Leader,
            writes: self.writes(),
            membership: &self.membership,
        };
        if let Err(refused) = gate.admit(from, &message, with_snapshot) {
            if matches!(refused, Refused::LogLost(_)) {
                self.work.stop = Some(StopReason::LogLost(refused.clone()));
            }
            // Bounded: the shell takes them after each round.
            if self.refused.len() < 64 {
                self.refused.push((from, refused));
            }
            return;
        }
        if self.membership.members.contains_key(&from) {
            let kind = message.get_msg_type();
            self.heard.note(from, kind, self.now.monotonic_ns);
        }
        let before = self.raw.raft.state;
        // raft-rs drops what it refuses; nothing has to be done about it.
        let _ = self.raw.step(message);
        self.note_campaign(before);
    }

    fn note_campaign(&mut self, before: StateRole) {
        let campaigns = |s| matches!(s, StateRole::Candidate | StateRole::PreCandidate);
        if campaigns(self.raw.raft.state) && !campaigns(before) {
            self.campaigns += 1;
        }
    }

    fn applied(&mut self, index: u64) {
        self.applied_index = self.applied_index.max(index);
        // A notice from before a snapshot: raft-rs takes that for applied only
        // once what came with it is durable.
        if self.installed_index.is_none() {
            self.raw.advance_apply_to(self.applied_index);
        }
        self.finish_changes();
    }

    fn checkpointed(&mut self, applied: Applied) {
        self.checkpoint_asked = false;
        self.snapshots.push(applied.position);
        self.raw.mut_store().set_snapshot(applied);
        self.drop_old_snapshots();
    }

    fn snapshot_sent(&mut self, to: u64, ok: bool) {
        self.sending.retain(|(receiver, _)| *receiver != to);
        let status = if ok {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.raw.report_snapshot(to, status);
        self.drop_old_snapshots();
    }

    /// Keeps the newest snapshot, as long as the log goes on from it, and those on
    /// their way. A snapshot that is of no use must not keep files that compactions
    /// have written anew since.
    pub(super) fn drop_old_snapshots(&mut self) {
        let cut = self.raw.store().cut().index;
        let asked_for = |m: &Message| m.get_msg_type() == MessageType::MsgSnapshot;
        let newest = self.snapshots.last().copied();
        let is_of_use = |p: &Position| p.index >= cut || self.raw.raft.msgs.iter().any(asked_for);
        let newest = newest.filter(is_of_use);
        let sending = &self.sending;
        let dropped = &mut self.work.drop_snapshots;
        self.snapshots.retain(|position| {
            let keep = Some(*position) == newest || sending.iter().any(|(_, p)| p == position);
            if !keep {
                dropped.push(*position);
            }
            keep
        });
    }

    fn become_removed(&mut self) {
        if self.removed || planted!("removed-goes-on") {
            return;
        }
        self.removed = true;
        self.work.members = Some(Membership::default());
        for token in self.changes.drain() {
            self.work
                .answers
                .push(Answer::Admin(token, Err(ProposeError::Removed)));
        }
        self.reads.remove();
    }

    /// A removed replica only finishes what it has begun.
    fn step_removed(&mut self, input: Input<P>) {
        let answers = &mut self.work.answers;
        match input {
            Input::Propose(asked) => answers.extend(
                asked
                    .into_iter()
                    .map(|a| Answer::Propose(a.token, ProposeError::Removed)),
            ),
            Input::Change(_, token) | Input::Transfer(_, token) => {
                answers.push(Answer::Admin(token, Err(ProposeError::Removed)));
            }
            Input::Read { deadline_ns, token } => self.reads.ask(deadline_ns, token),
            Input::Persisted { number } => self.persisted(number),
            Input::Applied { index } => self.applied_index = self.applied_index.max(index),
            Input::SnapshotSent { to, .. } => {
                self.sending.retain(|(receiver, _)| *receiver != to);
            }
            _ => {}
        }
    }
}

/// Says whether nothing but new tasks is proposed. Nobody waits for them at another member:
/// whoever asks there catches up with the leader first. So the news that they are
/// committed rides on the next entry, or on the next heartbeat, and costs no message of
/// its own. Leases and their ends are waited for by sessions at other members.
fn is_of_tasks<P>(input: &Input<P>) -> bool {
    matches!(input, Input::Propose(asked) if asked.iter().all(|asked| asked.units > 0))
}

/// One step of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom
/// number generators, 2014).
fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
