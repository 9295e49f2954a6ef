//! The delivery thread: it holds the sessions, gives them what happens, and does
//! what they want done.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, never, select, Receiver};
use futures::channel::mpsc;
use z4_consensus::Status;
use z4_core::{Namespace, View};
use z4_delivery::{
    AppliedEvents, Input, Leadership, Now, Output, Report, SessionId, SessionInput, Sessions, Told,
    Whose,
};
use z4_proto::generated::peer::{self, ForwardRequest_oneof_ask as Ask};

use super::inbox::{Control, Inbox};
use super::{proposals, rider, wall_ns};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::reading;

/// Starts the thread; it ends at [`Node::stop`].
pub(crate) fn start<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    inbox: Inbox<V>,
) -> std::io::Result<()> {
    let delivery = node.delivery().clone();
    node.handle()
        .on_status(move |_| delivery.send(Control::Status));
    let delivery = node.delivery().clone();
    node.handle()
        .set_riders(move |topic, term| rider::take(&delivery, topic, term));
    let mut thread = Thread {
        node,
        sessions: Sessions::new(&inbox.boot),
        tasks: HashMap::new(),
        started: Instant::now(),
    };
    std::thread::Builder::new()
        .name("z4-delivery".into())
        .spawn(move || thread.run(&inbox))?;
    Ok(())
}

struct Thread<V> {
    node: Node<V>,
    sessions: Sessions<Error>,
    tasks: HashMap<SessionId, Task<V>>,
    started: Instant,
}

/// The task of a session.
struct Task<V> {
    to: mpsc::UnboundedSender<Told<Error>>,
    /// For the time that its caller waits.
    node: Node<V>,
}

/// What arrived first.
enum Arrived<V> {
    Applied(AppliedEvents),
    Control(Control<V>),
    Nothing,
    End,
}

impl<V: View + Clone + Send + Sync + 'static> Thread<V> {
    fn run(&mut self, inbox: &Inbox<V>) {
        let mut wait = Some(Duration::ZERO);
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
            let mut heard = Vec::new();
            let now = self.now();
            let leadership = self.leadership(now);
            self.sessions.step(Input::Leadership(leadership), now);
            let reading = self.node.delivery().clock().before_turn();
            if let Some(reading) = reading {
                self.sessions.step(Input::LeaderClock(reading), now);
            }
            for applied in applied {
                self.sessions.step(Input::Applied(applied), now);
            }
            for control in control {
                match control {
                    Control::Input(input) => {
                        if let Input::Session(session, SessionInput::Gone) = &input {
                            self.tasks.remove(session);
                        }
                        self.sessions.step(input, now);
                    }
                    Control::Status => {}
                    Control::Open {
                        session,
                        open,
                        to,
                        node,
                    } => {
                        self.tasks.insert(session, Task { to, node });
                        let input = Input::Session(session, SessionInput::Open(open));
                        self.sessions.step(input, now);
                    }
                    Control::Remote {
                        link,
                        report,
                        taken,
                    } => {
                        self.sessions.step(Input::Remote { link, report }, now);
                        heard.push(taken);
                    }
                    Control::Consumers { namespace, answer } => {
                        answer(self.sessions.consumers(&namespace));
                    }
                    Control::Stop => return,
                }
            }
            wait = self.turn(now);
            // Only the turn recalls leases that were offered to ride: what goes into the
            // log after an answer goes by the report.
            for taken in heard {
                taken();
            }
        }
    }

    /// The leadership as of now, and whether a leader may go by its clock at this very moment.
    fn leadership(&self, now: Now) -> Leadership {
        let status = self.node.handle().status();
        let is_ready_here = leads(&status);
        Leadership {
            raft_id: status.raft_id,
            leader: status.leader,
            term: status.term,
            is_ready_here,
            goes_by_clock: is_ready_here && self.node.handle().may_go_by(now.wall_ns),
        }
    }

    fn now(&self) -> Now {
        Now {
            wall_ns: wall_ns(),
            monotonic_ns: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Does what the sessions want done. How long to wait for something to happen; `None`:
    /// until it does.
    fn turn(&mut self, now: Now) -> Option<Duration> {
        let delivery = self.node.delivery();
        let say = |awaits_due| delivery.quiet().before_turn(awaits_due);
        let recall = |namespace: &Namespace| delivery.riders().recall(namespace);
        let view = self.node.view();
        let turn = match self.sessions.turn_shared(now, view, say, recall) {
            Ok(turn) => turn,
            Err(error) => {
                // What is on disk can no longer be trusted to be read.
                slog::crit!(self.node.network().logger(), "the task state cannot be read";
                    "error" => %error);
                std::process::abort();
            }
        };
        for output in turn.outputs {
            self.output(output);
        }
        match self
            .node
            .delivery()
            .clock()
            .after_turn(turn.awaits_clock_ns)
        {
            true => Some(Duration::ZERO),
            false => turn.wake_after_ns.map(Duration::from_nanos),
        }
    }

    fn output(&mut self, output: Output<Error>) {
        match output {
            Output::Session(session, told) => {
                if let Some(task) = self.tasks.get(&session) {
                    // Fails when the task ends just now.
                    let _ = task.to.unbounded_send(told);
                }
            }
            Output::Propose {
                ticket,
                command,
                retry,
            } => proposals::propose(&self.node, ticket, &command, retry),
            Output::Offer { term, lease } => self.node.delivery().riders().offer(term, lease),
            // The reading that the batch tells is taken a moment later.
            Output::TellClock { to, .. } => self.node.network().tell_clock(to),
            Output::ForgetRiders => self.node.delivery().riders().clear(),
            Output::Find {
                session,
                namespace,
                whose,
            } => self.find(session, namespace, whose),
            Output::Report { to, report } => self.report(to, report),
        }
    }

    fn find(&self, session: SessionId, namespace: Namespace, whose: Whose) {
        let Some(task) = self.tasks.get(&session) else {
            return;
        };
        let (node, delivery) = (task.node.clone(), self.node.delivery().clone());
        self.node.network().spawn(async move {
            let find = move |view: &V| z4_delivery::find(view, &namespace, &whose);
            let leases = reading::latest(&node, find).await;
            delivery.input(Input::Session(session, SessionInput::Found(leases)));
        });
    }

    /// Tells the leader of a consumer; the answer says whether it has it.
    fn report(&self, to: u64, report: Report) {
        let consumer = report.consumer().to_owned();
        let delivery = self.node.delivery().clone();
        let answer = move |is_told| delivery.input(Input::Reported { consumer, is_told });
        let ask = match report {
            Report::Left(consumer) => Ask::consumer_gone(consumer),
            Report::There(report) => {
                let mut message = peer::ConsumerReport::default();
                message.set_consumer(report.consumer);
                message.set_namespace(report.namespace.as_str().to_owned());
                message.set_received_total(report.received_total);
                message.set_allowed_total(report.allowed_total);
                message.set_lease_ms(report.lease_ms);
                Ask::consumer(message)
            }
        };
        let membership = &self.node.handle().status().membership;
        let Some(address) = self.node.network().address(membership, to) else {
            return answer(false);
        };
        let answered = Box::new(move |result: Result<_, _>| answer(result.is_ok()));
        self.node.forwarder().ask_with(to, &address, ask, answered);
    }
}

fn leads(status: &Status) -> bool {
    status.leader != 0 && status.leader == status.raft_id && status.leader_ready
}

fn arrived<V>(inbox: &Inbox<V>, wait: Option<Duration>) -> Arrived<V> {
    let time = wait.map_or_else(never, after);
    select! {
        recv(inbox.applied) -> applied => applied.map_or(Arrived::End, Arrived::Applied),
        recv(inbox.control) -> control => control.map_or(Arrived::End, Arrived::Control),
        recv(time) -> _ => Arrived::Nothing,
    }
}

/// Takes what is there, up to what a turn should handle.
fn collect<T>(from: &Receiver<T>, into: &mut Vec<T>) {
    into.extend(from.try_iter().take(limits::DELIVERY_QUEUE_LEN_MAX));
}
