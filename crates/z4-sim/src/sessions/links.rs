//! The connections by which peers report consumers to their leader. What is said on
//! one arrives in order, or the connection breaks and its leader is told so, sooner or
//! later.

use rand::Rng;
use z4_delivery::{Input, Report};

use crate::peer::{Life, Peer};
use crate::world::{Event, World, MS};

/// After so long a connection that is cut off is given up, in milliseconds.
const SILENT_MS: (u64, u64) = (3_000, 10_000);

/// A connection to a leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    number: u64,
    /// The life of the leader that it leads to.
    to: Life,
    /// When the last message arrives there.
    last_ns: u64,
}

impl World {
    pub(super) fn report_to(&mut self, life: Life, to: u64, report: Report) {
        let now_ns = self.now_ns;
        let target = self.peers.get(&to).map(Peer::life);
        let target = target.filter(|target| self.lives(*target));
        let arrives = self.call(life.0, to);
        let (Some(target), Some(delay_ns)) = (target, arrives) else {
            self.break_link(life, to);
            let delay_ms = self.rng.gen_range(50..2_000);
            return self.answer_report(life, &report, false, delay_ms * MS);
        };
        self.attempts += 1;
        let fresh = Link {
            number: self.attempts,
            to: target,
            last_ns: 0,
        };
        let Some(shell) = self.shell(life.0) else {
            return;
        };
        let known = shell.links.get(&to).copied();
        if known.is_some_and(|link| link.to != target) {
            shell.links.remove(&to);
        }
        let link = shell.links.entry(to).or_insert(fresh);
        link.last_ns = (now_ns + delay_ns).max(link.last_ns + 1);
        let (number, at_ns) = (link.number, link.last_ns);
        self.at(
            at_ns - now_ns,
            Event::Told {
                from: life,
                to: target,
                link: number,
                told: report,
            },
        );
    }

    /// A report arrives at a peer.
    pub(crate) fn told_arrived(&mut self, from: Life, to: Life, link: u64, report: Report) {
        let leads = self.lives(to)
            && !self.broken_links.contains(&link)
            && self
                .shell(to.0)
                .is_some_and(|shell| shell.sessions.leadership().is_ready_here);
        if leads {
            let report = report.clone();
            self.session_input(to.0, Input::Remote { link, report });
        }
        // Only a turn recalls leases that were offered to ride with new tasks.
        let waits = leads && !self.options.planted("report-answered-before-its-turn");
        match self.shell(to.0).filter(|_| waits) {
            Some(shell) => shell.heard.push((from, report)),
            None => self.answer_remote(to.0, from, &report, leads),
        }
    }

    /// The answer to a report is on its way to the peer that made it.
    pub(super) fn answer_remote(&mut self, to: u64, from: Life, report: &Report, is_told: bool) {
        if is_told {
            self.judge_heard(to, report);
        }
        match self.call(to, from.0) {
            Some(delay_ns) => self.answer_report(from, report, is_told, delay_ns),
            None => {
                self.break_link(from, to);
                let delay_ms = self.rng.gen_range(50..2_000);
                self.answer_report(from, report, false, delay_ms * MS);
            }
        }
    }

    /// A leader that says that it goes by a report offers no more than the consumer takes.
    fn judge_heard(&mut self, leader: u64, report: &Report) {
        let consumer = report.consumer();
        let takes = match report {
            Report::There(said) => said.allowed_total.saturating_sub(said.received_total),
            Report::Left(_) => 0,
        };
        let Some(shell) = self.shell(leader) else {
            return;
        };
        let takers = shell.riders.iter().flat_map(|lease| &lease.takers);
        let its = takers.filter(|taker| taker.consumer == consumer);
        let offered: u64 = its.map(|taker| u64::from(taker.room)).sum();
        if offered > takes {
            self.fail(format!(
                "leader {leader} goes by the report of {consumer}, which takes {takes}, and offers it {offered}"
            ));
        }
    }

    fn answer_report(&mut self, life: Life, report: &Report, is_told: bool, delay_ns: u64) {
        let consumer = report.consumer().to_owned();
        let input = Input::Reported { consumer, is_told };
        let input = Box::new(input);
        self.at(delay_ns, Event::ToSessions { life, input });
    }

    /// A connection is no more; its leader learns of it later.
    fn break_link(&mut self, life: Life, to: u64) {
        let Some(link) = self.shell(life.0).and_then(|shell| shell.links.remove(&to)) else {
            return;
        };
        let input = Box::new(Input::ReportsLost(to));
        self.within(1, 3_000, Event::ToSessions { life, input });
        // What is on its way by it does not arrive.
        self.broken_links.insert(link.number);
        let event = Event::LinkLost {
            to: link.to,
            link: link.number,
        };
        match self.net.open(life.0, to) {
            true => self.within(1, 50, event),
            false => self.within(SILENT_MS.0, SILENT_MS.1, event),
        }
    }

    /// A peer ends, and its connections with it: their leaders learn of it, at the
    /// latest when nothing comes any more. So do its consumers.
    pub(crate) fn consumers_end(&mut self, id: u64) {
        let Some(life) = self.peers.get(&id).map(Peer::life) else {
            return;
        };
        let links = self
            .shell(id)
            .map(|shell| shell.links.keys().copied().collect());
        let links: Vec<u64> = links.unwrap_or_default();
        for to in links {
            self.break_link(life, to);
        }
        self.wires_end(life);
    }
}
