//! A producer as people write them, on the client crate: creates one by one, in
//! batches and on a stream of many, reads and cancels. The crate repeats what is
//! safe to repeat; what it says of the outcome (`may_be_done`) is taken at its word,
//! and judged.

use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use futures::executor::block_on;
use rand::rngs::StdRng;
use rand::Rng;
use z4_check::history::Standing;
use z4_check::told::{Call, End, Spec};
use z4_client::{Client, Error, ErrorKind, NewTask, Producer, ProducerOptions, Task, TaskState};

use super::producer::{self, REPEAT_LIMIT};
use super::{calls, Scene};

/// Works until no more tasks are to be made.
pub fn run(scene: Scene, client: u32, rng: StdRng) {
    let Some(crate_client) = connect(&scene, client, Scene::produces) else {
        return;
    };
    let options = ProducerOptions {
        patience: REPEAT_LIMIT,
        ..ProducerOptions::default()
    };
    let mut maker = Maker {
        producer: Producer::new(&crate_client, options),
        crate_client,
        scene,
        client,
        rng,
    };
    while maker.scene.produces() {
        match maker.rng.gen_range(0..100) {
            0..=29 => maker.create(),
            30..=37 => maker.create_batch(),
            38..=59 => maker.send_many(),
            60..=91 => maker.read(),
            _ => maker.cancel(),
        }
        let pause = maker.rng.gen_range(maker.scene.pause_ms.clone());
        thread::sleep(Duration::from_millis(pause));
    }
}

/// A client of the crate, as soon as any peer takes a connection; `None`: it was
/// over before.
pub fn connect(scene: &Scene, client: u32, goes_on: fn(&Scene) -> bool) -> Option<Client> {
    scene.record.told().through_crate.insert(client);
    while goes_on(scene) {
        let addresses = scene.addresses(client);
        let options = crate::tls::options(&addresses);
        let connecting = Client::connect(addresses, options);
        if let Ok(client) = block_on(connecting) {
            return Some(client);
        }
    }
    None
}

struct Maker {
    scene: Scene,
    client: u32,
    rng: StdRng,
    crate_client: Client,
    producer: Producer,
}

/// A create that is to be made.
struct Plan {
    request: String,
    labels: Vec<u64>,
    tasks: Vec<NewTask>,
}

impl Maker {
    fn plan(&mut self, count: usize) -> Plan {
        let mut plan = Plan {
            request: String::new(),
            labels: Vec::new(),
            tasks: Vec::new(),
        };
        for _ in 0..count {
            let label = self.scene.next_label();
            let spec = producer::spec(&mut self.rng);
            self.scene.record.told().specs.insert(label, spec);
            plan.labels.push(label);
            plan.tasks.push(task(&self.scene.namespace, label, spec));
        }
        plan.request = format!("m{}", plan.labels[0]);
        plan
    }

    fn create(&mut self) {
        let mut plan = self.plan(1);
        let task = plan.tasks.remove(0).request_id(&plan.request);
        let invoked_ns = self.scene.record.now_ns();
        let made = block_on(self.crate_client.create(task));
        self.created(plan, invoked_ns, made.map(|task| vec![task]));
    }

    fn create_batch(&mut self) {
        let count = self.rng.gen_range(2..9);
        let mut plan = self.plan(count);
        let tasks = std::mem::take(&mut plan.tasks);
        let namespace = &self.scene.namespace;
        let invoked_ns = self.scene.record.now_ns();
        let making = self
            .crate_client
            .create_batch(namespace, tasks, Some(&plan.request));
        let made = block_on(making);
        self.created(plan, invoked_ns, made);
    }

    /// Some creates in flight on one stream.
    fn send_many(&mut self) {
        let count = self.rng.gen_range(1..6);
        let mut sent = Vec::new();
        for _ in 0..count {
            let mut plan = self.plan(1);
            let task = plan.tasks.remove(0).request_id(&plan.request);
            let invoked_ns = self.scene.record.now_ns();
            let answer = block_on(self.producer.send(task));
            sent.push((plan, invoked_ns, answer));
        }
        for (plan, invoked_ns, answer) in sent {
            let made = block_on(answer);
            self.created(plan, invoked_ns, made.map(|task| vec![task]));
        }
    }

    fn created(&self, plan: Plan, invoked_ns: u64, made: Result<Vec<Task>, Error>) {
        let record = &self.scene.record;
        let end = match made {
            Ok(tasks) => {
                let ids = tasks.iter().filter_map(|task| calls::id(record, &task.id));
                let ids: Vec<_> = ids.collect();
                if ids.len() != plan.labels.len() {
                    record.absurd(format!("{:?} were answered with {tasks:?}", plan.labels));
                }
                ids.iter().for_each(|id| self.scene.remember(*id));
                End::Made(ids)
            }
            Err(error) => {
                if !error.is_retryable() {
                    let text = format!("create {:?} was refused: {error}", plan.labels);
                    record.absurd(text);
                }
                not_done(&error)
            }
        };
        let call = Call::Create {
            request: Some(plan.request),
            labels: plan.labels,
        };
        record.ended(self.client, call, invoked_ns, end);
    }

    fn read(&mut self) {
        let Some(id) = self.scene.some_task(&mut self.rng) else {
            return;
        };
        let invoked_ns = self.scene.record.now_ns();
        let namespace = &self.scene.namespace;
        let end = match block_on(self.crate_client.get(namespace, &id.to_string())) {
            Ok(task) => End::Stands(stands(&task)),
            Err(error) => not_done(&error),
        };
        let record = &self.scene.record;
        record.ended(self.client, Call::Get(id), invoked_ns, end);
    }

    fn cancel(&mut self) {
        let Some(id) = self.scene.some_task(&mut self.rng) else {
            return;
        };
        let invoked_ns = self.scene.record.now_ns();
        let namespace = &self.scene.namespace;
        let end = match block_on(self.crate_client.cancel(namespace, &id.to_string())) {
            Ok(_) => End::Done,
            Err(error) => not_done(&error),
        };
        let record = &self.scene.record;
        record.ended(self.client, Call::Cancel(id), invoked_ns, end);
    }
}

fn task(namespace: &str, label: u64, spec: Spec) -> NewTask {
    let mut task = NewTask::new(namespace, spec.fate.payload(label));
    if spec.due_ns > 0 {
        task = task.at(UNIX_EPOCH + Duration::from_nanos(spec.due_ns));
    }
    if spec.ttl_ms > 0 {
        task = task.ttl(Duration::from_millis(spec.ttl_ms));
    }
    if spec.attempts_max > 0 {
        task = task.max_attempts(spec.attempts_max);
    }
    task
}

/// The end of a call that failed.
fn not_done(error: &Error) -> End {
    match error.kind() {
        _ if error.may_be_done() => End::Unknown,
        ErrorKind::NotFound => End::Stands(Standing::Missing),
        ErrorKind::FailedPrecondition => End::Stands(Standing::Present),
        kind => End::Refused(format!("{kind:?}")),
    }
}

fn stands(task: &Task) -> Standing {
    match task.state {
        Some(TaskState::Scheduled) => Standing::Waiting,
        Some(TaskState::Leased) => Standing::Leased,
        Some(TaskState::Dead) => Standing::Dead,
        _ => Standing::Present,
    }
}
