//! Cancel, reschedule and run.

use super::*;

#[test]
fn a_task_that_waits_is_cancelled_and_no_other() {
    let (peer, client) = started();
    let later = create(&client, 1, FAR_S).remove(0);
    let was = cancel(&client, &later).unwrap();
    assert_eq!((was.get_id(), was.get_payload()), (&*later, &b"0"[..]));
    assert_eq!(was.get_state(), TaskState::TASK_STATE_SCHEDULED);
    assert!(client.get("n", &later).is_err());
    refused(cancel(&client, &later), S::NOT_FOUND, &later);

    let held = create(&client, 1, 0).remove(0);
    lease(&peer, "n", "worker~1.0.1", 1);
    refused(
        cancel(&client, &held),
        S::FAILED_PRECONDITION,
        "consumer worker until 20",
    );
    refused(run(&client, &held), S::FAILED_PRECONDITION, "worker");
    let read = client.get("n", &held).unwrap();
    assert_eq!(read.get_consumer_id(), "worker");
    assert_eq!(read.get_state(), TaskState::TASK_STATE_LEASED);

    let dead = create(&client, 1, 0).remove(0);
    kill(&peer, "n", 1);
    refused(
        cancel(&client, &dead),
        S::FAILED_PRECONDITION,
        "RedriveTasks",
    );
    refused(cancel(&client, "zzz"), S::INVALID_ARGUMENT, "task_id");
    let other = TaskId::new(1, 2, 3).to_string();
    refused(cancel(&client, &other), S::NOT_FOUND, &other);
    peer.stop();
}

#[test]
fn of_a_cancel_and_a_lease_exactly_one_wins() {
    let (peer, client) = started();
    let (mut cancelled, mut leased) = (0, 0);
    for round in 0..120 {
        let id = create(&client, 1, 0).remove(0);
        let (won, held) = std::thread::scope(|scope| {
            let canceller = scope.spawn(|| cancel(&client, &id));
            if round % 2 == 0 {
                std::thread::sleep(std::time::Duration::from_micros(40 * round));
            }
            let held = lease(&peer, "n", "w~1.0.1", 1);
            (canceller.join().unwrap(), held)
        });
        match won {
            Ok(_) => {
                assert_eq!(held, [], "cancelled, and leased all the same");
                assert!(client.get("n", &id).is_err());
                cancelled += 1;
            }
            Err(_) => {
                assert_eq!(held.len(), 1, "neither cancelled nor leased");
                refused(won, S::FAILED_PRECONDITION, "consumer w");
                let refs = LeaseRefs {
                    namespace: Namespace::new("n").unwrap(),
                    leases: held,
                };
                apply(&peer, Command::AckTasks(refs));
                leased += 1;
            }
        }
    }
    // That both happen is a matter of luck; that each counts once is not.
    let counts = {
        let mut request = z4_proto::generated::admin::GetNamespaceRequest::default();
        request.set_name("n".into());
        client
            .admin()
            .get_namespace(&request)
            .unwrap()
            .take_counts()
    };
    assert_eq!(
        (counts.get_cancelled(), counts.get_done()),
        (cancelled, leased)
    );
    assert_eq!((counts.get_created(), counts.get_pending()), (120, 0));
    peer.stop();
}

#[test]
fn a_task_is_moved_and_shows_where_to() {
    let (peer, client) = started();
    let id = create(&client, 1, FAR_S).remove(0);
    let moved = reschedule(&client, &id, |r| r.set_deliver_at(seconds(FAR_S - 9))).unwrap();
    assert_eq!(moved.get_deliver_at(), &seconds(FAR_S - 9));
    assert_eq!(moved.get_due_at(), &seconds(FAR_S - 9));
    assert_eq!(client.get("n", &id).unwrap(), moved);
    // Nothing is due before, and the task is after.
    assert_eq!(lease(&peer, "n", "w", 9), []);
    let due = run(&client, &id).unwrap();
    assert!(due.get_deliver_at().get_seconds() < FAR_S - 9);
    let held = lease(&peer, "n", "w", 9);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].0.to_string(), id);

    let id = create(&client, 1, FAR_S).remove(0);
    let half = Duration {
        nanos: 500_000_000,
        ..Duration::default()
    };
    let created_s = client.get("n", &id).unwrap().get_created_at().get_seconds();
    let soon = reschedule(&client, &id, |r| r.set_tts(half)).unwrap();
    let wait_s = soon.get_due_at().get_seconds() - created_s;
    assert!((1..60).contains(&wait_s), "{wait_s}");
    refused(
        reschedule(&client, &id, |_| ()),
        S::INVALID_ARGUMENT,
        "deliver_at",
    );
    refused(
        reschedule(&client, &id, |r| r.mut_tts().seconds = -1),
        S::INVALID_ARGUMENT,
        "tts",
    );
    refused(
        reschedule(&client, &id, |r| r.mut_deliver_at().nanos = -1),
        S::INVALID_ARGUMENT,
        "deliver_at.nanos",
    );
    peer.stop();
}
