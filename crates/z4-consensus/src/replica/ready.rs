//! From a raft-rs Ready to work, in the only order that is safe.
//!
//! - A leader's messages may go out before its own write is durable (Raft
//!   thesis, section 10.2.1); a follower's votes and acknowledgements may not:
//!   they promise what the write makes true, and wait in `outstanding`.
//! - Several Readys may be in flight; the log thread writes them in order, and
//!   [`Input::Persisted`](super::Input::Persisted) names the last that is
//!   durable.
//! - A snapshot is installed before anything else of its Ready.

use raft::eraftpb::{Entry, EntryType, Message};
use raft::StateRole;

use super::{Outstanding, Persist, Replica, Work};
use crate::entry::{self, Said};
use crate::error::{ProposeError, StopReason};
use crate::limits;
use crate::log::{LogStore, LogWrite, Position};
use crate::machine::{Applied, Committed};
use crate::planted::planted;
use crate::proposals::Envelope;

impl<L: LogStore, P> Replica<L, P> {
    /// What is to be done now; `None` when there is nothing. Call again until
    /// it is: a step may need more than one round.
    pub fn work(&mut self) -> Option<Work<P>> {
        self.drive_reads();
        self.note_role();
        if !self.removed && self.raw.has_ready() {
            self.take_ready();
        }
        if self.raw.store().take_snapshot_wanted() && !self.checkpoint_asked {
            self.checkpoint_asked = true;
            self.work.checkpoint = true;
        }
        if let Some(error) = self.raw.store().take_unreadable() {
            self.stop(StopReason::Log(error));
        }
        self.write_carried();
        self.drive_reads();
        let work = std::mem::take(&mut self.work);
        (!work.is_empty()).then_some(work)
    }

    fn note_role(&mut self) {
        if self.raw.raft.state != StateRole::Leader {
            self.lead_from = None;
        } else if self.lead_from.is_none() {
            // The empty entry of the new term is the last one, or was just now.
            self.lead_from = Some(self.raw.raft.raft_log.last_index());
            self.heard.lead(&self.membership, self.now.monotonic_ns);
        }
    }

    fn take_ready(&mut self) {
        let mut ready = self.raw.ready();
        let number = ready.number();
        for read in ready.take_read_states() {
            self.reads.confirmed(&read.request_ctx, read.index);
        }
        let mut messages = ready.take_messages();
        self.note_snapshots(&messages);
        // A single voter elects itself on the spot. Until its term is durable a
        // crash would make it lead the same term twice, with other entries.
        let held = if self.durable_term < self.raw.raft.term {
            std::mem::take(&mut messages)
        } else {
            Vec::new()
        };
        self.work.send.extend(messages);

        let snapshot = ready.snapshot().get_metadata();
        let install = (snapshot.index > 0).then_some(Position {
            index: snapshot.index,
            term: snapshot.term,
        });
        if let Some(position) = install {
            let hard_state = ready
                .hs()
                .cloned()
                .unwrap_or_else(|| self.raw.raft.hard_state());
            self.work.install = Some((position, hard_state));
            self.raw.mut_store().reset(position);
            self.installing = Some(number);
            self.carried = None;
        }

        let entries = ready.take_entries();
        for entry in &entries {
            self.note_entry(entry);
        }
        self.raw.mut_store().append(&entries);
        let mut messages = held;
        messages.extend(ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        self.persist(
            number,
            ready.hs().cloned(),
            ready.must_sync(),
            entries,
            messages,
        );
        self.raw.advance_append_async(ready);
        self.release();
        for entry in committed {
            self.commit(entry);
        }
    }

    /// Plans the write of a Ready. One that only moves the commit index needs no write
    /// of its own: it goes with the next one.
    fn persist(
        &mut self,
        number: u64,
        hard_state: Option<raft::eraftpb::HardState>,
        must_sync: bool,
        entries: Vec<Entry>,
        messages: Vec<Message>,
    ) {
        if hard_state.is_some() {
            self.carried = hard_state;
        }
        let installs = self.work.install.is_some();
        let writes = must_sync && (!installs || !entries.is_empty());
        let first_index = entries.first().map(|e| e.index);
        self.outstanding.push_back(Outstanding {
            number,
            first_index,
            term: self.raw.raft.term,
            writes: writes && !planted!("promise-before-sync"),
            messages,
        });
        if writes {
            let mut hard_state = self.carried.take();
            if planted!("vote-not-written") {
                hard_state = hard_state.map(|hs| raft::eraftpb::HardState { vote: 0, ..hs });
            }
            let write = LogWrite {
                entries,
                hard_state,
                sync: !planted!("skip-sync"),
            };
            self.work.persist = Some(Persist { number, write });
        }
    }

    /// Writes a commit index for which no other write came: after a tick and without a
    /// sync, for what was committed stays so; at once and with a sync when the members
    /// changed. Otherwise a voter that the removal of the only other voter left alone,
    /// and that then lost its commit index, would wait for the vote of the removed one
    /// for ever.
    fn write_carried(&mut self) {
        let long = std::mem::take(&mut self.carried_long);
        let sync = std::mem::take(&mut self.members_committed);
        if sync {
            self.carried = Some(self.raw.raft.hard_state());
        } else if !long || !self.outstanding.is_empty() {
            return;
        }
        let Some(hard_state) = self.carried.take() else {
            return;
        };
        match &mut self.work.persist {
            Some(persist) => persist.write.hard_state = Some(hard_state),
            None => {
                let hard_state = Some(hard_state);
                let write = LogWrite {
                    entries: Vec::new(),
                    hard_state,
                    sync,
                };
                self.work.persist = Some(Persist { number: 0, write });
            }
        }
    }

    pub(super) fn persisted(&mut self, number: u64) {
        for outstanding in &mut self.outstanding {
            if outstanding.number <= number {
                outstanding.writes = false;
            }
        }
        self.release();
    }

    /// Lets go what waited for writes that are durable, in order.
    fn release(&mut self) {
        let mut durable = None;
        while self.outstanding.front().is_some_and(|o| !o.writes) {
            // A snapshot is durable once its install is reported, not before.
            if self.installing == self.outstanding.front().map(|o| o.number) {
                break;
            }
            if let Some(done) = self.outstanding.pop_front() {
                durable = Some(done.number);
                self.durable_term = self.durable_term.max(done.term);
                self.work.send.extend(done.messages);
            }
        }
        let Some(number) = durable else { return };
        // What is still being written may replace what was durable.
        let writing = self.outstanding.iter().filter_map(|o| o.first_index).min();
        let durable_index = writing.map_or(u64::MAX, |index| index - 1);
        self.raw.mut_store().persisted(durable_index);
        if self.removed {
            return;
        }
        self.raw.on_persist_ready(number);
        // raft-rs wants a snapshot durable before it counts as applied.
        if self
            .installed_index
            .is_some_and(|i| i <= self.raw.raft.raft_log.persisted)
        {
            self.installed_index = None;
            self.raw.advance_apply_to(self.applied_index);
        }
    }

    pub(super) fn installed(&mut self, applied: Applied) {
        self.applied_index = applied.position.index;
        self.flushed = applied.position;
        self.stamp_ns = self.stamp_ns.max(applied.stamp_ns);
        self.snapshots.clear();
        self.membership = applied.membership;
        self.heard.keep(&self.membership, self.now.monotonic_ns);
        self.addresses.keep(&self.membership);
        self.said.keep(&self.membership);
        self.limit_clock();
        self.check_level();
        self.work.members = Some(self.membership.clone());
        self.installed_index = Some(self.applied_index);
        // The log was reset behind all earlier writes: they are done with.
        if let Some(installing) = self.installing.take() {
            for outstanding in &mut self.outstanding {
                if outstanding.number < installing {
                    outstanding.writes = false;
                }
            }
        }
        self.release();
        self.finish_changes();
        if self.membership.removed.contains(&self.config.raft_id) {
            self.become_removed();
        }
    }

    fn note_entry(&mut self, entry: &Entry) {
        let bytes = entry.data.len() as u64 + 32;
        self.entry_bytes_mean = (self.entry_bytes_mean * 63 + bytes) / 64;
        if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
            if let Some(stamp_ns) = Envelope::stamp(&entry.data) {
                self.stamp_ns = self.stamp_ns.max(stamp_ns);
            }
        }
    }

    /// A snapshot message names the position whose files must be kept until it
    /// has arrived.
    fn note_snapshots(&mut self, messages: &[Message]) {
        for message in messages {
            let snapshot = message.get_snapshot().get_metadata();
            if message.get_msg_type() == raft::eraftpb::MessageType::MsgSnapshot
                && snapshot.index > 0
            {
                self.sending.retain(|(to, _)| *to != message.to);
                let position = Position {
                    index: snapshot.index,
                    term: snapshot.term,
                };
                self.sending.push((message.to, position));
            }
        }
    }

    fn commit(&mut self, entry: Entry) {
        let position = Position {
            index: entry.index,
            term: entry.term,
        };
        let mut committed = Committed {
            position,
            stamp_ns: 0,
            commands: Vec::new(),
            membership: None,
        };
        let said = match entry::read(&entry, self.config.own.levels) {
            Ok(said) => said,
            Err(reason) => return self.stop(reason),
        };
        match said {
            Said::Nothing => {
                let what = "a change of members";
                let busy = ProposeError::Busy {
                    what,
                    retry_after_ms: 200,
                };
                self.resolve_change(position, Err(busy));
            }
            Said::Commands(Envelope { stamp_ns, commands }) => {
                self.resolve_change(position, Err(ProposeError::Superseded));
                committed.stamp_ns = stamp_ns;
                committed.commands = commands;
            }
            Said::Change(of) => match self.commit_change(position, &of.0, &of.1) {
                Ok(true) if planted!("members-not-stored") => {}
                Ok(true) => committed.membership = Some(self.membership.clone()),
                Ok(false) => {}
                Err(reason) => return self.stop(reason),
            },
        }
        self.work.apply.push(committed);
        if !self.removed && self.membership.removed.contains(&self.config.raft_id) {
            self.become_removed();
        }
    }

    pub(super) fn stop(&mut self, reason: StopReason) {
        self.work.stop.get_or_insert(reason);
    }

    pub(super) fn flushed(&mut self, position: Position) {
        self.flushed = self.flushed.max(position);
    }

    /// Cuts the log below what is applied on stable storage, but leaves enough
    /// for followers that lag within bounds, and for snapshots on their way.
    /// While disk space is low, entries stay for followers that were heard of
    /// within minutes and do not lag far: one that restarts finds what it needs,
    /// one that comes back later gets a snapshot.
    pub(super) fn plan_cut(&mut self) {
        let last = self.raw.raft.raft_log.last_index();
        let lag_keep = self.config.log_keep_entries;
        let keep = if self.space_low { 0 } else { lag_keep };
        let durable = if planted!("cut-above-flushed") {
            self.applied_index
        } else {
            self.flushed.index
        };
        let mut through = durable.min(last.saturating_sub(keep));
        if self.leads() {
            let entries = |bytes: u64| bytes / self.entry_bytes_mean.max(1);
            let lag_max = entries(limits::LOG_KEEP_BYTES_MAX).min(lag_keep * 10);
            let lag_max_low = entries(limits::LOG_KEEP_LOW_BYTES_MAX).min(lag_keep);
            for (raft_id, progress) in self.raw.raft.prs().iter() {
                let (waited_for, lag_max) = match self.space_low {
                    true => (self.is_remembered(*raft_id), lag_max_low),
                    false => (true, lag_max),
                };
                if waited_for && last - progress.matched.min(last) <= lag_max {
                    through = through.min(progress.matched);
                }
            }
        }
        for (_, position) in &self.sending {
            through = through.min(position.index);
        }
        let cut = self.raw.store().cut();
        // In steps: each cut costs the log a range of tombstones.
        let step = if self.space_low {
            1
        } else {
            (keep / 4).max(16)
        };
        if through < cut.index + step {
            return;
        }
        let Ok(term) = self.raw.raft.raft_log.term(through) else {
            return;
        };
        let through = Position {
            index: through,
            term,
        };
        self.raw.mut_store().cut_through(through);
        self.work.cut = Some(through);
        self.drop_old_snapshots();
    }
}

impl<P> Work<P> {
    fn is_empty(&self) -> bool {
        // Every field is named: a new one cannot be forgotten here.
        let Self {
            send,
            answers,
            members,
            install,
            persist,
            cut,
            waiting,
            apply,
            checkpoint,
            drop_snapshots,
            stop,
        } = self;
        send.is_empty()
            && answers.is_empty()
            && members.is_none()
            && install.is_none()
            && persist.is_none()
            && cut.is_none()
            && waiting.is_empty()
            && apply.is_empty()
            && !checkpoint
            && drop_snapshots.is_empty()
            && stop.is_none()
    }
}
