//! A peer that is left of a cluster without a quorum, and the cluster that it founds.

use tempfile::TempDir;
use z4_consensus::proposals::Envelope;
use z4_consensus::{Change, Identity};
use z4_core::state::{find_namespace, find_task};
use z4_core::TaskId;
use z4_recover::{Evidence, Plan};

use super::*;
use crate::limits::FOUNDING_GAP;

/// Entries that the state has applied and flushed, that are known to be committed, and that
/// the log has.
const APPLIED: u64 = 10;
const COMMITTED: u64 = 14;
const LAST: u64 = 20;
const NEW_CLUSTER: [u8; 16] = [9; 16];

fn entry_of(index: u64) -> raft::eraftpb::Entry {
    let Committed {
        stamp_ns, commands, ..
    } = committed(index, &[create(1)]);
    let mut entry = entry(index, 1, 0);
    entry.data = Envelope { stamp_ns, commands }.encode().into();
    entry
}

fn id_of(index: u64) -> TaskId {
    TaskId::new(index * 1_000, index, 0)
}

/// Leaves a peer whose log goes beyond what its state has applied.
pub(super) fn survive(root: &Path) {
    let store = founded(root);
    let mut machine = machine(&store);
    let mut hard_state = store.log().hard_state().unwrap();
    hard_state.commit = COMMITTED;
    let written = LogWrite {
        entries: (2..=LAST).map(entry_of).collect(),
        hard_state: Some(hard_state),
        sync: true,
    };
    store.log().write(&written).unwrap();
    apply(&mut machine, 2, APPLIED);
    machine.flusher()().unwrap();
}

pub(super) fn found_again(root: &Path) {
    let mut store = open(root).unwrap();
    store.found_again(NEW_CLUSTER, "127.0.0.1:9").unwrap();
}

pub(super) fn check_founded_again(root: &Path, mark: &str) {
    let store = open(root).unwrap();
    let identity = store.identity().unwrap();
    assert_eq!(identity.cluster_id, NEW_CLUSTER, "{mark}");
    assert_eq!(identity.raft_id, 1);
    let begin = at(LAST + FOUNDING_GAP + 0x0909_0909, 2);
    let applied = store.applied();
    assert_eq!(applied.position, begin, "{mark}");
    assert_eq!(applied.membership.cluster_id, NEW_CLUSTER);
    assert_eq!(applied.membership.members[&1].address, "127.0.0.1:9");
    assert_eq!(store.log().cut().unwrap(), begin);
    assert_eq!(store.log().last().unwrap(), begin);
    let name = Namespace::new("ns").unwrap();
    let row = find_namespace(&store.view(), &name).unwrap().unwrap();
    assert_eq!(row.counts.created, LAST - 1, "{mark}");
    for index in 2..=LAST {
        let found = find_task(&store.view(), &name, id_of(index)).unwrap();
        assert!(found.is_some(), "{mark}: the task of entry {index}");
    }
    // The peer goes on as any other.
    apply(&mut machine(&store), begin.index + 1, begin.index + 3);
}

#[test]
fn evidence_says_how_far_a_peer_had_come() {
    let dir = TempDir::new().unwrap();
    survive(dir.path());
    let evidence = open(dir.path()).unwrap().evidence().unwrap();
    assert_eq!(Evidence::parse(&evidence.to_json()), Ok(evidence.clone()));
    assert_eq!(
        (evidence.cluster_id, evidence.peer_id.as_str()),
        (CLUSTER, "peer1")
    );
    assert_eq!(evidence.applied_index, APPLIED);
    assert_eq!(evidence.commit_index, COMMITTED);
    assert_eq!((evidence.last_index, evidence.last_term), (LAST, 1));
    assert_eq!(evidence.machine_ns, APPLIED * 1_000);
    // A cluster of one has its quorum.
    let why = Plan::of(&[evidence]).unwrap_err().to_string();
    assert!(why.contains("1 of 1 voters"), "{why}");
}

#[test]
fn a_survivor_founds_a_cluster_with_all_that_it_has() {
    let dir = TempDir::new().unwrap();
    survive(dir.path());
    found_again(dir.path());
    check_founded_again(dir.path(), "done");
    // Once more, as in the next misfortune.
    let mut store = open(dir.path()).unwrap();
    store.found_again([10; 16], "127.0.0.1:9").unwrap();
    let begin = at(LAST + 2 * FOUNDING_GAP + 0x0909_0909 + 0x0a0a_0a0a, 3);
    assert_eq!(store.applied().position, begin);
}

#[test]
fn the_others_are_removed_for_good() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut machine = machine(&store);
    // Two members are added by entries that were not applied.
    let mut membership = store.applied().membership.clone();
    let add = |raft_id: u64| Change::AddLearner {
        raft_id,
        peer_id: format!("peer{raft_id}"),
        address: format!("127.0.0.1:{raft_id}"),
        levels: Some(z4_consensus::Levels { min: 1, max: 2 }),
    };
    let mut run = Vec::new();
    for raft_id in 2..=3 {
        membership.change(&add(raft_id)).unwrap();
        run.push(Committed {
            membership: Some(membership.clone()),
            ..committed(raft_id, &[])
        });
    }
    machine.apply(run).unwrap();
    machine.flusher()().unwrap();
    append(store.log().as_ref(), 2, 3, 1);
    drop((machine, store));
    let mut store = open(dir.path()).unwrap();
    assert_eq!(store.evidence().unwrap().members.len(), 3);
    store.found_again(NEW_CLUSTER, "127.0.0.1:1").unwrap();
    let members = &store.applied().membership;
    assert_eq!(members.members.len(), 1);
    assert_eq!(members.removed, [2, 3].into());
    assert_eq!(members.raft_id_next, 4);
    assert_eq!(members.level, membership.level);
}

#[test]
fn a_survivor_whose_log_ends_with_its_own_removal_is_the_founder() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut machine = machine(&store);
    let mut membership = store.applied().membership.clone();
    let add = Change::AddLearner {
        raft_id: 2,
        peer_id: "peer2".to_owned(),
        address: "127.0.0.1:2".to_owned(),
        levels: Some(z4_consensus::Levels { min: 1, max: 2 }),
    };
    let mut run = Vec::new();
    let changes = [
        add,
        Change::Promote { raft_id: 2 },
        Change::Remove { raft_id: 1 },
    ];
    for (index, change) in (2..).zip(changes) {
        membership.change(&change).unwrap();
        run.push(Committed {
            membership: Some(membership.clone()),
            ..committed(index, &[])
        });
    }
    machine.apply(run).unwrap();
    machine.flusher()().unwrap();
    append(store.log().as_ref(), 2, 4, 1);
    drop((machine, store));
    let mut store = open(dir.path()).unwrap();
    let evidence = [store.evidence().unwrap()];
    let plan = Plan::of(&evidence).unwrap();
    assert_eq!((plan.best.raft_id, plan.lost), (1, vec!["peer2"]));
    store.found_again(NEW_CLUSTER, "127.0.0.1:1").unwrap();
    let members = &store.applied().membership;
    assert_eq!(members.members.keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(members.removed, [2].into());
    assert_eq!(members.raft_id_next, 3);
}

#[test]
fn who_is_no_member_founds_nothing() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    let refused = store.found_again(NEW_CLUSTER, "127.0.0.1:1").unwrap_err();
    assert!(refused.to_string().contains("in no cluster"), "{refused}");
    let dir = TempDir::new().unwrap();
    let mut store = founded(dir.path());
    store.mark_removed().unwrap();
    for refused in [
        store.evidence().map(drop),
        store.found_again(NEW_CLUSTER, "127.0.0.1:1"),
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("another survivor"), "{refused}");
    }
    let unchanged: &Identity = store.identity().unwrap();
    assert_eq!(unchanged.cluster_id, CLUSTER);
}

#[test]
fn numbers_of_entries_that_run_out_are_refused() {
    use crate::founding::Founding;
    use z4_consensus::limits::INDEX_MAX;
    let members = z4_consensus::Membership::default();
    let anew = |index| Founding::anew(at(index, 1), members.clone());
    assert!(anew(INDEX_MAX - 2 * FOUNDING_GAP).is_ok());
    let refused = anew(INDEX_MAX - 2 * FOUNDING_GAP + 1).unwrap_err();
    assert!(refused.to_string().contains("z4t export"), "{refused}");
}
