//! Who consumes, by which method, and what comes to it.

use std::collections::BTreeMap;

use z4_check::history::{OpId, Reply as Told, Standing};
use z4_core::command::{Ended, LeaseLost};
use z4_delivery::endings::{Answer, Ending, Kind};
use z4_delivery::{Delivered, Delivery, End, Key, SessionId, SessionInput};

use super::wires::Down;
use crate::peer::Life;
use crate::spaces::{ALPHA, BETA, DELTA, GAMMA};
use crate::world::{Event, World};

/// By which method a consumer takes tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// Consume, with an id of its own: it may come back for its leases.
    Named,
    /// Consume, without one.
    Nameless,
    /// GetTaskStream.
    Stream,
    /// LeaseTasks, and the calls beside it.
    Calls,
}

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(super) by: By,
    pub(super) space: usize,
    pub(super) id: String,
    /// Its connections, the newest last. Most have one.
    pub(super) wires: Vec<u64>,
    /// Leases that it works on: the connections by which they came last.
    pub(super) hand: BTreeMap<Key, u64>,
    /// Acks that are not answered, by connection.
    pub(super) acks: BTreeMap<(u64, Key), OpId>,
    /// It does nothing until then.
    pub(super) stalled_until_ns: u64,
    /// Its answer was lost: it asks for what it holds.
    pub(super) is_to_resume: bool,
    /// Where it was last.
    pub(super) was_at: Option<u64>,
}

/// What became of the ends of some leases that were asked for by a call.
#[derive(Clone, Debug)]
pub(crate) enum EndReply {
    Applied {
        acks: Vec<Option<OpId>>,
        results: Vec<Result<(), LeaseLost>>,
    },
    Failed {
        acks: Vec<Option<OpId>>,
        certain: bool,
    },
}

impl World {
    /// The consumers of a run: of each namespace some of every method. GetTaskStream
    /// acknowledges by itself, so that the history of what it takes says less.
    pub(crate) fn hire_consumers(&mut self) {
        for space in [ALPHA, BETA, GAMMA, DELTA] {
            let methods = [By::Named, By::Named, By::Nameless, By::Calls, By::Stream];
            for by in methods.into_iter().take(self.options.consumers as usize) {
                if by == By::Stream && ![GAMMA, DELTA].contains(&space) {
                    continue;
                }
                let id = self.new_consumer_id(by);
                self.consumers.push(Consumer {
                    by,
                    space,
                    id,
                    wires: Vec::new(),
                    hand: BTreeMap::new(),
                    acks: BTreeMap::new(),
                    stalled_until_ns: 0,
                    is_to_resume: false,
                    was_at: None,
                });
                let consumer = self.consumers.len() - 1;
                self.within(10, 500, Event::Consumer(consumer));
            }
        }
    }

    pub(super) fn new_consumer_id(&mut self, by: By) -> String {
        self.attempts += 1;
        match by {
            By::Named => format!("named-{}", self.attempts),
            By::Nameless => format!("auto-{}", self.attempts),
            By::Calls => format!("calls-{}", self.attempts),
            By::Stream => String::new(),
        }
    }

    /// Something came to a consumer.
    pub(crate) fn down_arrived(&mut self, number: u64, down: Down) {
        let Some(wire) = self.wires.get(&number) else {
            return;
        };
        let (consumer, peer, is_up, is_closing) =
            (wire.consumer, wire.peer, wire.is_up, wire.is_closing);
        self.trace.note(
            self.now_ns,
            format_args!("consumer {consumer} by {number} of {peer:?}: {down:?}"),
        );
        if !is_up {
            // It was given up: what comes by it comes to nobody.
            if let Down::Broke | Down::Ended(_) = down {
                self.forget_wire(number);
            }
            return;
        }
        match down {
            Down::Hello { resumed } => {
                if let Some(wire) = self.wires.get_mut(&number) {
                    wire.is_open = true;
                }
                self.came(consumer, peer, resumed);
            }
            // It has said that it is done, and gives all of it back.
            Down::Delivery(_) if is_closing => {}
            Down::Delivery(delivery) => self.take_in(consumer, number, peer, &delivery),
            Down::Answer(answer) => self.told_answer(consumer, number, answer),
            Down::Leases(deliveries) => {
                self.forget_wire(number);
                for delivery in deliveries {
                    self.saw("leases were taken by a call");
                    self.take_in(consumer, number, peer, &delivery);
                }
            }
            Down::Ended(end) => {
                self.session_ended(consumer, number, &end);
                self.forget_wire(number);
            }
            Down::Broke => self.forget_wire(number),
        }
    }

    /// A consumer's session is open.
    fn came(&mut self, consumer: usize, peer: Life, resumed: u32) {
        let is_named = self.consumers[consumer].by == By::Named;
        let before = self.consumers[consumer].was_at.replace(peer.0);
        if !is_named || resumed == 0 {
            return;
        }
        match before {
            Some(id) if id == peer.0 => self.saw("a consumer came back at the same peer"),
            Some(id) => {
                self.saw("a consumer came back at another peer");
                let stands = self.peers.get(&id).map_or(0, |p| p.paused_until_ns);
                if stands > self.now_ns {
                    self.saw("a peer stood still while its consumer was elsewhere");
                }
            }
            None => {}
        }
    }

    /// A consumer has a task.
    fn take_in(&mut self, consumer: usize, wire: u64, peer: Life, delivery: &Delivery) {
        let grant = &delivery.grant;
        if let Some(core) = &mut self.core {
            core.delivered(peer.0, grant.id);
        }
        if self.consumers[consumer].by == By::Stream {
            return;
        }
        let key = grant.key();
        let hand = &mut self.consumers[consumer].hand;
        hand.insert(key, wire);
        self.judge.hands.insert(key, consumer);
        self.judge_delivered(consumer, wire, delivery);
    }

    fn told_answer(&mut self, consumer: usize, wire: u64, answer: Answer) {
        let key = answer.key;
        if answer.kind == Kind::Ack {
            if let Some(ack) = self.consumers[consumer].acks.remove(&(wire, key)) {
                let now_ns = self.now_ns;
                let told = match answer.ending {
                    Ending::Over(Ended::Done) => Some(Told::Done),
                    Ending::Lost(lost) => Some(standing(lost)),
                    Ending::Over(_) | Ending::Until(_) | Ending::Uncertain => None,
                };
                if let Some(told) = told {
                    self.history.acked(ack, now_ns, told);
                }
            }
        }
        match answer.ending {
            Ending::Until(_) => {}
            Ending::Over(_) | Ending::Lost(_) | Ending::Uncertain => self.put_down(consumer, &key),
        }
    }

    /// A consumer works on a lease no longer.
    pub(super) fn put_down(&mut self, consumer: usize, key: &Key) {
        if self.consumers[consumer].hand.remove(key).is_some() {
            self.judge.hands.remove(key);
        }
    }

    pub(super) fn put_all_down(&mut self, consumer: usize) {
        for key in std::mem::take(&mut self.consumers[consumer].hand).keys() {
            self.judge.hands.remove(key);
        }
    }

    fn session_ended(&mut self, consumer: usize, wire: u64, end: &End<String>) {
        if *end != End::Done {
            return;
        }
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.is_closing = false;
            wire.is_drained = false;
        }
        self.saw("a session ended in good order");
        // Its peer has answered all that it has taken.
        let (now_ns, acks) = (self.now_ns, &mut self.consumers[consumer].acks);
        let all = std::mem::take(acks);
        let (unanswered, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|((of, _), _)| *of == wire);
        *acks = others.into_iter().collect();
        for (_, ack) in unanswered {
            self.history.refused(ack, now_ns);
        }
    }

    /// A connection is no more, as its consumer sees it.
    pub(super) fn forget_wire(&mut self, number: u64) {
        let Some(wire) = self.wires.get_mut(&number) else {
            return;
        };
        wire.is_up = false;
        let consumer = wire.consumer;
        // It said that it takes no more, and was not told that all is given back: what
        // it had may still be on its way to others, so it does not come back for it.
        let was_closing = std::mem::take(&mut wire.is_closing);
        if std::mem::take(&mut wire.is_drained) || was_closing {
            let id = self.new_consumer_id(self.consumers[consumer].by);
            self.consumers[consumer].id = id;
        }
        self.consumers[consumer].wires.retain(|of| *of != number);
        self.consumers[consumer]
            .acks
            .retain(|(of, _), _| *of != number);
    }

    /// The answer of LeaseTasks is ready; its caller may have left.
    pub(super) fn answer_once(
        &mut self,
        life: Life,
        session: SessionId,
        number: u64,
        sent: Vec<Delivery>,
        mut delivered: Delivered,
    ) {
        let is_up = self.wires.get(&number).is_some_and(|wire| wire.is_up);
        // Its peer has heard that it left, or has not yet.
        if !is_up && self.one_in(2) {
            delivered.left.append(&mut delivered.sent);
        } else {
            self.down_wire(life.0, number, Down::Leases(sent));
        }
        self.happened(life.0, session, SessionInput::Delivered(delivered));
        self.let_go(life, session, None);
    }

    /// Sends the outcome of an end back to the consumer; it may be lost.
    pub(crate) fn reply_ended(&mut self, reply: EndReply) {
        if self.one_of_thousand() >= self.net.loss.max(self.net.reply_loss) {
            let delay_ns = self.net.delay(&mut self.rng);
            self.at(delay_ns, Event::Ended(reply));
        }
    }

    /// What came of an end that a consumer asked for by a call.
    pub(crate) fn ended(&mut self, reply: EndReply) {
        let now_ns = self.now_ns;
        match reply {
            EndReply::Applied { acks, results } => {
                for (ack, result) in acks.into_iter().zip(&results) {
                    let told = match result {
                        Ok(()) => Told::Done,
                        Err(lost) => standing(*lost),
                    };
                    if let Some(ack) = ack {
                        self.history.acked(ack, now_ns, told);
                    }
                }
            }
            EndReply::Failed { acks, certain } => {
                for ack in acks.into_iter().flatten().filter(|_| certain) {
                    self.history.refused(ack, now_ns);
                }
            }
        }
    }
}

fn standing(lost: LeaseLost) -> Told {
    Told::Stands(match lost {
        LeaseLost::Expired => Standing::Held,
        LeaseLost::Taken => Standing::Leased,
        LeaseLost::Gone => Standing::Missing,
        LeaseLost::Dead => Standing::Dead,
    })
}
