//! A state that comes from a backup, and the cluster that is founded on it.

use tempfile::TempDir;
use z4_core::invariants::{self, state_hash};
use z4_core::state::{find_namespace, MemState, Row, RowKey};
use z4_core::walk::Walk;
use z4_core::{Machine, View};

use super::*;
use crate::limits::FOUNDING_GAP;
use crate::step::step;
use crate::{Origin, RestorePlan, Settled};

const OLD_CLUSTER: [u8; 16] = [3; 16];
const NEW_CLUSTER: [u8; 16] = [9; 16];
const LAST: u64 = 800;

/// The state of a cluster that had tasks in all places, and namespaces of all kinds.
fn earlier() -> MemState {
    let (mut walk, mut machine) = (Walk::new(11), Machine::open(MemState::new()).unwrap());
    for index in 2..LAST {
        let (stamp_ns, commands) = walk.step();
        let outcomes = machine
            .apply_entry(index, stamp_ns, commands.clone(), &mut Vec::new())
            .unwrap();
        walk.learn(&commands, &outcomes);
    }
    let stamp_ns = machine.stamp_ns();
    for (index, command) in [(LAST, create(5)), (LAST + 1, lease(4))] {
        machine
            .apply_entry(index, stamp_ns, vec![command], &mut Vec::new())
            .unwrap();
    }
    machine.into_state()
}

fn rows(view: &(impl View + ?Sized)) -> Vec<(RowKey, Row)> {
    let mut rows = Vec::new();
    view.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        rows.push((key, row));
        true
    })
    .unwrap();
    rows
}

fn plan() -> RestorePlan {
    RestorePlan {
        cluster_id: NEW_CLUSTER,
        address: "127.0.0.1:9".into(),
        at: at(LAST + 1, 4),
        level: 2,
    }
}

fn restore_into(store: &mut Store, pause: bool) -> Settled {
    let earlier = earlier();
    let mut restoration = store.restore(plan()).unwrap();
    step("test.begun");
    for rows in rows(&earlier).chunks(10) {
        restoration.put(rows.to_vec()).unwrap();
    }
    step("test.rows");
    let hash = state_hash(&earlier).unwrap();
    assert_eq!(restoration.check(hash, OLD_CLUSTER).unwrap(), [""; 0]);
    step("test.checked");
    let settled = restoration.settle(pause).unwrap();
    step("test.settled");
    let begin = restoration.found().unwrap();
    assert!(begin.index > LAST + FOUNDING_GAP && begin.term == 5);
    settled
}

pub(super) fn restored(root: &Path) {
    restore_into(&mut open(root).unwrap(), true);
}

pub(super) fn check_restored(root: &Path, mark: &str) {
    let store = open(root).unwrap();
    let identity = store.identity().unwrap();
    assert_eq!(identity.cluster_id, NEW_CLUSTER, "{mark}");
    let applied = store.applied();
    assert!(applied.position.index > LAST + FOUNDING_GAP);
    assert_eq!(applied.membership.members[&1].address, "127.0.0.1:9");
    assert_eq!(store.log().cut().unwrap(), applied.position);
    let view = store.view();
    invariants::check(&view).unwrap().verdict().unwrap();
    let origin = Origin {
        cluster_id: OLD_CLUSTER,
        index: LAST + 1,
        state_hash: state_hash(&earlier()).unwrap(),
    };
    assert_eq!(view.origin().unwrap(), Some(origin), "{mark}");
    for (key, row) in rows(&view) {
        assert!(!matches!(key, RowKey::Lease { .. }), "{key:?} is leased");
        if let Row::Namespace(row) = row {
            let is_held = row.paused_at_ns.is_some() || row.deleting.is_some();
            assert!(is_held, "{key:?} is not paused");
        }
    }
    let bodies = |view: &dyn View| {
        let mut rows = rows(view);
        rows.retain(|(key, _)| matches!(key, RowKey::Body(..) | RowKey::Principal(_)));
        rows
    };
    let earlier = earlier();
    assert!(bodies(&view) == bodies(&earlier), "{mark}: tasks differ");
    let name = Namespace::new("ns").unwrap();
    let (was, is) = (
        find_namespace(&earlier, &name).unwrap().unwrap(),
        find_namespace(&view, &name).unwrap().unwrap(),
    );
    assert_eq!(was.counts.leased, 4);
    assert_eq!(is.counts.pending, was.counts.pending + 4);
    assert_eq!(is.counts.failures, was.counts.failures, "it cost them");
    // The peer goes on as any other.
    let first = applied.position.index + 1;
    apply(&mut machine(&store), first, first + 3);
}

#[test]
fn a_restored_state_waits_paused_and_without_leases() {
    let dir = TempDir::new().unwrap();
    let settled = restore_into(&mut open(dir.path()).unwrap(), true);
    assert!(settled.leases_ended >= 4, "{settled:?}");
    assert!(settled.namespaces_paused >= 1, "{settled:?}");
    check_restored(dir.path(), "whole");
}

#[test]
fn what_is_to_go_on_is_not_paused() {
    let dir = TempDir::new().unwrap();
    let settled = restore_into(&mut open(dir.path()).unwrap(), false);
    assert_eq!(settled.namespaces_paused, 0);
    let view = open(dir.path()).unwrap().view();
    let name = Namespace::new("ns").unwrap();
    let row = find_namespace(&view, &name).unwrap().unwrap();
    assert_eq!(row.paused_at_ns, None);
}

#[test]
fn a_state_without_leases_that_is_not_paused_is_what_was_backed_up() {
    let dir = TempDir::new().unwrap();
    let mut machine = Machine::open(MemState::new()).unwrap();
    machine
        .apply_entry(2, 5, vec![create(3)], &mut Vec::new())
        .unwrap();
    let hash = state_hash(machine.state()).unwrap();
    let mut store = open(dir.path()).unwrap();
    let mut restoration = store.restore(plan()).unwrap();
    restoration.put(rows(machine.state())).unwrap();
    restoration.check(hash, OLD_CLUSTER).unwrap();
    restoration.settle(false).unwrap();
    restoration.found().unwrap();
    assert_eq!(state_hash(&store.view()).unwrap(), hash);
}

#[test]
fn only_an_empty_peer_restores_and_wrong_rows_found_nothing() {
    let dir = TempDir::new().unwrap();
    let refused = founded(dir.path()).restore(plan()).map(drop);
    assert!(
        matches!(refused, Err(StorageError::NotEmpty { .. })),
        "{refused:?}"
    );

    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    let mut restoration = store.restore(plan()).unwrap();
    restoration.put(rows(&earlier())).unwrap();
    let refused = restoration.check(1, OLD_CLUSTER);
    assert!(
        matches!(refused, Err(StorageError::Unfounded(_))),
        "{refused:?}"
    );
    drop(store);
    let refused = open(dir.path()).map(drop).unwrap_err().to_string();
    assert!(
        refused.contains("erase") && refused.contains("restore"),
        "{refused}"
    );
}

#[test]
fn a_backup_from_the_end_of_all_numbers_is_refused_before_anything_is_written() {
    let dir = TempDir::new().unwrap();
    for end in [at((1 << 44) - 5, 4), at(5, u64::MAX)] {
        let plan = RestorePlan { at: end, ..plan() };
        let refused = open(dir.path()).unwrap().restore(plan).map(drop);
        assert!(
            matches!(refused, Err(StorageError::Unfounded(_))),
            "{refused:?}"
        );
    }
    drop(founded(dir.path()));
}

#[test]
fn the_last_backup_is_remembered() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let registrar = store.registrar();
    assert_eq!(registrar.last_backup().unwrap(), None);
    let last = crate::LastBackup {
        at_ns: 7,
        index: 300,
    };
    registrar.set_last_backup(&last).unwrap();
    drop((store, registrar));
    let registrar = open(dir.path()).unwrap().registrar();
    assert_eq!(registrar.last_backup().unwrap(), Some(last));
}
