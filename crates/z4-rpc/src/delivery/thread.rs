//! The delivery thread: events and requests in, leases and grants out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{select, Receiver};
use z4_consensus::Status;
use z4_core::command::Grant;
use z4_core::dispatch::ConsumerReport;
use z4_core::{Event, Namespace, View};
use z4_proto::generated::peer::{self, ForwardRequest_oneof_ask as Ask};

use super::inbox::{Applied, Control, Inbox};
use super::leading::Leading;
use super::local::Locals;
use super::{consumer_id, settle, wall_ns};
use crate::limits;
use crate::node::Node;

/// Starts the thread; it ends at [`Node::stop`].
pub(crate) fn start<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    inbox: Inbox,
) -> std::io::Result<()> {
    let mut thread = Thread {
        node,
        locals: Locals::default(),
        leading: Leading::default(),
        leader: Leader::default(),
        stamp_ns: 0,
        unowned: BTreeMap::new(),
        untold: BTreeMap::new(),
        stopping: false,
    };
    std::thread::Builder::new()
        .name("z4-delivery".into())
        .spawn(move || thread.run(&inbox))?;
    Ok(())
}

/// Whom consumers are reported to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Leader {
    raft_id: u64,
    term: u64,
    /// This peer, and it may dispatch.
    here: bool,
}

struct Thread<V> {
    node: Node<V>,
    locals: Locals,
    leading: Leading,
    leader: Leader,
    /// The greatest stamp applied.
    stamp_ns: u64,
    /// Grants of streams that have ended, to be given back.
    unowned: BTreeMap<Namespace, Vec<Grant>>,
    /// Consumers that have left and of which the leader could not be told, and when
    /// it is to be told again. It would lease tasks to them until then.
    untold: BTreeMap<String, Instant>,
    stopping: bool,
}

/// What arrived first.
enum Arrived {
    Applied(Applied),
    Control(Control),
    Nothing,
    End,
}

impl<V: View + Clone + Send + Sync + 'static> Thread<V> {
    fn run(&mut self, inbox: &Inbox) {
        let mut wait = Duration::ZERO;
        loop {
            let (mut applied, mut control) = (Vec::new(), Vec::new());
            match arrived(inbox, wait) {
                Arrived::Applied(first) => applied.push(first),
                Arrived::Control(first) => control.push(first),
                Arrived::Nothing => {}
                Arrived::End => return,
            }
            // What the answer to a proposal follows from was applied before it:
            // answers are collected first and handled last.
            collect(&inbox.control, &mut control);
            collect(&inbox.applied, &mut applied);
            let status = self.node.handle().status();
            self.follow(&status);
            for applied in applied {
                self.applied(applied, status.raft_id);
            }
            for control in control {
                if matches!(control, Control::Stop) {
                    return;
                }
                self.control(control);
            }
            self.give_back();
            self.tell_untold();
            self.report(&status);
            wait = self.dispatch();
        }
    }

    fn now_ns(&self) -> u64 {
        wall_ns().max(self.stamp_ns)
    }

    /// Sees who leads.
    fn follow(&mut self, status: &Arc<Status>) {
        let leader = Leader {
            raft_id: status.leader,
            term: status.term,
            here: status.leader != 0 && status.leader == status.raft_id && status.leader_ready,
        };
        if leader == self.leader {
            return;
        }
        if self.leader.here {
            self.leading.step_down();
        }
        if leader.here {
            let now_ns = self.now_ns();
            self.leading.become_leader(now_ns);
        }
        self.leader = leader;
        self.locals.forget_told();
    }

    fn applied(&mut self, applied: Applied, raft_id: u64) {
        self.stamp_ns = self.stamp_ns.max(applied.stamp_ns);
        let prefix = self.node.delivery().name_prefix(raft_id);
        for event in &applied.events {
            self.leading.dispatcher.on_event(event);
            match event {
                Event::Leased {
                    namespace, grants, ..
                } => {
                    let here = |name: &str| consumer_id::session(name).starts_with(&prefix);
                    for grant in grants.iter().filter(|g| here(&g.consumer)) {
                        if let Err(grant) = self.locals.grant(grant) {
                            let unowned = self.unowned.entry(namespace.clone()).or_default();
                            unowned.push(grant);
                        }
                    }
                }
                Event::Ended { consumers, .. } => {
                    for (consumer, count) in consumers {
                        self.locals.ended(consumer, u64::from(*count));
                    }
                }
                Event::Due { .. } | Event::Namespace { .. } => {}
            }
        }
        let deadline_ns = applied.pulse_next_ns;
        self.leading.dispatcher.set_pulse(deadline_ns);
    }

    fn control(&mut self, control: Control) {
        match control {
            // Dropping it ends the stream.
            Control::Open(_) if self.stopping => {}
            Control::Open(open) => {
                if let Some(former) = self.locals.open(open) {
                    self.gone(former);
                }
            }
            Control::Credit(consumer) => self.locals.credit(&consumer),
            Control::Close(consumer) => {
                if self.locals.close(&consumer) {
                    self.gone(consumer);
                }
            }
            Control::Remote { link, report } => self.leading.remote(link, report),
            Control::RemoteGone(consumer) => self.leading.remote_gone(&consumer),
            Control::RemoteLost(link) => self.leading.remote_lost(link),
            Control::Reported { consumer, ok } => self.locals.told(&consumer, ok),
            Control::GoneUntold(consumer) => self.untold(consumer),
            Control::LeaseFailed { namespace, takers } => {
                let dispatcher = &mut self.leading.dispatcher;
                dispatcher.on_lease_failed(&namespace, &takers);
            }
            Control::PulseDone => self.leading.dispatcher.on_pulse_done(),
            Control::Consumers { namespace, answer } => {
                let dispatcher = &self.leading.dispatcher;
                answer(self.leader.here.then(|| dispatcher.consumers(&namespace)));
            }
            Control::StopStreams => {
                self.stopping = true;
                for consumer in self.locals.close_all() {
                    self.gone(consumer);
                }
            }
            Control::Stop => {}
        }
    }

    /// A consumer of this peer left.
    fn gone(&mut self, consumer: String) {
        if self.leader.here {
            return self.leading.dispatcher.consumer_gone(&consumer);
        }
        let status = self.node.handle().status();
        let address = self
            .node
            .network()
            .address(&status.membership, status.leader);
        // A leader that this peer has lost from sight may still know of it.
        let Some(address) = address.filter(|_| status.leader != status.raft_id) else {
            return self.untold(consumer);
        };
        let ask = Ask::consumer_gone(consumer.clone());
        let delivery = self.node.delivery().clone();
        let answered = Box::new(move |result: Result<_, _>| {
            if result.is_err() {
                delivery.send(Control::GoneUntold(consumer));
            }
        });
        let forwarder = self.node.forwarder();
        forwarder.ask_with(status.leader, &address, ask, answered);
    }

    fn untold(&mut self, consumer: String) {
        // A leader forgets those that it is not told of when its stream of reports
        // from this peer ends.
        if self.untold.len() >= limits::CONSUMER_STREAM_COUNT_MAX {
            return;
        }
        let again_at = Instant::now() + limits::REPORT_RETRY;
        self.untold.insert(consumer, again_at);
    }

    /// Tells the leader again of those that have left.
    fn tell_untold(&mut self) {
        let now = Instant::now();
        let due = self.untold.iter().filter(|(_, at)| **at <= now);
        let due: Vec<String> = due.map(|(consumer, _)| consumer.clone()).collect();
        for consumer in due {
            self.untold.remove(&consumer);
            self.gone(consumer);
        }
    }

    fn give_back(&mut self) {
        for (namespace, grants) in std::mem::take(&mut self.unowned) {
            settle::release(&self.node, namespace, grants);
        }
    }

    /// Tells the leader of this peer's consumers.
    fn report(&mut self, status: &Arc<Status>) {
        if self.leader.here {
            for report in self.locals.reports(false) {
                self.leading.dispatcher.consumer_report(report);
            }
            return;
        }
        if status.leader == 0 || status.leader == status.raft_id {
            return;
        }
        let address = self
            .node
            .network()
            .address(&status.membership, status.leader);
        let Some(address) = address else { return };
        for report in self.locals.reports(true) {
            self.tell(status.leader, &address, report);
        }
    }

    fn tell(&self, leader: u64, address: &str, report: ConsumerReport) {
        let mut message = peer::ConsumerReport::default();
        message.set_consumer(report.consumer.clone());
        message.set_namespace(report.namespace.as_str().to_owned());
        message.set_received_total(report.received_total);
        message.set_allowed_total(report.allowed_total);
        message.set_lease_ms(report.lease_ms);
        let delivery = self.node.delivery().clone();
        let consumer = report.consumer;
        let answered = Box::new(move |result: Result<_, _>| {
            let ok = result.is_ok();
            delivery.send(Control::Reported { consumer, ok });
        });
        let forwarder = self.node.forwarder();
        forwarder.ask_with(leader, address, Ask::consumer(message), answered);
    }

    /// Proposes what is due. How long to wait for something to happen.
    fn dispatch(&mut self) -> Duration {
        let idle = self.locals.is_empty() && !self.leader.here;
        let mut wait = limits::DELIVERY_TICK * if idle { 10 } else { 1 };
        let again_at = self.untold.values().copied();
        if let Some(at) = again_at.chain(self.locals.wake_at()).min() {
            wait = wait.min(at.saturating_duration_since(Instant::now()));
        }
        if !self.leader.here {
            return wait;
        }
        let now_ns = self.now_ns();
        let (handle, delivery) = (self.node.handle(), self.node.delivery());
        match self
            .leading
            .poll(now_ns, self.node.view(), handle, delivery)
        {
            Ok(None) => wait,
            Ok(Some(at_ns)) => wait.min(Duration::from_nanos(at_ns.saturating_sub(self.now_ns()))),
            Err(error) => {
                // What is on disk can no longer be trusted to be read.
                slog::crit!(self.node.network().logger(), "the task state cannot be read";
                    "error" => %error);
                std::process::abort();
            }
        }
    }
}

fn arrived(inbox: &Inbox, wait: Duration) -> Arrived {
    select! {
        recv(inbox.applied) -> applied => applied.map_or(Arrived::End, Arrived::Applied),
        recv(inbox.control) -> control => control.map_or(Arrived::End, Arrived::Control),
        default(wait) => Arrived::Nothing,
    }
}

/// Takes what is there, up to what a turn should handle.
fn collect<T>(from: &Receiver<T>, into: &mut Vec<T>) {
    into.extend(from.try_iter().take(limits::DELIVERY_QUEUE_LEN_MAX));
}
