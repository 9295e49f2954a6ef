//! A consumer on a stream, with habits good and bad, that comes back whatever
//! happens: it nacks, extends, releases, holds tasks beyond their leases, dies
//! with tasks in hand, comes back under its name or another, drains, and leaves.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::Rng;
use z4_check::told::{Act, Call, Closed, End, Fate};
use z4_core::TaskId;
use z4_proto::generated::collection::{
    ConsumeDrain, ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard,
    Extend, LeaseRef, LeaseResult, Nack,
};

use super::said::Said;
use super::{calls, Scene, LEASE, LEASE_MAX};
use crate::life::conversation::{Conversation, Listened};

/// Tasks that it holds at most.
const IN_FLIGHT: u32 = 24;
/// Tasks that a steady one holds at most.
const STEADY_IN_FLIGHT: u32 = 256;

/// What it is going to say.
struct Plan {
    at: Instant,
    act: Act,
    id: TaskId,
    token: u64,
}

/// Why it leaves a stream.
enum Leave {
    /// The stream ended.
    Broken,
    /// It dies, and comes back under its name, or another.
    Crash { same: bool },
    /// It closes its side.
    HangUp,
    /// It takes no more, ends what it has, and goes.
    Drain,
}

struct Life {
    scene: Scene,
    client: u32,
    rng: StdRng,
    /// A steady one acks all that can be done, at once, and stays on its stream.
    is_steady: bool,
    name: Arc<str>,
    plans: Vec<Plan>,
    said: HashMap<(TaskId, u64), Said>,
}

/// Works until all is over, with habits of all kinds.
pub fn run(scene: Scene, client: u32, rng: StdRng) {
    live(scene, client, rng, false);
}

/// Works until all is over, and does what a good consumer does.
pub fn run_steadily(scene: Scene, client: u32, rng: StdRng) {
    live(scene, client, rng, true);
}

fn live(scene: Scene, client: u32, rng: StdRng, is_steady: bool) {
    let in_flight = match is_steady {
        true => STEADY_IN_FLIGHT,
        false => IN_FLIGHT,
    };
    let mut life = Life {
        is_steady,
        name: format!("consumer-{client}-0").into(),
        scene,
        client,
        rng,
        plans: Vec::new(),
        said: HashMap::new(),
    };
    let mut lives = 0;
    while life.scene.works() {
        let client = life.scene.client(&mut life.rng).clone();
        let namespace = life.scene.namespace.clone();
        let opened = Conversation::open(&client, &namespace, &life.name, in_flight, LEASE);
        let Ok(mut conversation) = opened else {
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let leave = life.visit(&mut conversation);
        match leave {
            Leave::Broken | Leave::Drain => {}
            Leave::Crash { same } => {
                conversation.cut();
                if !same {
                    lives += 1;
                    life.name = format!("consumer-{}-{lives}", life.client).into();
                }
            }
            Leave::HangUp => {
                let at_ns = life.scene.record.now_ns();
                conversation.hang_up();
                let is_over = life.hear_out(&mut conversation) && conversation.ended().is_ok();
                let closed = Closed {
                    consumer: life.name.clone(),
                    at_ns,
                    is_over,
                };
                life.scene.record.told().closed_streams.push(closed);
            }
        }
        life.give_up();
        let pause = life.rng.gen_range(10..100);
        thread::sleep(Duration::from_millis(pause));
    }
}

impl Life {
    fn visit(&mut self, conversation: &mut Conversation) -> Leave {
        let asked_ns = self.scene.record.now_ns();
        // A stream at a peer that says nothing at all is left some time.
        let mut heard = Instant::now();
        let mut is_draining = false;
        loop {
            if !self.scene.works() {
                return Leave::HangUp;
            }
            let next = self.plans.iter().map(|plan| plan.at).min();
            let wait = next.map_or(Duration::from_millis(100), |at| {
                at.saturating_duration_since(Instant::now())
            });
            match conversation.listen(wait.min(Duration::from_millis(100))) {
                Listened::Ended => return Leave::Broken,
                Listened::Nothing => {
                    let silent = heard.elapsed() > Duration::from_secs(4);
                    if silent {
                        return Leave::Crash { same: true };
                    }
                }
                Listened::Heard(Heard::consuming(_)) => heard = Instant::now(),
                Listened::Heard(Heard::delivery(delivery)) => {
                    heard = Instant::now();
                    let noted =
                        calls::note(&self.scene, self.client, &self.name, asked_ns, &delivery);
                    if let Some((fate, id, token)) = noted {
                        self.plan(fate, id, token);
                    }
                    match self.whim() {
                        Some(Leave::Drain) => {
                            is_draining |= conversation.say(Say::drain(ConsumeDrain::new()));
                        }
                        Some(leave) => return leave,
                        None => {}
                    }
                }
                Listened::Heard(Heard::result(result)) => {
                    heard = Instant::now();
                    self.answered(&result);
                }
            }
            if !self.say_what_is_due(conversation) {
                return Leave::Broken;
            }
            if is_draining && self.plans.is_empty() && self.said.is_empty() {
                return Leave::Drain;
            }
        }
    }

    /// True while bad habits are in order.
    fn is_wild(&self) -> bool {
        !self.is_steady && self.scene.is_wild()
    }

    /// What comes over it after a delivery.
    fn whim(&mut self) -> Option<Leave> {
        if !self.is_wild() {
            return None;
        }
        match self.rng.gen_range(0..2_500) {
            0..=2 => Some(Leave::Crash { same: true }),
            3..=4 => Some(Leave::Crash { same: false }),
            5..=6 => Some(Leave::HangUp),
            7..=8 => Some(Leave::Drain),
            _ => None,
        }
    }

    /// What it is going to do about a task.
    fn plan(&mut self, fate: Fate, id: TaskId, token: u64) {
        let (now, is_wild) = (Instant::now(), self.is_wild());
        let mut add = |after_ms: u64, act| {
            self.plans.push(Plan {
                at: now + Duration::from_millis(after_ms),
                act,
                id,
                token,
            });
        };
        let soon = match self.is_steady {
            true => 0,
            false => self.rng.gen_range(0..20),
        };
        let lease_ms = LEASE.as_millis() as u64;
        match fate {
            Fate::Poison => add(soon, Act::Nack),
            Fate::Hopeless => add(soon, Act::NackForGood),
            Fate::Good if !is_wild => add(soon, Act::Ack),
            Fate::Good => match self.rng.gen_range(0..60) {
                0..=2 => add(soon, Act::Nack),
                3..=4 => add(soon, Act::Release),
                // Beyond the lease: it is refused then, or it is a breach.
                5 => add(lease_ms + 300, Act::Ack),
                6..=7 => {
                    add(lease_ms / 2, Act::Extend);
                    add(lease_ms + lease_ms / 4, Act::Ack);
                }
                // Twice the same.
                8 => {
                    add(soon, Act::Ack);
                    add(soon + 1, Act::Ack);
                }
                _ => add(soon, Act::Ack),
            },
        }
    }

    fn say_what_is_due(&mut self, conversation: &mut Conversation) -> bool {
        let now = Instant::now();
        let plans = std::mem::take(&mut self.plans);
        let (due, later): (Vec<_>, Vec<_>) = plans.into_iter().partition(|p| p.at <= now);
        self.plans = later;
        for plan in due {
            let said_ns = self.scene.record.now_ns();
            let said = self.said.entry((plan.id, plan.token)).or_default();
            said.open(plan.act, said_ns);
            if !conversation.say(words(&plan)) {
                return false;
            }
        }
        true
    }

    fn answered(&mut self, result: &LeaseResult) {
        let Some(id) = calls::id(&self.scene.record, result.get_task_id()) else {
            return;
        };
        let token = result.get_lease_token();
        let said = self.said.entry((id, token)).or_default();
        let Some(answered) = said.answered(result) else {
            let text = format!("an answer to what nobody said: {result:?}");
            self.scene.record.absurd(text);
            return;
        };
        if said.is_answered() {
            self.said.remove(&(id, token));
        }
        self.note(id, token, answered);
    }

    fn note(&self, id: TaskId, token: u64, answered: Vec<(Act, u64, LeaseResult)>) {
        let record = &self.scene.record;
        for (act, said_ns, result) in answered {
            let end = calls::lease_end(record, act, &result);
            record.ended(self.client, Call::Lease(act, id, token), said_ns, end);
        }
    }

    /// After the last word the peer answers what is open, and ends; whether it did.
    fn hear_out(&mut self, conversation: &mut Conversation) -> bool {
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            match conversation.listen(Duration::from_millis(200)) {
                Listened::Ended => return true,
                Listened::Heard(Heard::result(result)) => self.answered(&result),
                _ => {}
            }
        }
        false
    }

    /// What was not answered never will be.
    fn give_up(&mut self) {
        self.plans.clear();
        for ((id, token), said) in std::mem::take(&mut self.said) {
            let (answered, open) = said.end();
            self.note(id, token, answered);
            let record = &self.scene.record;
            for (act, said_ns) in open {
                let call = Call::Lease(act, id, token);
                record.ended(self.client, call, said_ns, End::Unknown);
            }
        }
    }
}

fn words(plan: &Plan) -> Say {
    let lease = || {
        let mut lease = LeaseRef::new();
        lease.set_task_id(plan.id.to_string());
        lease.set_lease_token(plan.token);
        lease
    };
    match plan.act {
        Act::Ack => Say::ack(lease()),
        Act::Release => Say::release(lease()),
        Act::Nack | Act::NackForGood => {
            let mut nack = Nack::new();
            nack.set_task_id(plan.id.to_string());
            nack.set_lease_token(plan.token);
            nack.set_permanent(plan.act == Act::NackForGood);
            Say::nack(nack)
        }
        Act::Extend => {
            let mut extend = Extend::new();
            extend.set_task_id(plan.id.to_string());
            extend.set_lease_token(plan.token);
            extend.set_lease(calls::span(LEASE_MAX));
            Say::extend(extend)
        }
    }
}
