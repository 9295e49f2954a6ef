//! One who looks after dead letters: lists them, tries some again, removes some.

use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::Rng;
use z4_check::history::Standing;
use z4_check::told::{Call, End};
use z4_proto::generated::collection::{
    ListTasksRequest, PurgeTasksRequest, RedriveTasksRequest, Task, TaskState,
};

use super::calls::{self, TRY_LIMIT};
use super::Scene;
use crate::client::{option, Refused};

/// Works until no more tasks are to be made.
pub fn run(scene: Scene, client: u32, mut rng: StdRng) {
    while scene.produces() {
        thread::sleep(Duration::from_millis(rng.gen_range(100..400)));
        let mut request = ListTasksRequest::new();
        request.set_namespace(scene.namespace.clone());
        request.set_state(TaskState::TASK_STATE_DEAD);
        request.set_page_size(20);
        request.set_with_body(true);
        let collection = scene.client(&mut rng).collection.clone();
        let Ok(page) = collection.list_tasks_opt(&request, option(TRY_LIMIT)) else {
            continue;
        };
        for task in page.get_tasks() {
            listed(&scene, task);
        }
        for task in page.get_tasks().iter().take(4) {
            let Some(id) = calls::id(&scene.record, task.get_id()) else {
                continue;
            };
            let collection = scene.client(&mut rng).collection.clone();
            let invoked_ns = scene.record.now_ns();
            let ids = || vec![id.to_string()].into();
            let (call, answer) = if rng.gen_bool(0.5) {
                let mut request = RedriveTasksRequest::new();
                request.set_namespace(scene.namespace.clone());
                request.set_task_ids(ids());
                let answer = collection.redrive_tasks_opt(&request, option(TRY_LIMIT));
                (Call::Redrive(id), answer.map(|a| a.get_redriven()))
            } else {
                let mut request = PurgeTasksRequest::new();
                request.set_namespace(scene.namespace.clone());
                request.set_task_ids(ids());
                let answer = collection.purge_tasks_opt(&request, option(TRY_LIMIT));
                (Call::Purge(id), answer.map(|a| a.get_purged()))
            };
            let end = match answer {
                Ok(1) => End::Done,
                Ok(0) => End::Unknown,
                Ok(count) => {
                    let text = format!("{} of one task did {count}", call.name());
                    scene.record.absurd(text);
                    End::Unknown
                }
                Err(error) => match calls::not_done(&Refused::from(error)) {
                    // What it is instead is not said.
                    End::Stands(Standing::Present) => End::Unknown,
                    other => other,
                },
            };
            scene.record.ended(client, call, invoked_ns, end);
        }
    }
}

/// Records what a listed task carries.
fn listed(scene: &Scene, task: &Task) {
    let record = &scene.record;
    let Some(id) = calls::id(record, task.get_id()) else {
        return;
    };
    if let Some((_, label)) = calls::carried(record, task.get_id(), task.get_payload()) {
        record.told().listed.push((id, label));
    }
}
