//! Streams at different peers share a namespace.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use z4_e2e::{create, Cluster, Delivered, Edit, Reader};

const LIMIT: Duration = Duration::from_secs(15);

#[test]
fn streams_at_three_peers_share_fairly_and_each_task_comes_once() {
    const COUNT: usize = 900;
    let cluster = Cluster::three();
    let clients = cluster.clients();
    let readers: Vec<Reader> = clients.iter().map(|c| Reader::open(c, "share")).collect();
    let due = SystemTime::now() + Duration::from_secs(2);
    for n in 0..COUNT {
        // Spread over a second, so that each stream has room when one is due.
        let at = due + Duration::from_millis(n as u64);
        let request = create("share", n.to_string()).at(at);
        clients[n % 3].create(&request).expect("it is created");
    }
    let sum = || readers.iter().map(Reader::count).sum::<usize>();
    z4_e2e::wait::until("all come", LIMIT, || {
        z4_e2e::wait::check(sum() >= COUNT, || format!("{} came", sum()))
    });
    let shares: Vec<Vec<Delivered>> = readers.into_iter().map(Reader::stop).collect();
    let counts: Vec<usize> = shares.iter().map(Vec::len).collect();
    let all: Vec<Delivered> = shares.concat();
    let texts: HashSet<String> = all.iter().map(Delivered::text).collect();
    assert_eq!(
        (all.len(), texts.len()),
        (COUNT, COUNT),
        "each comes once: {counts:?}"
    );
    let early: Vec<_> = all.iter().filter_map(Delivered::early).collect();
    assert!(early.is_empty(), "early by {early:?}");
    // A third each; a stream that got less than half of that was starved.
    assert!(counts.iter().all(|n| *n >= COUNT / 6), "{counts:?}");
}

#[test]
fn a_consumer_that_moves_to_another_peer_gets_nothing_again() {
    let cluster = Cluster::three();
    let clients = cluster.clients();
    let mut all = Vec::new();
    for (round, client) in clients.iter().enumerate() {
        let reader = Reader::open(client, "move");
        for n in 0..100 {
            let payload = format!("{round}-{n}");
            clients[n % 3]
                .create(&create("move", payload))
                .expect("it is created");
        }
        reader.wait_for(100, LIMIT);
        all.extend(reader.stop());
    }
    let ids: HashSet<&str> = all.iter().map(|d| d.task.get_id()).collect();
    assert_eq!((all.len(), ids.len()), (300, 300));
}

#[test]
fn a_stream_at_a_follower_outlives_the_leader() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let others = cluster.others(leader);
    let clients: Vec<_> = others.iter().map(|n| cluster.peers[*n].client()).collect();
    let reader = Reader::open(&clients[0], "outlive");
    clients[1]
        .create(&create("outlive", "before"))
        .expect("it is created");
    reader.wait_for(1, LIMIT);
    cluster.peers[leader].kill();
    cluster.wait_leader();
    let request = create("outlive", "after").id("after");
    z4_e2e::client::create_anywhere(&clients, 1, &request, LIMIT).expect("it is created");
    let came = reader.wait_for(2, LIMIT);
    assert_eq!(came[1].text(), "after");
}
