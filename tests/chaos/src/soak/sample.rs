//! Samples: what a peer has in hand at a moment, and how long clients waited.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use z4_e2e::http;
use z4_e2e::life::record::Record;

use super::series::{Series, Watched, Whose};
use crate::net;
use crate::peer::Peer;
use crate::report::percentile;

/// Creates, and deliveries of tasks with a time, that a percentile is made of at least.
const SOME: usize = 50;
const KIB_PER_MIB: f64 = 1_024.0;
const MIB: f64 = 1_048_576.0;
/// The metrics of what the databases fill up to bounds of their own: the cache of blocks, which
/// both share, and the write buffers, which grow until they become a file.
const BOUNDED: [&str; 3] = [
    r#"z4_storage_rocksdb_memory_bytes{database="state",what="cache"}"#,
    r#"z4_storage_rocksdb_memory_bytes{database="state",what="write_buffers"}"#,
    r#"z4_storage_rocksdb_memory_bytes{database="log",what="write_buffers"}"#,
];

/// Looks at a peer that runs. `generation` counts the times that all peers got a crowd
/// to bear: they keep some of its memory.
pub fn peer(series: &mut Series, peer: &Peer, generation: u32, at_s: f64) {
    let Some(pid) = peer.pid() else { return };
    // A place keeps its disk when the process there is started anew.
    let disk: Whose = (peer.n, 0);
    let process: Whose = (peer.n, pid.wrapping_mul(1_000).wrapping_add(generation));
    // A slow leak is seen between two whole MiB, too.
    let memory_kib = peer.memory_kib();
    if memory_kib == 0 {
        // The process has just ended.
        return;
    }
    let memory_mib = memory_kib as f64 / KIB_PER_MIB;
    let descriptors = peer.descriptors() as f64;
    series.add(Watched::Descriptors, process, at_s, descriptors);
    series.add(Watched::Threads, process, at_s, peer.threads() as f64);
    let disk_mib = bytes(&peer.data()) as f64 / MIB;
    series.add(Watched::Disk, disk, at_s, disk_mib);
    // The cache fills for ten minutes, and the write buffers for two again and again: a life
    // that is shorter would seem to leak.
    let metrics = http::get(&net::metrics_address(peer.n), "/metrics");
    let bounded = metrics.ok().and_then(|(_, text)| bounded_bytes(&text));
    if let Some(bounded) = bounded {
        series.add(Watched::Memory, process, at_s, memory_mib - bounded / MIB);
    }
}

/// Bytes in what the databases of a peer fill up to bounds, by its metrics; `None` when they do
/// not say all of it.
fn bounded_bytes(metrics: &str) -> Option<f64> {
    let value = |name: &&str| {
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(*name))?;
        value.trim().parse::<f64>().ok()
    };
    BOUNDED.iter().map(value).sum()
}

/// Bytes in the files of a folder and of those in it. Files come and go meanwhile.
fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

/// Adds what creates took, and how late tasks came that were delivered since
/// `since_ns` of the record; whether there was enough of it.
pub fn latency(
    series: &mut Series,
    record: &Record,
    mut creates: Vec<Duration>,
    since_ns: u64,
    at_s: f64,
) -> bool {
    let mut late = lateness(record, since_ns);
    if creates.len() < SOME || late.len() < SOME {
        return false;
    }
    creates.sort_unstable();
    late.sort_unstable();
    let of = |times: &[Duration], share| percentile(times, share).as_secs_f64() * 1e3;
    for (watched, value) in [
        (Watched::CreateP50, of(&creates, 0.5)),
        (Watched::CreateP99, of(&creates, 0.99)),
        (Watched::LateP50, of(&late, 0.5)),
        (Watched::LateP99, of(&late, 0.99)),
    ] {
        series.add(watched, (0, 0), at_s, value);
    }
    true
}

/// From the due time of each task that has one to its first delivery.
fn lateness(record: &Record, since_ns: u64) -> Vec<Duration> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_ns = wall.map_or(0, |since| since.as_nanos() as u64);
    // The time of the machine's clock at the beginning of the record.
    let began_ns = wall_ns.saturating_sub(record.now_ns());
    let told = record.told();
    let recent = told.handed.iter().rev();
    let recent = recent.take_while(|handed| handed.at_ns >= since_ns);
    let first = recent.filter(|handed| handed.deliveries == 1 && !handed.resumed);
    let late = first.filter_map(|handed| {
        let due_ns = told.specs.get(&handed.label)?.due_ns;
        let late_ns = (began_ns + handed.at_ns).saturating_sub(due_ns);
        (due_ns > 0).then(|| Duration::from_nanos(late_ns))
    });
    late.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_bounds_of_its_own_is_added_up_and_told_only_as_a_whole() {
        let mut text = String::from("# HELP z4_storage_rocksdb_memory_bytes Memory\n");
        for (name, bytes) in BOUNDED.iter().zip([300, 20, 1]) {
            assert_eq!(bounded_bytes(&text), None);
            text += &format!("{name} {bytes}\n");
        }
        assert_eq!(bounded_bytes(&text), Some(321.0));
    }
}
