//! Space that comes back, and errors of the system that are no damage.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// The files with this ending in a folder.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).unwrap();
    let paths = listed.map(|file| file.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    found.sort();
    found
}

fn bytes_of(folder: &Path) -> u64 {
    let tables = files(folder, "sst").into_iter();
    tables.map(|path| path.metadata().unwrap().len()).sum()
}

/// However many entries are left, as long as they fit beside themselves.
#[test]
fn a_log_that_is_cut_gives_its_space_back() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let log = store.log();
    append(log.as_ref(), 2, 6_000, 1);
    log.release().unwrap();
    log.cut_through(at(2, 1)).unwrap();
    log.release().unwrap();
    let folder = dir.path().join("peer/log");
    let before = bytes_of(&folder);
    log.cut_through(at(4_000, 1)).unwrap();
    log.release().unwrap();
    let after = bytes_of(&folder);
    assert!(before > 50_000, "there is something: {before}");
    assert!(after < before / 2, "{before} bytes became {after}");
    assert_eq!(log.entries(4_001, 6_001, u64::MAX).unwrap().len(), 2_000);
}

#[test]
fn a_read_of_the_log_that_the_system_refuses_is_no_damage() {
    let failed = |e| StorageError::log("log", e);
    let refused = failed(LogError::Failed("EIO".into()));
    assert!(
        matches!(refused, StorageError::Database { .. }),
        "{refused}"
    );
    let damaged = failed(LogError::Damaged("a checksum".into()));
    assert!(matches!(damaged, StorageError::Damaged { .. }), "{damaged}");
}

/// A quarantine is for damaged data: it costs the peer all it has.
#[test]
fn a_file_that_the_system_does_not_show_is_no_damage() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut machine = machine(&store);
    append(store.log().as_ref(), 2, 40, 1);
    apply(&mut machine, 2, 40);
    machine.flusher()().unwrap();
    drop((machine, store));
    let tables = files(&dir.path().join("db/state-0-0-0"), "sst");
    let table = tables.last().unwrap();
    let aside = dir.path().join("aside");
    std::fs::rename(table, &aside).unwrap();
    // A link to itself: there, and not to be looked at.
    std::os::unix::fs::symlink(table, table).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(
        matches!(refused, StorageError::Database { .. }),
        "{refused}"
    );
    std::fs::remove_file(table).unwrap();
    std::fs::rename(&aside, table).unwrap();
    assert_eq!(open(dir.path()).unwrap().applied().position, at(40, 1));
    // But one that is not there is.
    std::fs::remove_file(table).unwrap();
    for _ in 0..2 {
        let refused = open(dir.path()).unwrap_err();
        assert!(
            matches!(refused, StorageError::Quarantined { .. }),
            "{refused}"
        );
    }
}
