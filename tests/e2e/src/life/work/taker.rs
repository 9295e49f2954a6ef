//! A consumer as people write them, on the client crate: a handler for each task,
//! which does it, fails it, gives it back, or works for longer than a lease. The
//! crate extends, answers, opens other streams and goes on with its leases. Now and
//! then the program dies with tasks in hand and starts anew under its name.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{select, Either};
use futures::pin_mut;
use rand::rngs::StdRng;
use rand::Rng;
use z4_check::history::Standing;
use z4_check::told::{Act, Call, End, Fate, Handed};
use z4_client::{Client, Consumer, Delivery, Ending, Failure, LeaseOutcome, Shutdown};
use z4_core::TaskId;

use super::{calls, maker, Scene, LEASE};

/// Handlers that run at once.
const IN_FLIGHT: u32 = 24;

/// Works until all is over.
pub fn run(scene: Scene, client: u32, rng: StdRng) {
    let Some(crate_client) = maker::connect(&scene, client, Scene::works) else {
        return;
    };
    let taker = Taker {
        name: format!("taker-{client}").into(),
        scene,
        client,
        rng: RefCell::new(rng),
        open: RefCell::default(),
        dies: RefCell::default(),
        asked_ns: Cell::new(0),
    };
    while taker.scene.works() {
        taker.live(&crate_client);
        taker.give_up();
        thread::sleep(Duration::from_millis(50));
    }
}

struct Taker {
    name: Arc<str>,
    scene: Scene,
    client: u32,
    rng: RefCell<StdRng>,
    /// What handlers said and the cluster has not answered, by the task.
    open: RefCell<HashMap<String, Said>>,
    /// Ends the program of now.
    dies: RefCell<Option<oneshot::Sender<()>>>,
    /// When it began.
    asked_ns: Cell<u64>,
}

/// The end of a handler.
struct Said {
    act: Act,
    token: u64,
    at_ns: u64,
    /// The time at which the handler began.
    began_ns: u64,
}

/// What a handler is going to do.
struct Plan {
    act: Act,
    takes: Duration,
}

impl Taker {
    /// One life of the program, until it dies or all is over.
    fn live(&self, crate_client: &Client) {
        let (dies, death) = oneshot::channel();
        self.dies.replace(Some(dies));
        self.asked_ns.set(self.scene.record.now_ns());
        let consumer = Consumer::builder(&self.scene.namespace)
            .consumer_id(&*self.name)
            .max_in_flight(IN_FLIGHT)
            .lease(LEASE)
            .build(crate_client);
        let watching = watch(self.scene.clone(), consumer.shutdown());
        let running = consumer.run_and_tell(|delivery| self.handle(delivery), |e| self.told(e));
        pin_mut!(running);
        // The program dies: its handlers are dropped with all that is in hand.
        if let Either::Left((Err(error), _)) = block_on(select(running, death)) {
            self.scene.record.absurd(format!("{}: {error}", self.name));
        }
        drop(watching);
    }

    async fn handle(&self, delivery: Delivery) -> Result<(), Failure> {
        let began_ns = self.scene.record.now_ns();
        let Some(plan) = self.came(&delivery, began_ns) else {
            return Ok(());
        };
        if !plan.takes.is_zero() {
            sleep(plan.takes).await;
        }
        let said = Said {
            act: plan.act,
            token: delivery.token,
            at_ns: self.scene.record.now_ns(),
            began_ns,
        };
        self.open.borrow_mut().insert(delivery.task.id, said);
        match plan.act {
            Act::Nack => Err(Failure::new("not at this try")),
            Act::NackForGood => Err(Failure::permanent("never")),
            Act::Release => Err(Failure::release()),
            Act::Ack | Act::Extend => Ok(()),
        }
    }

    /// Records a delivery; what is to be done about it.
    fn came(&self, delivery: &Delivery, at_ns: u64) -> Option<Plan> {
        let record = &self.scene.record;
        let task = &delivery.task;
        let (fate, label) = calls::carried(record, &task.id, &task.payload)?;
        let deadline_ns = delivery.lease_deadline.map_or(0, since_1970_ns);
        let handed = Handed {
            client: self.client,
            consumer: Arc::clone(&self.name),
            asked_ns: self.asked_ns.get(),
            at_ns,
            id: calls::id(record, &task.id)?,
            label,
            token: delivery.token,
            attempt: delivery.attempt,
            deliveries: delivery.deliveries,
            resumed: delivery.resumed,
            began_ns: deadline_ns.saturating_sub(LEASE.as_nanos() as u64),
            deadline_ns,
        };
        record.told().handed.push(handed);
        Some(self.plan(fate))
    }

    fn plan(&self, fate: Fate) -> Plan {
        let mut rng = self.rng.borrow_mut();
        let is_wild = self.scene.is_wild();
        if is_wild && rng.gen_ratio(1, 600) {
            // Fails when it is dying already.
            let _ = self.dies.take().map(|dies| dies.send(()));
        }
        let act = match (fate, rng.gen_range(0..60)) {
            (Fate::Poison, _) => Act::Nack,
            (Fate::Hopeless, _) => Act::NackForGood,
            (Fate::Good, 0..=2) if is_wild => Act::Nack,
            (Fate::Good, 3..=4) if is_wild => Act::Release,
            (Fate::Good, _) => Act::Ack,
        };
        // Most are quick; some are extended once or more before they are done.
        let takes = match rng.gen_range(0..40) {
            0 if is_wild => LEASE.mul_f64(rng.gen_range(0.4..2.2)),
            _ => Duration::ZERO,
        };
        Plan { act, takes }
    }

    /// What the cluster made of the end of a handler, or of a task that came when no
    /// more were wanted, which was given back without one.
    fn told(&self, ending: Ending) {
        let record = &self.scene.record;
        let lease = &ending.answer.lease;
        let Some(id) = calls::id(record, &lease.task_id) else {
            return;
        };
        let said = self.open.borrow_mut().remove(&lease.task_id);
        let (act, at_ns) = match &said {
            // The crate's word of a lost lease may be the answer to an extension, which was
            // under way when the handler ended and is older than its end.
            Some(said) if is_lost(&ending) => (Act::Extend, said.began_ns),
            Some(said) => (said.act, said.at_ns),
            None => (Act::Release, self.asked_ns.get()),
        };
        if let Some(earlier) = said.filter(|said| said.token != lease.token) {
            // It was said of the lease that the handler had, and again when the task
            // came under another before the answer; of that one alone it is told.
            self.ended(earlier.act, id, earlier.token, at_ns, End::Unknown);
        }
        let end = lease_end(&self.scene, act, &ending);
        self.ended(act, id, lease.token, at_ns, end);
    }

    /// The program is over: what was not answered never will be.
    fn give_up(&self) {
        for (task_id, said) in self.open.take() {
            if let Some(id) = calls::id(&self.scene.record, &task_id) {
                self.ended(said.act, id, said.token, said.at_ns, End::Unknown);
            }
        }
    }

    fn ended(&self, act: Act, id: TaskId, token: u64, at_ns: u64, end: End) {
        let call = Call::Lease(act, id, token);
        self.scene.record.ended(self.client, call, at_ns, end);
    }
}

/// Tells whether the lease had ended before the handler did.
fn is_lost(ending: &Ending) -> bool {
    use LeaseOutcome::{AlreadyDead, Expired, Gone, Taken};
    matches!(ending.answer.outcome, Expired | Taken | Gone | AlreadyDead)
}

/// The end of what a handler said, by what the crate tells of it.
fn lease_end(scene: &Scene, act: Act, ending: &Ending) -> End {
    match (act, ending.answer.outcome) {
        (Act::Ack, LeaseOutcome::Done) | (Act::Nack | Act::Release, LeaseOutcome::Waiting) => {
            End::Done
        }
        (Act::Nack | Act::NackForGood | Act::Release, LeaseOutcome::Dead) => End::Died,
        (_, LeaseOutcome::Expired) => End::Stands(Standing::Held),
        (_, LeaseOutcome::Taken) => End::Stands(Standing::Leased),
        (_, LeaseOutcome::Gone) => End::Stands(Standing::Missing),
        (_, LeaseOutcome::AlreadyDead) => End::Stands(Standing::Dead),
        (_, LeaseOutcome::Uncertain) => End::Unknown,
        _ => {
            let text = format!("{act:?} was told as {ending:?}");
            scene.record.absurd(text);
            End::Unknown
        }
    }
}

/// Begins the shutdown when all is over, or when nobody holds what it gives.
fn watch(scene: Scene, shutdown: Shutdown) -> Arc<()> {
    let held = Arc::new(());
    let life = Arc::downgrade(&held);
    thread::spawn(move || {
        while scene.works() && life.strong_count() > 0 {
            thread::sleep(Duration::from_millis(100));
        }
        shutdown.begin();
    });
    held
}

/// Ready after a while, without holding up other handlers.
async fn sleep(span: Duration) {
    let (wake, woken) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(span);
        // The handler may have been dropped.
        let _ = wake.send(());
    });
    let _ = woken.await;
}

fn since_1970_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
