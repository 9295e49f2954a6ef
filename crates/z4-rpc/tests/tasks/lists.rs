//! Pages of tasks.

use super::*;

#[test]
fn lists_are_whole_in_order_and_filtered() {
    let (peer, client) = started();
    refused(
        client.collection().list_tasks(&list(|_| ())),
        S::NOT_FOUND,
        "namespace n",
    );
    create(&client, 20, 0);
    let dead = kill(&peer, "n", 6);
    lease(&peer, "n", "w~1.0.1", 4);
    let later = create(&client, 15, FAR_S);
    let whole = pages(&client, list(|_| ())).concat();
    assert_eq!(whole.len(), 35);
    assert!(ids(&whole).windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(ids(&whole[20..]), later);
    assert!(whole.iter().all(|task| task.get_payload().is_empty()));
    assert!(whole.iter().all(|task| task.get_size_bytes() > 0));
    for size in [1, 7, 34, 35] {
        let paged = pages(&client, list(|r| r.set_page_size(size)));
        assert!(paged.iter().all(|page| page.len() <= size as usize));
        assert_eq!(paged.concat(), whole, "{size} a page");
    }
    let of = |state| pages(&client, list(|r| r.set_state(state))).concat();
    let killed = of(TaskState::TASK_STATE_DEAD);
    let dead: Vec<_> = dead.iter().map(TaskId::to_string).collect();
    assert_eq!(ids(&killed), dead);
    assert_eq!(killed[0].get_last_error(), "boom");
    assert_eq!(of(TaskState::TASK_STATE_LEASED).len(), 4);
    assert_eq!(of(TaskState::TASK_STATE_SCHEDULED).len(), 25);
    let due = list(|r| {
        r.set_from(seconds(FAR_S));
        r.set_with_body(true);
        r.set_page_size(4);
    });
    let due = pages(&client, due).concat();
    assert_eq!(ids(&due), later);
    assert_eq!(due[14].get_payload(), b"14");

    let token = |page_token: &str| list(|r| r.set_page_token(page_token.into()));
    for garbage in ["x", "00", &"f".repeat(5_000)] {
        let answer = client.collection().list_tasks(&token(garbage));
        refused(answer, S::INVALID_ARGUMENT, "page_token");
    }
    let mut page = client
        .collection()
        .list_tasks(&list(|r| r.set_page_size(3)))
        .unwrap();
    let other = list(|r| {
        r.set_state(TaskState::TASK_STATE_DEAD);
        r.set_page_token(page.take_next_page_token());
    });
    let answer = client.collection().list_tasks(&other);
    refused(answer, S::INVALID_ARGUMENT, "page_token");
    let answer = client
        .collection()
        .list_tasks(&list(|r| r.set_page_size(1_001)));
    refused(answer, S::INVALID_ARGUMENT, "page_size");
    peer.stop();
}

#[test]
fn no_page_is_too_large_for_a_message() {
    let (peer, client) = started();
    // Labels that take more room on the wire than they count: one page's worth
    // of tasks is more than a message. Then large payloads.
    for _ in 0..4 {
        let mut request = batch(250, FAR_S);
        for task in request.mut_tasks().iter_mut() {
            let labels = (0..1_000).map(|label| (label.to_string(), String::new()));
            task.set_metadata(labels.collect());
        }
        client.collection().create_tasks(&request).unwrap();
    }
    for _ in 0..2 {
        let mut request = batch(7, FAR_S);
        for task in request.mut_tasks().iter_mut() {
            task.set_payload(vec![7; 1 << 20]);
        }
        client.collection().create_tasks(&request).unwrap();
    }
    let everything = list(|r| {
        r.set_with_body(true);
        r.set_page_size(1_000);
    });
    let whole = pages(&client, everything).concat();
    assert_eq!(whole.len(), 1_014);
    assert!(ids(&whole).windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(whole[999].get_metadata().len(), 1_000);
    assert_eq!(whole[1_013].get_payload().len(), 1 << 20);
    peer.stop();
}
