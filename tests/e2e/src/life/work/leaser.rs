//! A consumer without a stream: leases some tasks with one call, and ends them
//! with another, often at another peer. Now and then it forgets all about what
//! it leased.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::Rng;
use z4_check::told::{Act, Call, End, Fate};
use z4_core::TaskId;
use z4_proto::generated::collection::{
    AckTasksRequest, LeaseRef, LeaseResult, LeaseTasksRequest, Nack, NackTasksRequest,
};

use super::calls::{self, TRY_LIMIT};
use super::{Scene, LEASE};
use crate::client::option;

/// How long a call that leases may take. A peer gives the leases back when the
/// caller's time was over, by the peer's clock: more than a clock is made to jump.
const LEASE_LIMIT: Duration = Duration::from_secs(4);

/// Works until all is over.
pub fn run(scene: Scene, client: u32, mut rng: StdRng) {
    let mut lives = 0;
    while scene.works() {
        lives += 1;
        let consumer = format!("leaser-{client}-{lives}").into();
        let deliveries = lease(&scene, client, &consumer, &mut rng);
        if deliveries.is_empty() {
            thread::sleep(Duration::from_millis(rng.gen_range(20..100)));
            continue;
        }
        if scene.is_wild() && rng.gen_ratio(1, 15) {
            continue;
        }
        end(&scene, client, &mut rng, &deliveries);
    }
}

fn lease(
    scene: &Scene,
    client: u32,
    consumer: &Arc<str>,
    rng: &mut StdRng,
) -> Vec<(Fate, TaskId, u64)> {
    let mut request = LeaseTasksRequest::new();
    request.set_namespace(scene.namespace.clone());
    request.set_consumer_id(consumer.to_string());
    request.set_max_tasks(rng.gen_range(1..20));
    request.set_lease(calls::span(LEASE));
    request.set_wait(calls::span(Duration::from_millis(500)));
    let asked_ns = scene.record.now_ns();
    let collection = &scene.client(rng).collection;
    let answer = collection.lease_tasks_opt(&request, option(LEASE_LIMIT));
    let Ok(answer) = answer else {
        return Vec::new();
    };
    let deliveries = answer.get_deliveries().iter();
    deliveries
        .filter_map(|delivery| calls::note(scene, client, consumer, asked_ns, delivery))
        .collect()
}

/// Acks what can be done and nacks the rest, each with one call.
fn end(scene: &Scene, client: u32, rng: &mut StdRng, leases: &[(Fate, TaskId, u64)]) {
    let (good, bad): (Vec<_>, Vec<_>) = leases.iter().partition(|lease| lease.0 == Fate::Good);
    let collection = scene.client(rng).collection.clone();
    if !good.is_empty() {
        let mut request = AckTasksRequest::new();
        request.set_namespace(scene.namespace.clone());
        let lease = |(_, id, token): &(Fate, TaskId, u64)| {
            let mut lease = LeaseRef::new();
            lease.set_task_id(id.to_string());
            lease.set_lease_token(*token);
            lease
        };
        request.set_leases(good.iter().map(lease).collect());
        let invoked_ns = scene.record.now_ns();
        let answer = collection.ack_tasks_opt(&request, option(TRY_LIMIT));
        let results = answer.map(|mut answer| answer.take_results().into_vec());
        told(scene, client, invoked_ns, &good, results.ok());
    }
    if !bad.is_empty() {
        let mut request = NackTasksRequest::new();
        request.set_namespace(scene.namespace.clone());
        let nack = |(fate, id, token): &(Fate, TaskId, u64)| {
            let mut nack = Nack::new();
            nack.set_task_id(id.to_string());
            nack.set_lease_token(*token);
            nack.set_permanent(*fate == Fate::Hopeless);
            nack
        };
        request.set_nacks(bad.iter().map(nack).collect());
        let invoked_ns = scene.record.now_ns();
        let answer = collection.nack_tasks_opt(&request, option(TRY_LIMIT));
        let results = answer.map(|mut answer| answer.take_results().into_vec());
        told(scene, client, invoked_ns, &bad, results.ok());
    }
}

fn told(
    scene: &Scene,
    client: u32,
    invoked_ns: u64,
    leases: &[(Fate, TaskId, u64)],
    results: Option<Vec<LeaseResult>>,
) {
    let record = &scene.record;
    if let Some(results) = &results {
        if results.len() != leases.len() {
            record.absurd(format!(
                "{} leases, {} answers",
                leases.len(),
                results.len()
            ));
        }
    }
    for (n, (fate, id, token)) in leases.iter().enumerate() {
        let act = match fate {
            Fate::Good => Act::Ack,
            Fate::Poison => Act::Nack,
            Fate::Hopeless => Act::NackForGood,
        };
        let result = results.as_ref().and_then(|results| results.get(n));
        let end = result.map_or(End::Unknown, |r| calls::lease_end(record, act, r));
        record.ended(client, Call::Lease(act, *id, *token), invoked_ns, end);
    }
}
