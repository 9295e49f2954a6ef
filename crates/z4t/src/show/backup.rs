//! What a backup holds.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use z4_backup::Manifest;

use super::plain::escape;
use crate::zone;

/// One line.
pub(crate) fn backup_text(manifest: &Manifest, bytes: u64) -> String {
    let header = &manifest.header;
    format!(
        "ok index={} hash={} rows={} bytes={bytes} tasks={} namespaces={} time={} cluster={} \
         peer={} term={} level={}\n",
        header.index,
        manifest.state_hash_hex(),
        manifest.rows,
        header.tasks,
        header.namespaces,
        time(header.stamp_ns),
        header.cluster_id_hex(),
        escape(&header.peer_id),
        header.term,
        header.level,
    )
}

/// An answer for programs.
pub(crate) fn backup_json(manifest: &Manifest, bytes: u64) -> String {
    let header = &manifest.header;
    let value = json!({
        "ok": true,
        "index": header.index,
        "state_hash": manifest.state_hash_hex(),
        "rows": manifest.rows,
        "bytes": bytes,
        "tasks": header.tasks,
        "namespaces": header.namespaces,
        "time": time(header.stamp_ns),
        "cluster_id": header.cluster_id_hex(),
        "peer_id": header.peer_id,
        "term": header.term,
        "level": header.level,
        "parts": manifest.parts,
    });
    format!("{value:#}")
}

/// Machine time as a time.
fn time(stamp_ns: u64) -> String {
    zone::show(UNIX_EPOCH + Duration::from_nanos(stamp_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_backup_holds_stands_in_one_line() {
        let mut manifest = Manifest {
            rows: 12,
            state_hash: 0xff,
            ..Manifest::default()
        };
        manifest.header.index = 42;
        manifest.header.peer_id = "peer\n1".into();
        let text = backup_text(&manifest, 900);
        let start = "ok index=42 hash=000000000000000000000000000000ff rows=12 bytes=900 tasks=0";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(backup_json(&manifest, 900).contains("\"bytes\": 900"));
    }
}
