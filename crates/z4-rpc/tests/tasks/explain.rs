//! Why a task does not run.

use z4_core::state::RateLimit;

use super::*;

#[test]
fn a_task_that_does_not_run_is_explained() {
    let (peer, client) = started();
    let kinds = |id: &str| {
        let reasons = explain(&client, id).take_reasons().into_iter();
        let kinds: Vec<_> = reasons.map(|reason| reason.get_kind()).collect();
        kinds
    };
    use ReasonKind as K;
    let later = create(&client, 1, FAR_S).remove(0);
    let due = create(&client, 3, 0);
    let explained = explain(&client, &later);
    assert_eq!(explained.get_task().get_id(), later);
    assert_eq!(
        kinds(&later),
        [K::REASON_KIND_NO_CONSUMER, K::REASON_KIND_NOT_DUE]
    );
    let not_due = &explained.get_reasons()[1];
    assert_eq!(not_due.get_until(), &seconds(FAR_S));
    // The hours behind the days are left out when there are none.
    assert!(not_due.get_message().contains(" d"), "{not_due:?}");
    assert_eq!(
        kinds(&due[2]),
        [K::REASON_KIND_NO_CONSUMER, K::REASON_KIND_BEHIND]
    );
    let behind = explain(&client, &due[2]);
    assert_eq!(behind.get_reasons()[1].get_count(), 2);
    patch(&peer, |p| {
        p.rate = Some(RateLimit::per_s(1));
        p.rate_burst = Some(1);
    });
    assert_eq!(lease(&peer, "n", "w~1.0.1", 9).len(), 1);
    assert_eq!(kinds(&due[0]), [K::REASON_KIND_LEASED]);
    patch(&peer, |p| {
        p.paused = Some(true);
        p.leased_max = Some(1);
        p.rate = Some(RateLimit::NONE);
    });
    assert_eq!(
        kinds(&due[1]),
        [
            K::REASON_KIND_PAUSED,
            K::REASON_KIND_NO_CONSUMER,
            K::REASON_KIND_LEASED_MAX,
        ]
    );
    patch(&peer, |p| {
        p.paused = Some(false);
        p.leased_max = Some(0);
    });
    let dead = kill(&peer, "n", 1).remove(0).to_string();
    assert_eq!(kinds(&dead), [K::REASON_KIND_DEAD]);
    let message = explain(&client, &dead).get_reasons()[0]
        .get_message()
        .to_owned();
    assert!(message.contains("boom"), "{message}");
    cancel(&client, &later).unwrap();
    let mut request = ExplainTaskRequest::default();
    request.set_namespace("n".into());
    request.set_task_id(later);
    let answer = client.collection().explain_task(&request);
    refused(answer, S::NOT_FOUND, "task_id");
    peer.stop();
}
