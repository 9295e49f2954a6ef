//! Dead letters are redriven and purged.

use super::*;

pub fn redrive(
    client: &Client,
    change: impl FnOnce(&mut RedriveTasksRequest),
) -> grpcio::Result<(u64, bool)> {
    let mut request = RedriveTasksRequest::default();
    request.set_namespace("n".into());
    change(&mut request);
    let done = client.collection().redrive_tasks(&request)?;
    Ok((done.get_redriven(), done.get_more()))
}

pub fn purge(
    client: &Client,
    change: impl FnOnce(&mut PurgeTasksRequest),
) -> grpcio::Result<(u64, bool)> {
    let mut request = PurgeTasksRequest::default();
    request.set_namespace("n".into());
    change(&mut request);
    let done = client.collection().purge_tasks(&request)?;
    Ok((done.get_purged(), done.get_more()))
}

#[test]
fn dead_letters_by_id() {
    let (peer, client) = started();
    create(&client, 5, 0);
    let dead: Vec<_> = kill(&peer, "n", 4).iter().map(TaskId::to_string).collect();
    let waiting = create(&client, 1, FAR_S).remove(0);
    // Others are passed over.
    let some = vec![waiting.clone(), dead[0].clone(), dead[1].clone()];
    let done = redrive(&client, |r| r.set_task_ids(some.clone().into())).unwrap();
    assert_eq!(done, (2, false));
    let back = client.get("n", &dead[0]).unwrap();
    assert_eq!(back.get_state(), TaskState::TASK_STATE_SCHEDULED);
    assert_eq!((back.get_failures(), back.get_attempt()), (0, 1));
    // None of them is dead any more.
    refused(
        redrive(&client, |r| r.set_task_ids(some.into())),
        S::FAILED_PRECONDITION,
        "no dead letter",
    );
    let kept = redrive(&client, |r| {
        r.set_task_ids(vec![dead[2].clone()].into());
        r.set_keep_attempts(true);
    });
    assert_eq!(kept.unwrap(), (1, false));
    assert_eq!(client.get("n", &dead[2]).unwrap().get_failures(), 1);
    let last = |r: &mut PurgeTasksRequest| r.set_task_ids(vec![dead[3].clone()].into());
    assert_eq!(purge(&client, last).unwrap(), (1, false));
    refused(purge(&client, last), S::NOT_FOUND, &dead[3]);
    refused(
        purge(&client, |r| r.set_task_ids(vec!["x".into()].into())),
        S::INVALID_ARGUMENT,
        "task_ids[0]",
    );
    peer.stop();
}

#[test]
fn dead_letters_by_filter_in_parts() {
    let (peer, client) = started();
    // Three parts and a bit.
    create(&client, 3_100, 0);
    for _ in 0..4 {
        kill(&peer, "n", 1_000);
    }
    assert_eq!(redrive(&client, |r| r.set_limit(7)).unwrap(), (7, true));
    let old = purge(&client, |r| {
        r.set_reason(DeathReason::DEATH_REASON_TTL);
    });
    assert_eq!(old.unwrap(), (0, false));
    let before = purge(&client, |r| r.set_to(seconds(1_000)));
    assert_eq!(before.unwrap(), (0, false));
    assert_eq!(
        purge(&client, |r| r.set_limit(1_030)).unwrap(),
        (1_030, true)
    );
    // Oldest first.
    let left = pages(&client, list(|r| r.set_state(TaskState::TASK_STATE_DEAD))).concat();
    assert_eq!(left.len(), 3_100 - 1_037);
    // No room for all of them.
    patch(&peer, |p| p.pending_max = Some(1_507));
    assert_eq!(redrive(&client, |_| ()).unwrap(), (1_500, true));
    refused(
        redrive(&client, |_| ()),
        S::RESOURCE_EXHAUSTED,
        "pending_max",
    );
    assert_eq!(purge(&client, |r| r.set_limit(500)).unwrap(), (500, true));
    assert_eq!(purge(&client, |_| ()).unwrap(), (63, false));
    let left = pages(&client, list(|r| r.set_state(TaskState::TASK_STATE_DEAD))).concat();
    assert_eq!(left, []);
    let mut elsewhere = PurgeTasksRequest::default();
    elsewhere.set_namespace("m".into());
    let answer = client.collection().purge_tasks(&elsewhere);
    refused(answer, S::NOT_FOUND, "namespace m");
    peer.stop();
}
