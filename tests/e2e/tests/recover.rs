//! A quorum that is lost for good: the procedure of an operator, on real binaries.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use z4_core::TaskId;
use z4_e2e::command::{self, z4t, Finished};
use z4_e2e::load::Load;
use z4_e2e::{create, wait, Cluster, Edit, Peer, Tool};

const LIMIT: Duration = Duration::from_secs(30);

/// Runs `z4-server recover` in the place of a peer that is stopped.
fn recover(peer: &Peer, arguments: &[&str]) -> Finished {
    let mut command = peer.command();
    command.arg("recover").args(arguments);
    command::run(command, LIMIT)
}

fn refused(finished: &Finished, word: &str) {
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.stderr.contains(word), "{finished:?}");
}

/// The log index at which a task was created.
fn index_of(task_id: &str) -> u64 {
    let id: TaskId = task_id.parse().unwrap();
    let sequence = id.as_bytes()[8..].try_into().unwrap();
    u64::from_be_bytes(sequence) >> z4_core::task::ORDINAL_BITS
}

/// What the peers of these places have, as files, and the plan that is made of them.
fn plan(cluster: &Cluster, places: &[usize]) -> (Vec<PathBuf>, Finished) {
    let folder = PathBuf::from(cluster.peers[0].folder_text());
    let mut files = Vec::new();
    for n in places {
        let shown = recover(&cluster.peers[*n], &["inspect"]);
        assert_eq!(shown.code, 0, "{shown:?}");
        let file = folder.join(format!("evidence{n}.json"));
        std::fs::write(&file, shown.stdout).unwrap();
        files.push(file);
    }
    let names: Vec<_> = files.iter().map(|f| f.to_str().unwrap()).collect();
    let finished = z4t(&[&["recover", "plan", "-o", "json"], &names[..]].concat());
    (files, finished)
}

#[test]
fn a_survivor_founds_a_new_cluster_with_what_is_claimed() {
    let mut cluster = Cluster::of(5, &[]);
    let clients = cluster.clients();
    let load = Load::start(&clients, "lost", 6, Duration::ZERO);
    load.wait_for_more(300, LIMIT);
    // The two that are left are the last to be killed, as the ones that had the luck.
    cluster.kill_all();
    let told = load.finish();
    let leads_to = |n: usize| cluster_id(&recover(&cluster.peers[n], &["inspect"]));
    let before = leads_to(3);
    assert_eq!(before, leads_to(4));
    // Three of the five disks are gone.
    (0..3).for_each(|n| cluster.peers[n].erase());

    // All five would be a quorum, and so would three.
    let (_, finished) = plan(&cluster, &[3, 4]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let made: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(made["cluster_id"], before.as_str(), "{made}");
    assert_eq!(
        made["lost"],
        serde_json::json!(["peer1", "peer2", "peer3"]),
        "{made}"
    );
    let best = 3 + usize::from(made["best"] == "peer5");
    let known_index = made["known_index"].as_u64().unwrap();

    let erased = recover(&cluster.peers[0], &["inspect"]);
    refused(&erased, "in no cluster");
    let wrong = recover(&cluster.peers[best], &["force", "--confirm", "0badc0de"]);
    refused(&wrong, &before);
    let done = recover(&cluster.peers[best], &["force", "--confirm", &before]);
    assert_eq!(done.code, 0, "{done:?}");
    let again = recover(&cluster.peers[best], &["force", "--confirm", &before]);
    refused(&again, "nothing was changed");

    cluster.peers[best].start();
    cluster.peers[best].wait_answers();
    cluster.peers[best].wait_ready();
    let client = cluster.peers[best].client();
    let after = client.info().unwrap();
    assert_ne!(after.get_cluster_id(), before);
    assert_eq!(after.get_members().len(), 1);
    // What was acknowledged up to the index that is claimed is there.
    let missing: Vec<_> = told
        .acked
        .iter()
        .map(|acked| acked.created.task_id.as_str())
        .filter(|id| client.get("lost", id).is_err())
        .collect();
    let claimed: Vec<_> = missing
        .iter()
        .filter(|id| index_of(id) <= known_index)
        .collect();
    assert!(
        claimed.is_empty(),
        "claimed up to {known_index}: {claimed:?}"
    );
    // A task that is created now has an id of its own: its entry stands far above.
    let new = client.create(&create("lost", "new").id("new")).unwrap();
    let new = index_of(new.get_task().get_id());
    assert!(new > known_index + (1 << 30), "{new}");

    // The other survivor is of the old cluster and stays alone.
    let other = 7 - best;
    cluster.peers[other].start();
    cluster.peers[other].wait_answers();
    let settled = Instant::now() + Duration::from_secs(3);
    wait::until("time passes", LIMIT, || {
        wait::check(Instant::now() > settled, || "not yet".into())
    });
    let old = cluster.peers[other].client().info().unwrap();
    assert_eq!(old.get_cluster_id(), before);
    assert_eq!(old.get_leader_id(), "");
    assert_eq!(client.info().unwrap().get_members().len(), 1);
    cluster.peers[other].kill();

    // With empty directories it is added like any other.
    cluster.peers[other].erase();
    let target = cluster.peers[best].service_address();
    for n in [0, other] {
        cluster.peers[n].spec.bootstrap = false;
        cluster.peers[n].start();
        cluster.peers[n].wait_answers();
        let (id, address) = (
            cluster.peers[n].spec.id.clone(),
            cluster.peers[n].peer_address(),
        );
        let added = z4t(&["-t", &target, "-p", &address, "-id", &id, "add-peer"]);
        assert_eq!(added.code, 0, "{added:?}");
    }
    let tool = Tool::at(&cluster.peers[best]);
    wait::until("all three hold the same", LIMIT, || {
        let verified = tool.run(&["verify"]);
        let voters = z4_e2e::cluster::voters(&client.info().map_err(|e| e.to_string())?);
        wait::check(verified.code == 0 && voters == 3, || {
            format!("{voters} voters, {verified:?}")
        })
    });
}

fn cluster_id(finished: &Finished) -> String {
    assert_eq!(finished.code, 0, "{finished:?}");
    let shown: Value = serde_json::from_str(&finished.stdout).unwrap();
    shown["cluster_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_quorum_that_is_left_is_told_to_be_started() {
    let mut cluster = Cluster::three();
    let running = recover(&cluster.peers[0], &["inspect"]);
    assert_eq!(running.code, 1, "the peer runs: {running:?}");
    cluster.kill_all();
    let (files, finished) = plan(&cluster, &[0, 2]);
    refused(&finished, "2 of 3 voters are left (peer1, peer3)");
    std::fs::write(&files[0], "{").unwrap();
    let name = files[0].to_str().unwrap();
    refused(&z4t(&["recover", "plan", name]), name);
    // Nothing of this has changed anything.
    cluster.start_missing();
    cluster.wait_settled();
}
