//! The memory of a peer, as the kernel counts it, and its bytes on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use z4_e2e::{Cluster, Peer};

use crate::report::Report;

/// Bytes of a block in which the system counts what a file takes.
const BLOCK_BYTES: u64 = 512;

/// Adds what the largest peer takes: the memory of now, the most that it ever took, and
/// its files.
pub fn report(cluster: &Cluster, report: &mut Report) {
    let most = |of: &dyn Fn(&Peer) -> u64| cluster.peers.iter().map(of).max().unwrap_or(0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report
        .add_rounded("rss_mib", mib(most(&|peer| memory(peer, "VmRSS:"))))
        .add_rounded("rss_peak_mib", mib(most(&|peer| memory(peer, "VmHWM:"))))
        .add_rounded("disk_mib", mib(most(&disk_bytes)));
}

/// A line of the status of the process, in bytes; 0 when it does not run.
pub fn memory(peer: &Peer, name: &str) -> u64 {
    let pid = peer.pid().unwrap_or(0);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

fn disk_bytes(peer: &Peer) -> u64 {
    bytes_below(&peer.db_folder()) + bytes_below(&peer.peer_folder())
}

/// The bytes of the files below a folder; a file that is gone meanwhile takes none.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_one = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.blocks() * BLOCK_BYTES,
        Err(_) => 0,
    };
    entries.map(of_one).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_of_folders_within_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inner")).unwrap();
        fs::write(folder.path().join("inner/file"), vec![1; 100_000]).unwrap();
        let found = bytes_below(folder.path());
        assert!((100_000..200_000).contains(&found), "{found}");
    }
}
