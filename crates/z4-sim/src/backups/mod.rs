//! Backups are made of peers at work, and each becomes the beginning of a cluster.
//!
//! A backup is what a peer holds after some entry, in the form of a backup file. It must be
//! the state that all peers have there, whatever has just gone wrong. What is restored from
//! it, by the code of production, holds the same tasks, has nobody who holds one, and waits.
//! The new cluster gives no token that the old one ever gave or will give, and takes none of
//! them.
//!
//! No random number is drawn for it, so that a run is the same one with and without backups.

mod restored;

use std::collections::BTreeMap;

use z4_backup::{read_all, Header, Item, Manifest, ReadError, Writer};
use z4_consensus::machine::StateMachine as _;
use z4_core::invariants::state_hash;
use z4_core::state::{Row, RowKey};
use z4_core::task::LeaseToken;
use z4_core::{NamespaceId, TaskId, View};
use z4_proto::level::LEVEL_MAX;

use crate::world::World;

type Leases = BTreeMap<NamespaceId, Vec<(TaskId, LeaseToken)>>;

/// The contents of a backup file.
struct Backup {
    manifest: Manifest,
    rows: Vec<(RowKey, Row)>,
    leases: Leases,
    /// A lease had run out, and no entry had said so yet.
    has_overdue: bool,
}

impl World {
    /// An administrator backs up a peer and restores it elsewhere.
    pub(crate) fn back_up(&mut self) {
        if let Err(what) = self.try_back_up() {
            self.fail(format!("backup: {what}"));
        }
    }

    fn try_back_up(&mut self) -> Result<(), String> {
        let up = self.up();
        let turn = self.epoch.number() as usize;
        let Some(id) = up.get(turn % up.len().max(1)).copied() else {
            return Ok(());
        };
        let Some(run) = self.peers.get(&id).and_then(|peer| peer.run.as_ref()) else {
            return Ok(());
        };
        let applied = run.machine.applied();
        // A newcomer holds nothing yet.
        if applied.membership.members.is_empty() {
            return Ok(());
        }
        let header = Header {
            cluster_id: applied.membership.cluster_id,
            peer_id: format!("peer{id}"),
            term: applied.position.term,
            index: applied.position.index,
            stamp_ns: run.machine.machine().stamp_ns(),
            // The simulator has levels to come, which add nothing to the rows.
            level: applied.membership.level.min(LEVEL_MAX),
            ..Header::default()
        };
        let state = run.machine.machine().state();
        let backup = read(&write(header, state)?)?;
        let header = &backup.manifest.header;
        if backup.manifest.state_hash != state_hash(state).map_err(|e| e.0)? {
            return Err(format!(
                "the file of peer {id} at {} holds other rows than the peer",
                header.index
            ));
        }
        self.checks.states.check(id, header.index, state)?;
        self.trace.note(
            self.now_ns,
            format_args!(
                "backup of {id} at {} with {} rows",
                header.index, backup.manifest.rows
            ),
        );
        if !backup.leases.is_empty() {
            self.saw("a backup with leases in it was restored");
        }
        if backup.has_overdue {
            self.saw("a lease had run out when a backup was made");
        }
        let pause = !turn.is_multiple_of(4);
        let least = restored::least_token(&backup, pause, self.wall_ns())?;
        let known = &mut self.checks.restored_token_least;
        *known = least.map_or(*known, |token| token.0.min(*known));
        Ok(())
    }

    /// At the end: the cluster never gave a token that one restored from it gave.
    pub(crate) fn check_restored(&self) -> Result<(), String> {
        let (last, least) = (
            self.checks.history.last_index(),
            self.checks.restored_token_least,
        );
        if last < least {
            return Ok(());
        }
        Err(format!(
            "backup: a restored cluster gave token {least}, and the log of the one before came to \
             entry {last}, so that a token may be given twice"
        ))
    }
}

/// A backup file of a state.
fn write(header: Header, state: &impl View) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new(Vec::new(), header).map_err(|e| e.to_string())?;
    let mut failed = None;
    let scanned = state.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        failed = writer.row(&key, &row).err();
        failed.is_none()
    });
    scanned.map_err(|e| e.0)?;
    match failed {
        Some(error) => Err(error.to_string()),
        None => writer
            .finish()
            .map(|(file, _)| file)
            .map_err(|e| e.to_string()),
    }
}

fn read(file: &[u8]) -> Result<Backup, String> {
    let mut rows = Vec::new();
    let read = read_all(file, |item| -> Result<(), String> {
        if let Item::Rows(some) = item {
            rows.extend(some);
        }
        Ok(())
    });
    let manifest = read.map_err(|e| match e {
        ReadError::Backup(e) => e.to_string(),
        ReadError::Taker(e) => e,
    })?;
    let mut leases = Leases::new();
    let mut has_overdue = false;
    for (key, row) in &rows {
        if let (
            RowKey::Lease {
                namespace,
                id,
                deadline_ns,
            },
            Row::Lease { token, .. },
        ) = (key, row)
        {
            has_overdue |= *deadline_ns <= manifest.header.stamp_ns;
            leases.entry(*namespace).or_default().push((*id, *token));
        }
    }
    Ok(Backup {
        manifest,
        rows,
        leases,
        has_overdue,
    })
}
