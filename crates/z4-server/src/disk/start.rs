//! The wait for room before the databases are opened.
//!
//! Opening writes: what stands in the write-ahead log becomes a table, and what
//! the task state lacks is applied again. On a full disk that fails, and the
//! peer would end and be started again without end.

use std::path::Path;
use std::thread;
use std::time::Instant;

use slog::{info, warn, Logger};

use super::volume::Volume;
use crate::limits;
use crate::options::Options;
use crate::shutdown::Signals;

/// Waits until both volumes have room enough to open the databases; `waits` is
/// told what for. The name of a signal that came before there was.
pub(crate) fn wait_for_room(
    options: &Options,
    signals: &mut Signals,
    waits: impl Fn(&str),
    logger: &Logger,
) -> Option<&'static str> {
    let dirs = [&options.db_data_dir, &options.peer_data_dir];
    let mut said: Option<Instant> = None;
    loop {
        let needed_bytes = limits::START_OPEN_BYTES + wal_bytes(&options.peer_data_dir.join("log"));
        let full = dirs.into_iter().find_map(|dir| {
            // What the system does not tell is not waited for.
            let free_bytes = Volume::of(dir).ok()?.free_bytes;
            (free_bytes < needed_bytes).then_some((dir, free_bytes))
        });
        let Some((dir, free_bytes)) = full else {
            if said.is_some() {
                info!(logger, "there is room on the disk");
            }
            return None;
        };
        waits(&format!(
            "waits for room on the disk of {}: {free_bytes} bytes are free, {needed_bytes} are \
             needed to start",
            dir.display()
        ));
        if said.is_none_or(|at| at.elapsed() >= limits::START_SAY_INTERVAL) {
            said = Some(Instant::now());
            warn!(logger, "waiting for room on the disk"; "dir" => dir.display().to_string(),
                "free_bytes" => free_bytes, "needed_bytes" => needed_bytes);
        }
        if let Some(signal) = signals.came() {
            return Some(signal);
        }
        thread::sleep(limits::START_LOOK_INTERVAL);
    }
}

/// What stands in the write-ahead log of the raft log, in bytes.
fn wal_bytes(log_dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(log_dir) else {
        return 0;
    };
    let is_wal = |path: &Path| path.extension().is_some_and(|e| e == "log");
    let files = entries.flatten().filter(|entry| is_wal(&entry.path()));
    files
        .filter_map(|f| f.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_write_ahead_logs_count() {
        let dir = std::env::temp_dir().join(format!("z4-wal-{}", std::process::id()));
        assert_eq!(wal_bytes(&dir), 0, "not there");
        std::fs::create_dir(&dir).unwrap();
        for (name, len) in [
            ("000004.log", 70),
            ("000007.log", 5),
            ("000009.sst", 900),
            ("LOG", 9),
        ] {
            std::fs::write(dir.join(name), vec![0; len]).unwrap();
        }
        let counted = wal_bytes(&dir);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(counted, 75);
    }
}
