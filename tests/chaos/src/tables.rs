//! The tables of a peer's task state, as RocksDB's own tools see them: which of
//! the files are part of it, and where in them the rows are.
//!
//! A file that lies in the folder may be none of it: a compaction that was just
//! over, or was under way, leaves some that are removed at the next start, as
//! snapshots for others and states before the present one are. And damage is not
//! found everywhere in a table: RocksDB tells nobody of a filter whose checksum
//! fails, and reads the rows instead. A test of `z4-storage` flips bits in all
//! parts of a table, and shows that this hides no row.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;

/// A table, and how many bytes of it are rows. It begins with them.
#[derive(Debug)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Its first bytes, up to which there is nothing but rows.
    pub rows_bytes: u64,
}

/// The folder of the state that a peer with this folder of task data goes on
/// with.
///
/// # Errors
/// When it does not say.
pub fn state(db: &Path) -> Result<PathBuf, String> {
    named(db, "CURRENT").map(|name| db.join(name))
}

/// The longest table that is part of that state, and is there.
///
/// # Errors
/// When it has none, or the tools cannot tell.
pub fn longest(db: &Path) -> Result<Table, String> {
    let state = state(db)?;
    let list = state.join(named(&state, "CURRENT")?);
    let list = list.to_string_lossy();
    let path = format!("--path={list}");
    let told = shell::run("ldb", &["manifest_dump", "--hex", &path])?;
    let Some((number, _)) = live(&told).into_iter().max_by_key(|(_, len)| *len) else {
        return Err(format!("ldb tells of no table in {list}: {told}"));
    };
    let path = state.join(format!("{number:06}.sst"));
    let file = format!("--file={}", path.display());
    let told = shell::run("sst_dump", &[&file, "--command=none", "--show_properties"])?;
    match rows_bytes(&told) {
        Some(rows_bytes) => Ok(Table { path, rows_bytes }),
        None => Err(format!("sst_dump tells of no rows in {file}: {told}")),
    }
}

/// What a file of one line names.
fn named(folder: &Path, file: &str) -> Result<String, String> {
    let path = folder.join(file);
    let text = fs::read_to_string(&path);
    let text = text.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Numbers and lengths of the tables that a list of files ends with. Their lines
/// begin with ` 44:413696[`.
fn live(told: &str) -> Vec<(u64, u64)> {
    let file = |line: &str| {
        let (file, _) = line.strip_prefix(' ')?.split_once('[')?;
        let (number, len) = file.split_once(':')?;
        Some((number.parse().ok()?, len.parse().ok()?))
    };
    told.lines().filter_map(file).collect()
}

fn rows_bytes(told: &str) -> Option<u64> {
    let mut lines = told.lines().map(str::trim);
    lines.find_map(|line| line.strip_prefix("data block size: ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_are_understood() {
        let list = "\
--------------- Column family \"default\"  (ID 0) --------------
log number: 4
comparator: leveldb.BytewiseComparator
--- level 0 --- version# 1 ---
 47:100401[114178 .. 122655]['0001' seq:122655, type:1 .. '0A18' seq:122491, type:0]
--- level 1 --- version# 1 ---
 44:413696[0 .. 0]['0001' seq:0, type:1 .. '0A18EC' seq:0, type:1]
--- level 2 --- version# 1 ---
next_file_number 55 last_sequence 122655  prev_log_number 0 max_column_family 0
";
        assert_eq!(live(list), [(47, 100_401), (44, 413_696)]);
        let properties = "\
Process /data/000044.sst
Sst file format: block-based
  # data blocks: 41
  data block size: 394972
  index block size (user-key? 1, delta-value? 1): 1935
  filter block size: 16096
";
        assert_eq!(rows_bytes(properties), Some(394_972));
        assert_eq!(rows_bytes("/data/000044.sst is not a valid SST file"), None);
    }
}
