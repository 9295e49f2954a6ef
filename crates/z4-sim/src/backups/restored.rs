//! A cluster that begins with a backup, made by the steps of `z4-server restore`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use z4_consensus::log::Position;
use z4_consensus::{Identity, Membership};
use z4_core::command::{Grant, LeaseRefs, LeaseTasks, NamespacePatch, SetNamespace, Taker};
use z4_core::invariants::{self, state_hash};
use z4_core::limits::LEASE_COUNT_MAX;
use z4_core::state::{NamespaceRow, Row, RowKey};
use z4_core::task::{LeaseToken, Phase};
use z4_core::{Command, Namespace, NamespaceId, Outcome, State as _, View};
use z4_storage::{settle, Founding, MemDisk, MemStore, TaskStore as _};

use super::Backup;
use crate::addresses;
use crate::disk::SimLog;
use crate::founder::{found, Founder};
use crate::world::MS;

const NEW_CLUSTER: [u8; 16] = [0xb0; 16];
/// The raft id of each founder of a cluster.
const FOUNDER: u64 = 1;
/// The restored cluster is started so long after the machine time of the backup.
const LATER_NS: u64 = 60_000 * MS;

/// Restores a backup, looks at what is there then, starts the cluster and leases all that is
/// due in it. Gives the least token that was given.
///
/// # Errors
/// A promise that does not hold.
pub(super) fn least_token(
    backup: &Backup,
    pause: bool,
    wall_ns: u64,
) -> Result<Option<LeaseToken>, String> {
    let header = &backup.manifest.header;
    let identity = Identity {
        cluster_id: NEW_CLUSTER,
        raft_id: FOUNDER,
        peer_id: format!("peer{FOUNDER}"),
    };
    let membership = Membership {
        level: header.level,
        ..Membership::bootstrap(&identity, &addresses::text(FOUNDER))
    };
    let at = Position {
        index: header.index,
        term: header.term,
    };
    let disk = MemDisk::default();
    let (mut store, _) = disk.open();
    for (key, row) in &backup.rows {
        store.put(key.clone(), row.clone());
    }
    store.commit(at, Some(&membership)).map_err(|e| e.0)?;
    store.flusher()().map_err(|e| e.0)?;
    let (store, _) = disk.open();
    if state_hash(&store).map_err(|e| e.0)? != backup.manifest.state_hash {
        return Err("the rows that were restored are not those of the file".to_owned());
    }

    let (store, settled_at, _) = settle(store, at, pause).map_err(|e| e.to_string())?;
    check_settled(&store, backup, pause)?;
    let namespaces = namespaces(&store)?;
    let founding = Founding::anew(settled_at, membership).map_err(|e| e.to_string())?;
    let log = Arc::new(SimLog::default());
    found(store, &log, &founding)?;
    let start_ns = wall_ns.max(header.stamp_ns) + LATER_NS;
    let mut founder = Founder::start((FOUNDER, FOUNDER), log, &disk, start_ns)?;
    let mut least = None;
    for (name, row) in namespaces {
        if row.deleting.is_none() {
            let token = lease_all(&mut founder, backup, row.id, &name, pause)?;
            least = [least, token].into_iter().flatten().min();
        }
    }
    Ok(least)
}

/// A state that was settled has the tasks of the backup, nobody holds one, and all namespaces
/// are paused if that was wanted.
fn check_settled(store: &MemStore, backup: &Backup, pause: bool) -> Result<(), String> {
    let report = invariants::check(store).map_err(|e| e.0)?;
    report.verdict().map_err(|broken| broken.join("; "))?;
    let now = rows(store)?;
    if now
        .iter()
        .any(|(key, _)| matches!(key, RowKey::Lease { .. }))
    {
        return Err("a task is leased after the restore".to_owned());
    }
    check_tasks(&now, backup)?;
    for (key, row) in &now {
        if let Row::Namespace(row) = row {
            if pause && row.paused_at_ns.is_none() && row.deleting.is_none() {
                return Err(format!("{key:?} was to be paused, and is not"));
            }
        }
    }
    Ok(())
}

/// Every task that was no dead letter is there as it was. A task that is given back too old
/// dies, and of dead letters the oldest may have to go for it.
fn check_tasks(now: &[(RowKey, Row)], backup: &Backup) -> Result<(), String> {
    let of_tasks = |(key, row): &(RowKey, Row)| match key {
        RowKey::Body(namespace, id) => Some(((*namespace, *id), row.clone())),
        _ => None,
    };
    let now: BTreeMap<_, _> = now.iter().filter_map(of_tasks).collect();
    let then: BTreeMap<_, _> = backup.rows.iter().filter_map(of_tasks).collect();
    let dead = |(key, row): &(RowKey, Row)| match (key, row) {
        (RowKey::Status(namespace, id), Row::Status(status)) => {
            matches!(status.phase, Phase::Dead { .. }).then_some((*namespace, *id))
        }
        _ => None,
    };
    let dead: BTreeSet<_> = backup.rows.iter().filter_map(dead).collect();
    for (task, body) in &then {
        if now.get(task) != Some(body) && !dead.contains(task) && !backup.has_overdue {
            return Err(format!("task {} of the backup is lost or changed", task.1));
        }
    }
    match now.keys().find(|task| !then.contains_key(task)) {
        Some((_, id)) => Err(format!("task {id} is not of the backup")),
        None => Ok(()),
    }
}

/// Leases all that is due in a namespace. Who held a task before the backup has nothing then.
fn lease_all(
    founder: &mut Founder,
    backup: &Backup,
    id: NamespaceId,
    name: &Namespace,
    is_paused: bool,
) -> Result<Option<LeaseToken>, String> {
    let lease = Command::LeaseTasks(LeaseTasks {
        namespace: name.clone(),
        takers: vec![Taker {
            consumer: "after the restore".to_owned(),
            room: LEASE_COUNT_MAX as u32,
        }],
        lease_ms: 600_000,
        ahead_ms: 0,
    });
    if is_paused {
        let (grants, _) = granted(founder.ask(&lease)?)?;
        if !grants.is_empty() {
            return Err(format!("tasks of {name} were leased, which is paused"));
        }
        let patch = NamespacePatch {
            paused: Some(false),
            ..NamespacePatch::default()
        };
        let resume = Command::SetNamespace(SetNamespace {
            namespace: name.clone(),
            patch,
        });
        match founder.ask(&resume)? {
            Outcome::NamespaceSet { .. } => {}
            other => return Err(format!("{name} was to go on, and it gave {other:?}")),
        }
    }
    let mut least = None;
    loop {
        let (grants, has_more) = granted(founder.ask(&lease)?)?;
        let token = grants.iter().map(|grant| grant.token).min();
        least = [least, token].into_iter().flatten().min();
        if !has_more || grants.is_empty() {
            break;
        }
    }
    let Some(held) = backup.leases.get(&id) else {
        return Ok(least);
    };
    let ack = Command::AckTasks(LeaseRefs {
        namespace: name.clone(),
        leases: held.clone(),
    });
    match founder.ask(&ack)? {
        Outcome::Ended { results, .. } if results.iter().all(Result::is_err) => Ok(least),
        other => Err(format!(
            "a lease of {name} from before the backup was taken: {other:?}"
        )),
    }
}

fn granted(outcome: Outcome) -> Result<(Vec<Grant>, bool), String> {
    match outcome {
        Outcome::Leased { grants, more } => Ok((grants, more)),
        other => Err(format!("a lease of all that is due gave {other:?}")),
    }
}

fn rows(view: &impl View) -> Result<Vec<(RowKey, Row)>, String> {
    let mut rows = Vec::new();
    let scanned = view.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        rows.push((key, row));
        true
    });
    scanned.map(|()| rows).map_err(|e| e.0)
}

fn namespaces(view: &impl View) -> Result<Vec<(Namespace, NamespaceRow)>, String> {
    let named = |(key, row)| match (key, row) {
        (RowKey::Namespace(name), Row::Namespace(row)) => Some((name, *row)),
        _ => None,
    };
    Ok(rows(view)?.into_iter().filter_map(named).collect())
}
