//! Bits that change in a table of the task state, in every part of it.
//!
//! A table is rows first, then a filter, then an index of the rows, then what
//! describes the table. Damage of rows and index must end the peer. RocksDB tells
//! nobody of a filter whose checksum fails, and reads the rows instead: none may
//! be missed for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::db::{self, Kind, Shared};
use crate::machine::TaskStore as _;

const DAMAGED: &str = "Z4_TEST_DAMAGED_TABLE";
/// What a child says that has found nothing wrong.
const READ_ON: &str = "it read on: ";

/// A table of a compacted state, and how many bytes its parts have.
struct Table {
    path: PathBuf,
    whole: Vec<u8>,
    rows: usize,
    filter: usize,
    index: usize,
}

/// A peer whose rows are all in one table, of a level of which a start reads no
/// filter.
fn compacted(root: &Path) -> Table {
    let store = founded(root);
    let mut machine = machine(&store);
    append(store.log().as_ref(), 2, 100, 1);
    for index in 2..=100 {
        let run = committed(index, &[create(40), lease(1)]);
        machine.apply(vec![run]).unwrap();
    }
    machine.flusher()().unwrap();
    drop((machine, store));
    let state = root.join("db/state-0-0-0");
    let shared = Shared::new(crate::limits::OPEN_FILES_MAX).unwrap();
    let database = db::open(&state, Kind::State, &shared).unwrap();
    database.compact_range::<&[u8], &[u8]>(None, None);
    let live = database.live_files().unwrap();
    assert!(live.len() == 1 && live[0].level > 0, "{live:?}");
    let told = database.property_value("rocksdb.aggregated-table-properties");
    let told = told.unwrap().unwrap();
    let path = state.join(live[0].name.trim_start_matches('/'));
    Table {
        whole: fs::read(&path).unwrap(),
        path,
        rows: figure(&told, "data block size"),
        filter: figure(&told, "filter block size"),
        index: figure(&told, "index block size"),
    }
}

/// A figure out of `name=5; name (how)=5; …`.
fn figure(told: &str, name: &str) -> usize {
    let found = told.split(';').find_map(|part| {
        let (named, figure) = part.trim().rsplit_once('=')?;
        named.starts_with(name).then(|| figure.parse().unwrap())
    });
    found.unwrap_or_else(|| panic!("no {name} in {told}"))
}

#[test]
#[ignore = "the child of the test below"]
fn verifies() {
    let Ok(root) = std::env::var(DAMAGED) else {
        return;
    };
    let store = open(Path::new(&root)).unwrap_or_else(|e| panic!("{e}"));
    let (tell, told) = channel();
    let sink = Arc::new(move |_, verdict| tell.send(verdict).unwrap());
    store.state().verify(store.applied().position, 1, sink);
    panic!("{READ_ON}{:?}", told.recv().unwrap());
}

/// The verdict on a peer's state, or `None` when the peer ended for damage, as
/// it has to: with the remedy, and for good.
fn verdict(root: &Path) -> Option<String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["tests::tables::verifies", "--exact", "--ignored"])
        .arg("--nocapture")
        .env(DAMAGED, root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let read_on = said.lines().find_map(|line| line.split(READ_ON).nth(1));
    if read_on.is_none() {
        assert!(said.contains("add it anew"), "{said}");
        let again = open(root).unwrap_err();
        assert!(matches!(again, StorageError::Quarantined { .. }), "{again}");
        fs::remove_file(root.join("peer/QUARANTINE")).unwrap();
    }
    read_on.map(str::to_owned)
}

#[test]
fn a_flipped_bit_in_a_table_is_found_or_hides_no_row() {
    let dir = TempDir::new().unwrap();
    let table = compacted(dir.path());
    let sound = verdict(dir.path()).unwrap();
    assert!(sound.contains("violations: []"), "{sound}");
    let (rows, len) = (table.rows, table.whole.len());
    // A checksum behind each block is not counted: so much behind the filter may
    // still be its own.
    let index = rows + table.filter + 100..rows + table.filter + table.index;
    assert!(rows > 20_000 && table.filter > 1_000 && index.len() > 100);
    let everywhere = (0..rows).step_by(rows / 4).chain([rows - 1]);
    let everywhere = everywhere.chain((rows..len).step_by((len - rows) / 10));
    for at in everywhere.chain(index.clone().step_by(index.len() / 2)) {
        let mut bytes = table.whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&table.path, bytes).unwrap();
        let place = format!("byte {at} of {len}, {rows} of them rows, {index:?} the index");
        match verdict(dir.path()) {
            None => {}
            // It is looked for by key too, through the filter.
            Some(found) => {
                assert!(at >= rows && !index.contains(&at), "not found: {place}");
                assert_eq!(found, sound, "{place}");
            }
        }
    }
}
