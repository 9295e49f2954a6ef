//! A consumer with habits, good and bad, that comes back whatever happens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use z4_proto::generated::collection::{
    ConsumeDrain, ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard,
    Delivery, Extend, LeaseOutcome, LeaseRef, LeaseResult, Nack,
};

use super::conversation::{Conversation, Listened};
use super::history::{Act, History};
use super::{Fate, LEASE};
use crate::client::Client;

/// Tasks that a worker holds at most.
const IN_FLIGHT: u32 = 16;

/// What a consumer is like. Every one of them does good work too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Acks everything soon.
    Steady,
    /// Nacks one task in three.
    Nacks,
    /// Holds one task in eight beyond its lease, then acks it all the same.
    Stalls,
    /// Dies now and then with tasks in hand, and comes back under its name.
    Crashes,
    /// Dies now and then, and comes back under another name.
    CrashesForGood,
    /// Works long, and extends its leases.
    Extends,
    /// Drains, leaves, and comes back.
    Drains,
    /// Gives one task in four back untouched, and hangs up now and then.
    Releases,
}

impl Habit {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Steady,
        Self::Nacks,
        Self::Stalls,
        Self::Crashes,
        Self::CrashesForGood,
        Self::Extends,
        Self::Drains,
        Self::Releases,
    ];
}

/// A consumer at work.
pub struct Worker(JoinHandle<()>);

impl Worker {
    /// Starts the `n`-th consumer. `signals`: from the first on it only does
    /// good work, from the second on it leaves.
    #[must_use]
    pub fn start(
        n: usize,
        habit: Habit,
        clients: &[Client],
        namespace: &str,
        history: &History,
        signals: (Arc<AtomicBool>, Arc<AtomicBool>),
        seed: u64,
    ) -> Self {
        let mut life = Life {
            n,
            habit,
            clients: clients.to_vec(),
            namespace: namespace.to_owned(),
            history: history.clone(),
            calm: signals.0,
            stop: signals.1,
            chance: seed ^ (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            lives: 0,
            visits: 0,
        };
        Self(thread::spawn(move || life.live()))
    }

    /// Waits until it has left.
    ///
    /// # Panics
    /// When it panicked.
    pub fn join(self) {
        self.0.join().expect("a consumer panicked");
    }
}

struct Life {
    n: usize,
    habit: Habit,
    clients: Vec<Client>,
    namespace: String,
    history: History,
    calm: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    chance: u64,
    /// Names used up.
    lives: usize,
    /// Streams opened.
    visits: usize,
}

/// What a worker is going to do about a lease.
struct Plan {
    at: Instant,
    id: String,
    token: u64,
    act: Act,
}

/// Why a worker leaves a stream.
#[derive(PartialEq, Eq)]
enum Leave {
    Broken,
    Crash,
    Drain,
    HangUp,
    Stop,
}

impl Life {
    /// One in `n`.
    fn happens(&mut self, n: u64) -> bool {
        self.random().is_multiple_of(n)
    }

    /// Numbers that look like chance and are the same for one seed (xorshift).
    fn random(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    fn calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    fn live(&mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let name = format!("worker-{}-{}", self.n, self.lives);
            let client = self.clients[(self.n + self.visits) % self.clients.len()].clone();
            self.visits += 1;
            let opened = Conversation::open(&client, &self.namespace, &name, IN_FLIGHT, LEASE);
            let Ok(mut conversation) = opened else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            match self.visit(&name, &mut conversation) {
                Leave::Crash => {
                    conversation.cut();
                    if self.habit == Habit::CrashesForGood {
                        self.lives += 1;
                    }
                }
                Leave::HangUp | Leave::Stop => {
                    self.history.left(&name);
                    conversation.hang_up();
                    hear_out(&mut conversation);
                }
                Leave::Drain | Leave::Broken => {}
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn visit(&mut self, name: &str, conversation: &mut Conversation) -> Leave {
        let mut plans: Vec<Plan> = Vec::new();
        let mut said: HashMap<(String, u64), Vec<Act>> = HashMap::new();
        let mut held = 0_usize;
        let mut draining = false;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Leave::Stop;
            }
            let next = plans.iter().map(|plan| plan.at).min();
            let wait = next.map_or(Duration::from_millis(100), |at| {
                at.saturating_duration_since(Instant::now())
            });
            match conversation.listen(wait.min(Duration::from_millis(100))) {
                Listened::Ended => return Leave::Broken,
                Listened::Nothing | Listened::Heard(Heard::consuming(_)) => {}
                Listened::Heard(Heard::delivery(delivery)) => {
                    held += 1;
                    let lease_ns = LEASE.as_nanos() as u64;
                    self.history.delivered(name, &delivery, lease_ns);
                    plans.extend(self.plan(&delivery));
                    if let Some(leave) = self.whim(held) {
                        match leave {
                            Leave::Drain => {
                                draining |= conversation.say(Say::drain(ConsumeDrain::new()));
                            }
                            other => return other,
                        }
                    }
                }
                Listened::Heard(Heard::result(result)) => {
                    let key = (result.get_task_id().to_owned(), result.get_lease_token());
                    let acts = said.entry(key).or_default();
                    if !acts.is_empty() {
                        self.history.answered(acts.remove(0), &result);
                    }
                    check_answer(&result);
                }
            }
            let now = Instant::now();
            let (due, later): (Vec<_>, Vec<_>) = plans.into_iter().partition(|p| p.at <= now);
            plans = later;
            for plan in due {
                self.history.said(&plan.id, plan.token, plan.act);
                let key = (plan.id.clone(), plan.token);
                said.entry(key).or_default().push(plan.act);
                if !conversation.say(words(&plan)) {
                    return Leave::Broken;
                }
            }
            let unanswered = said.values().map(Vec::len).sum::<usize>();
            if draining && plans.is_empty() && unanswered == 0 {
                return Leave::Drain;
            }
        }
    }

    /// What comes over it after so many tasks of one stream.
    fn whim(&mut self, held: usize) -> Option<Leave> {
        if self.calm() || held < 20 {
            return None;
        }
        let habit = self.habit;
        match habit {
            Habit::Crashes | Habit::CrashesForGood if self.happens(30) => Some(Leave::Crash),
            Habit::Drains if self.happens(30) => Some(Leave::Drain),
            Habit::Releases if self.happens(60) => Some(Leave::HangUp),
            _ => None,
        }
    }

    /// What it does about a task.
    fn plan(&mut self, delivery: &Delivery) -> Vec<Plan> {
        let now = Instant::now();
        let plan = |after_ms: u64, act| Plan {
            at: now + Duration::from_millis(after_ms),
            id: delivery.get_task().get_id().to_owned(),
            token: delivery.get_lease_token(),
            act,
        };
        let soon = self.random() % 20;
        match Fate::of(delivery.get_task().get_payload()) {
            Fate::Poison => return vec![plan(soon, Act::Nack)],
            Fate::Hopeless => return vec![plan(soon, Act::NackForGood)],
            Fate::Good => {}
        }
        if self.calm() {
            return vec![plan(soon, Act::Ack)];
        }
        let lease_ms = LEASE.as_millis() as u64;
        let habit = self.habit;
        match habit {
            Habit::Nacks if self.happens(3) => vec![plan(soon, Act::Nack)],
            Habit::Stalls if self.happens(8) => vec![plan(lease_ms + 300, Act::Ack)],
            Habit::Releases if self.happens(4) => vec![plan(soon, Act::Release)],
            Habit::Extends if self.happens(8) => vec![
                plan(lease_ms / 2, Act::Extend),
                plan(lease_ms + lease_ms / 4, Act::Ack),
            ],
            _ => vec![plan(soon, Act::Ack)],
        }
    }
}

/// After the last word the peer answers what is open, and ends. Those answers
/// are not noted: the leases stay ones of unknown end.
fn hear_out(conversation: &mut Conversation) {
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        if let Listened::Ended = conversation.listen(Duration::from_millis(200)) {
            return;
        }
    }
}

/// An answer must be one that this version gives.
fn check_answer(result: &LeaseResult) {
    let outcome = result.get_outcome();
    assert_ne!(
        outcome,
        LeaseOutcome::LEASE_OUTCOME_UNSPECIFIED,
        "{result:?}"
    );
    assert_ne!(outcome, LeaseOutcome::LEASE_OUTCOME_INVALID, "{result:?}");
}

fn words(plan: &Plan) -> Say {
    let lease = || {
        let mut lease = LeaseRef::new();
        lease.set_task_id(plan.id.clone());
        lease.set_lease_token(plan.token);
        lease
    };
    match plan.act {
        Act::Ack => Say::ack(lease()),
        Act::Release => Say::release(lease()),
        Act::Nack | Act::NackForGood => {
            let mut nack = Nack::new();
            nack.set_task_id(plan.id.clone());
            nack.set_lease_token(plan.token);
            nack.set_error(format!("{:?}", plan.act));
            nack.set_permanent(plan.act == Act::NackForGood);
            Say::nack(nack)
        }
        Act::Extend => {
            let mut extend = Extend::new();
            extend.set_task_id(plan.id.clone());
            extend.set_lease_token(plan.token);
            extend.set_lease(span(2 * LEASE));
            Say::extend(extend)
        }
    }
}

/// A span as it is on the wire.
#[must_use]
pub fn span(span: Duration) -> protobuf::well_known_types::Duration {
    let mut wire = protobuf::well_known_types::Duration::new();
    wire.set_seconds(span.as_secs() as i64);
    wire.set_nanos(span.subsec_nanos() as i32);
    wire
}
