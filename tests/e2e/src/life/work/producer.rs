//! A producer: creates tasks of all kinds, reads and cancels some of them. With
//! a request id it repeats a create, at any peer, until it knows that it was
//! done.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::Rng;
use z4_check::told::{Call, End, Fate, Spec};
use z4_core::TaskId;
use z4_proto::generated::collection::{
    CancelTaskRequest, CreateTaskRequest, CreateTasksRequest, GetTaskRequest, Task,
};

use super::calls::{self, TRY_LIMIT};
use super::Scene;
use crate::client::{option, Client, Refused};

/// How long a create is repeated before its outcome is left unknown. Shorter
/// than request ids are remembered.
pub const REPEAT_LIMIT: Duration = Duration::from_secs(25);

/// Works until no more tasks are to be made.
pub fn run(scene: Scene, client: u32, mut rng: StdRng) {
    while scene.produces() {
        match rng.gen_range(0..100) {
            0..=44 => create_some(&scene, client, &mut rng, 1, true),
            45..=52 => create_some(&scene, client, &mut rng, 1, false),
            53..=59 => {
                let count = rng.gen_range(2..9);
                create_some(&scene, client, &mut rng, count, true);
            }
            60..=91 => read(&scene, client, &mut rng),
            _ => cancel(&scene, client, &mut rng),
        }
        thread::sleep(Duration::from_millis(rng.gen_range(scene.pause_ms.clone())));
    }
}

/// What a new task is to be like.
pub fn spec(rng: &mut StdRng) -> Spec {
    let mut spec = Spec {
        fate: Fate::Good,
        due_ns: 0,
        ttl_ms: 0,
        attempts_max: 0,
    };
    match rng.gen_range(0..100) {
        0..=54 => {}
        55..=74 => spec.due_ns = later(rng.gen_range(200..3_000)),
        75..=82 => spec.due_ns = later(rng.gen_range(4_000..9_000)),
        83..=88 => {
            spec.fate = Fate::Poison;
            spec.attempts_max = 2;
        }
        89..=91 => spec.fate = Fate::Hopeless,
        _ => spec.ttl_ms = rng.gen_range(1_000..4_000),
    }
    spec
}

/// So many milliseconds from now, in nanoseconds since 1970.
pub fn later(ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ns = now.map_or(0, |since| since.as_nanos() as u64);
    now_ns + ms * 1_000_000
}

fn create_some(scene: &Scene, client: u32, rng: &mut StdRng, count: usize, repeats: bool) {
    let specs = (0..count).map(|_| spec(rng)).collect();
    create(scene, client, rng, specs, repeats);
}

/// Creates these tasks with one call, which is repeated when it may be; whether it was
/// acknowledged.
pub fn create(
    scene: &Scene,
    client: u32,
    rng: &mut StdRng,
    specs: Vec<Spec>,
    repeats: bool,
) -> bool {
    let count = specs.len();
    let labels: Vec<u64> = (0..count).map(|_| scene.next_label()).collect();
    let planned = labels.iter().copied().zip(specs);
    let tasks: Vec<_> = planned
        .clone()
        .map(|(label, spec)| request(&scene.namespace, label, spec))
        .collect();
    scene.record.told().specs.extend(planned);
    let request = repeats.then(|| format!("r{}", labels[0]));
    let invoked_ns = scene.record.now_ns();
    let end = Instant::now() + REPEAT_LIMIT;
    // One try whose outcome was not learnt makes all of it unknown, whatever
    // the later ones are refused with.
    let mut is_open = false;
    let outcome = loop {
        match send(
            scene.client(rng),
            &scene.namespace,
            request.as_deref(),
            &tasks,
        ) {
            Ok(made) => break made_end(scene, &made, count),
            Err(refused) => {
                let definite = calls::is_definite(refused.code);
                is_open |= !definite;
                let busy = refused.code == grpcio::RpcStatusCode::RESOURCE_EXHAUSTED;
                if definite && !busy {
                    let text = format!("create {labels:?} was refused: {refused}");
                    scene.record.absurd(text);
                }
                if request.is_none() || definite && !busy || Instant::now() > end {
                    break if is_open {
                        End::Unknown
                    } else {
                        End::Refused(refused.code.to_string())
                    };
                }
            }
        }
        thread::sleep(Duration::from_millis(rng.gen_range(5..50)));
    };
    if let End::Made(ids) = &outcome {
        ids.iter().for_each(|id| scene.remember(*id));
    }
    let is_made = matches!(outcome, End::Made(_));
    let call = Call::Create { request, labels };
    scene.record.ended(client, call, invoked_ns, outcome);
    is_made
}

fn request(namespace: &str, label: u64, spec: Spec) -> CreateTaskRequest {
    let mut request = CreateTaskRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_payload(spec.fate.payload(label));
    request.set_max_attempts(spec.attempts_max);
    if spec.due_ns > 0 {
        request.set_deliver_at(calls::timestamp(spec.due_ns));
    }
    if spec.ttl_ms > 0 {
        request.set_ttl(calls::span(Duration::from_millis(spec.ttl_ms)));
    }
    request
}

fn send(
    client: &Client,
    namespace: &str,
    request_id: Option<&str>,
    tasks: &[CreateTaskRequest],
) -> Result<Vec<Task>, Refused> {
    let request_id = request_id.unwrap_or_default().to_owned();
    if let [task] = tasks {
        let mut task = task.clone();
        task.set_request_id(request_id);
        let mut answer = client.create_within(&task, TRY_LIMIT)?;
        return Ok(vec![answer.take_task()]);
    }
    let mut batch = CreateTasksRequest::new();
    batch.set_request_id(request_id);
    batch.set_namespace(namespace.to_owned());
    batch.set_tasks(tasks.to_vec().into());
    let limit = option(TRY_LIMIT);
    let mut answer = client.collection.create_tasks_opt(&batch, limit)?;
    Ok(answer.take_tasks().into_vec())
}

fn made_end(scene: &Scene, made: &[Task], count: usize) -> End {
    let record = &scene.record;
    let ids: Vec<TaskId> = made
        .iter()
        .filter_map(|task| calls::id(record, task.get_id()))
        .collect();
    if ids.len() == count {
        return End::Made(ids);
    }
    record.absurd(format!("a create of {count} was answered with {made:?}"));
    End::Unknown
}

fn read(scene: &Scene, client: u32, rng: &mut StdRng) {
    let Some(id) = scene.some_task(rng) else {
        return;
    };
    let mut request = GetTaskRequest::new();
    request.set_namespace(scene.namespace.clone());
    request.set_task_id(id.to_string());
    let invoked_ns = scene.record.now_ns();
    let collection = &scene.client(rng).collection;
    let end = match collection.get_task_opt(&request, option(TRY_LIMIT)) {
        Ok(task) if task.get_id() == request.get_task_id() => End::Stands(calls::stands(&task)),
        Ok(task) => {
            scene.record.absurd(format!("a get of {id} gave {task:?}"));
            End::Unknown
        }
        Err(error) => calls::not_done(&error.into()),
    };
    scene.record.ended(client, Call::Get(id), invoked_ns, end);
}

fn cancel(scene: &Scene, client: u32, rng: &mut StdRng) {
    let Some(id) = scene.some_task(rng) else {
        return;
    };
    let mut request = CancelTaskRequest::new();
    request.set_namespace(scene.namespace.clone());
    request.set_task_id(id.to_string());
    let invoked_ns = scene.record.now_ns();
    let collection = &scene.client(rng).collection;
    let end = match collection.cancel_task_opt(&request, option(TRY_LIMIT)) {
        Ok(_) => End::Done,
        Err(error) => calls::not_done(&error.into()),
    };
    scene
        .record
        .ended(client, Call::Cancel(id), invoked_ns, end);
}
