//! Telling the leader of the consumers of this peer: who they are, how much they
//! take, and that they have left.

use z4_core::dispatch::ConsumerReport;
use z4_core::planted;

use crate::input::{Leadership, Method, Now};
use crate::limits;
use crate::output::Output;
use crate::session::State;
use crate::sessions::Sessions;

impl<E> Sessions<E> {
    /// Tells the leader what it has to know by now.
    pub(crate) fn tell_news(&mut self, now: Now) {
        let leadership = self.leadership;
        let is_here = leadership.is_ready_here;
        if !self.can_tell() {
            return;
        }
        let (sessions, mut reports) = (&mut self.sessions, Vec::new());
        self.news.retain(|id| {
            let Some(session) = sessions.get_mut(id).filter(|session| session.is_listed) else {
                return false;
            };
            if !session.report.may_tell(now.monotonic_ns) {
                // The answer to the report under way brings it back.
                return session.report.not_before_ns().is_some();
            }
            let allowed = session.allowed();
            let step = match session.method {
                Method::Stream => limits::STREAM_WINDOW / 8,
                Method::Consume { .. } | Method::Take { .. } => 1,
            };
            let is_closing = matches!(session.state, State::Closing { .. });
            if session.report.has_news(allowed, step, is_closing) {
                session.report.tell(allowed, !is_here);
                reports.push(ConsumerReport {
                    consumer: session.name.clone(),
                    namespace: session.namespace.clone(),
                    received_total: session.flow.ledger.received(),
                    allowed_total: allowed,
                    lease_ms: session.lease_ms,
                });
            }
            false
        });
        for report in reports {
            let id = self.directory.holder_of(&report.consumer);
            self.dirty.extend(id.filter(|_| is_here));
            match is_here {
                true => self.leading.dispatcher.consumer_report(report),
                false => self.out.push(Output::Report {
                    to: leadership.leader,
                    report,
                }),
            }
        }
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

    /// How a report ended.
    pub(crate) fn report_ended(&mut self, consumer: &str, is_told: bool, now: Now) {
        let Some(id) = self.directory.holder_of(consumer) else {
            return;
        };
        if let Some(session) = self.sessions.get_mut(&id).filter(|s| s.name == consumer) {
            let is_told = is_told || planted!("failed-report-forgotten");
            let again_at_ns = now.monotonic_ns + limits::REPORT_RETRY_NS;
            session.report.told(is_told, again_at_ns);
            self.news.insert(id);
            self.dirty.insert(id);
        }
    }

    /// A consumer of this peer left.
    pub(crate) fn tell_gone(&mut self, consumer: String, now: Now) {
        let leadership = self.leadership;
        if leadership.is_ready_here {
            return self.leading.dispatcher.consumer_gone(&consumer);
        }
        // A leader that this peer has lost from sight may still know of it.
        if !self.can_tell() {
            if !planted!("gone-told-once") {
                self.tell_later(consumer, now);
            }
            return;
        }
        self.out.push(Output::ReportGone {
            to: leadership.leader,
            consumer,
        });
    }

    pub(crate) fn tell_later(&mut self, consumer: String, now: Now) {
        // A leader forgets those that it is not told of when the connection by which
        // this peer reports ends.
        if self.untold.len() < limits::SESSION_COUNT_MAX {
            let again_at_ns = now.monotonic_ns + limits::REPORT_RETRY_NS;
            self.untold.insert(consumer, again_at_ns);
        }
    }

    /// Tells the leader again of those that have left.
    pub(crate) fn tell_untold(&mut self, now: Now) {
        let is_due = |at_ns: &u64| *at_ns <= now.monotonic_ns;
        let due = self.untold.iter().filter(|(_, at_ns)| is_due(at_ns));
        let due: Vec<String> = due.map(|(consumer, _)| consumer.clone()).collect();
        for consumer in due {
            self.untold.remove(&consumer);
            self.tell_gone(consumer, now);
        }
    }

    /// When the next report that failed is to be repeated, by the monotonic clock.
    pub(crate) fn next_report_ns(&self) -> Option<u64> {
        let not_before = |id| self.sessions.get(id)?.report.not_before_ns();
        // Without a leader they wait for one, and not for a time.
        let news = self.news.iter().filter(|_| self.can_tell());
        let reports = news.filter_map(not_before);
        reports.chain(self.untold.values().copied()).min()
    }
}
