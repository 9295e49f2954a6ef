//! What the tests of fail points do to peers, and look at after.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use z4_e2e::client::option;
use z4_e2e::{http, wait, Client, Peer};
use z4_proto::generated::collection::{AckTasksRequest, LeaseRef, LeaseTasksRequest};

use super::End;

pub const LIMIT: Duration = Duration::from_secs(40);
pub const CALL: Duration = Duration::from_secs(2);
pub const ERROR: &str = "return(disk%20on%20fire)";

pub fn set(peer: &Peer, point: &str, action: &str) {
    let path = format!("/failpoints/{point}?{action}");
    let code = http::put(&peer.metrics_address(), &path).unwrap();
    assert_eq!(code, 200, "{path}: was the server built with fail points?");
}

/// Waits until the peer has ended, and checks how; the time since `since`.
#[track_caller]
pub fn ended(peer: &mut Peer, point: &str, end: End, before: usize, since: Instant) -> Duration {
    wait::until("the peer ends", LIMIT, || {
        wait::check(!peer.is_running(), || format!("{point}: it runs on"))
    });
    let took = since.elapsed();
    peer.reap();
    let log = &peer.log()[before..];
    if end == End::Said {
        assert!(log.contains("disk on fire"), "{point}: no reason in {log}");
        assert!(log.contains(point), "{point}: is not named in {log}");
    }
    took
}

/// Leases a task and acknowledges it; whether that was answered.
pub fn take_one(client: &Client, made: &mut BTreeSet<String>) -> Option<()> {
    let mut request = LeaseTasksRequest::new();
    request.set_namespace("points".to_owned());
    request.set_max_tasks(1);
    let leased = client.collection.lease_tasks_opt(&request, option(CALL));
    let leased = leased.ok()?;
    let delivery = leased.get_deliveries().first()?;
    // From here on it may be gone, whatever is said.
    made.remove(delivery.get_task().get_id());
    let mut lease = LeaseRef::new();
    lease.set_task_id(delivery.get_task().get_id().to_owned());
    lease.set_lease_token(delivery.get_lease_token());
    let mut acks = AckTasksRequest::new();
    acks.set_namespace("points".to_owned());
    acks.mut_leases().push(lease);
    let acked = client.collection.ack_tasks_opt(&acks, option(CALL));
    acked.ok().map(|_| ())
}

#[track_caller]
pub fn all_there(client: &Client, point: &str, made: &BTreeSet<String>) {
    let lost = made.iter().filter(|id| client.get("points", id).is_err());
    let lost: Vec<_> = lost.collect();
    assert!(
        lost.is_empty(),
        "{point}: {} lost of {}",
        lost.len(),
        made.len()
    );
}
