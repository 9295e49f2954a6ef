//! Telling the leader of the consumers of this peer: who they are, how much they
//! take, and that they have left. Times are of the monotonic clock, in nanoseconds.

use z4_core::dispatch::ConsumerReport;
use z4_core::planted;

use crate::input::{Leadership, Method, Now};
use crate::limits;
use crate::output::{Output, Report};
use crate::session::State;
use crate::sessions::Sessions;

/// What the leader knows of a session, and when it is to be told more.
#[derive(Debug, Default)]
pub(crate) struct LeaderView {
    /// What the present leader was told last; `None`: nothing yet.
    told_allowed: Option<u64>,
    /// A report is on its way to another peer.
    is_telling: bool,
    /// Not before this, after a report that failed.
    not_before_ns: Option<u64>,
    /// Some leader was told once, and may know of it still.
    pub(crate) was_told: bool,
}

impl LeaderView {
    /// Whether the leader has to be told. Small steps of credit may not be worth a
    /// report: what the leader knows of keeps the session busy meanwhile.
    /// `is_closing`: the session waits until the leader has heard of its end.
    fn has_news(&self, allowed: u64, step: u64, is_closing: bool) -> bool {
        match self.told_allowed {
            Some(told) => allowed < told || allowed >= told + step,
            // Without credit it need not be known, unless it may be already.
            None => allowed > 0 || is_closing && self.was_told,
        }
    }

    /// Whether no leader knows of more than this.
    pub(crate) fn is_heard(&self, allowed: u64) -> bool {
        !self.was_told || !self.is_telling && self.told_allowed == Some(allowed)
    }

    /// There is another leader: it knows of nobody.
    pub(crate) fn forget(&mut self) {
        self.told_allowed = None;
        self.not_before_ns = None;
    }

    /// Whether the present leader was told.
    pub(crate) fn is_known(&self) -> bool {
        self.told_allowed.is_some()
    }
}

impl<E> Sessions<E> {
    /// Tells the leader what it has to know by now.
    pub(crate) fn tell_news(&mut self, now: Now) {
        if !self.can_tell() {
            return;
        }
        let is_here = self.leadership.is_ready_here;
        let (sessions, mut reports) = (&mut self.sessions, Vec::new());
        self.news.retain(|id| {
            let Some(session) = sessions.get_mut(id).filter(|session| session.is_listed) else {
                return false;
            };
            let (view, allowed) = (&session.leader_view, session.allowed());
            if view.is_telling {
                // The answer to the report under way brings it back.
                return false;
            }
            if view
                .not_before_ns
                .is_some_and(|at_ns| at_ns > now.monotonic_ns)
            {
                return true;
            }
            let step = match session.method {
                Method::Stream => limits::STREAM_WINDOW / 8,
                Method::Consume { .. } | Method::Take(_) => 1,
            };
            let is_closing = matches!(session.state, State::Closing { .. });
            if view.has_news(allowed, step, is_closing) {
                session.leader_view = LeaderView {
                    told_allowed: Some(allowed),
                    is_telling: !is_here,
                    not_before_ns: None,
                    was_told: true,
                };
                reports.push(ConsumerReport {
                    consumer: session.name.clone(),
                    namespace: session.namespace.clone(),
                    received_total: session.flow.ledger.received(),
                    allowed_total: allowed,
                    lease_ms: session.lease_ms,
                });
                // Who waits until the leader has heard of it is looked at again.
                self.dirty.extend(is_here.then_some(*id));
            }
            false
        });
        for report in reports {
            self.tell(Report::There(report));
        }
    }

    /// Tells the leader, which there is, of a consumer.
    fn tell(&mut self, report: Report) {
        if self.leadership.is_ready_here {
            return self.leading.report(report);
        }
        let to = self.leadership.leader;
        self.out.push(Output::Report { to, report });
    }

    /// Whether there is a leader to tell.
    fn can_tell(&self) -> bool {
        let Leadership {
            raft_id,
            leader,
            is_ready_here,
            ..
        } = self.leadership;
        leader != 0 && (leader != raft_id || is_ready_here)
    }

    /// How a report ended; one that failed is repeated a while later.
    pub(crate) fn report_ended(&mut self, consumer: String, is_told: bool, now: Now) {
        let again_at_ns = now.monotonic_ns + limits::REPORT_RETRY_NS;
        let id = self.directory.session_named(&consumer);
        let Some(session) = id.and_then(|id| self.sessions.get_mut(&id)) else {
            // It has left, and that is what the leader has, or has not, by now.
            if !is_told {
                self.tell_later(consumer, now);
            }
            return;
        };
        session.leader_view.is_telling = false;
        if !is_told && !planted!("failed-report-forgotten") {
            session.leader_view.told_allowed = None;
            session.leader_view.not_before_ns = Some(again_at_ns);
        }
        self.news.insert(session.id);
        self.dirty.insert(session.id);
    }

    /// A consumer of this peer left.
    pub(crate) fn tell_gone(&mut self, consumer: String, now: Now) {
        match self.can_tell() {
            true => self.tell(Report::Left(consumer)),
            // A leader that this peer has lost from sight may still know of it.
            false => self.tell_later(consumer, now),
        }
    }

    fn tell_later(&mut self, consumer: String, now: Now) {
        // A leader forgets those that it is not told of when the connection by which
        // this peer reports ends.
        if self.untold.len() < limits::SESSION_COUNT_MAX && !planted!("gone-told-once") {
            let again_at_ns = now.monotonic_ns + limits::REPORT_RETRY_NS;
            self.untold.insert(consumer, again_at_ns);
        }
    }

    /// Tells the leader again of those that have left.
    pub(crate) fn tell_untold(&mut self, now: Now) {
        let due = self
            .untold
            .iter()
            .filter(|(_, at_ns)| **at_ns <= now.monotonic_ns);
        let due: Vec<String> = due.map(|(consumer, _)| consumer.clone()).collect();
        for consumer in due {
            self.untold.remove(&consumer);
            self.tell_gone(consumer, now);
        }
    }

    /// When the next report that failed is to be repeated, by the monotonic clock.
    pub(crate) fn next_report_ns(&self) -> Option<u64> {
        let not_before = |id| self.sessions.get(id)?.leader_view.not_before_ns;
        // Without a leader they wait for one, and not for a time.
        let news = self.news.iter().filter(|_| self.can_tell());
        let reports = news.filter_map(not_before);
        reports.chain(self.untold.values().copied()).min()
    }
}
