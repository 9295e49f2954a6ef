//! Lists of files (MANIFEST) that lost their end.
//!
//! RocksDB takes a list of which the last record is not whole for one whose writer died,
//! and opens the database as it was before that record. One flipped bit in a length hides
//! all records behind it in the same way. Here each list is cut at the beginning of each of
//! its records and in the middle of it, and with `Z4_TORTURE=1` has that length made too
//! large besides.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{asked, copy, Answer};
use super::peer::Peer;
use super::*;

const BLOCK_BYTES: usize = 32 << 10;
/// A header is a checksum of four bytes, a length of two and a kind of one.
const HEADER_BYTES: usize = 7;

/// The places of all records of a list, from and to.
fn records(list: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while from < list.len() {
        let left = BLOCK_BYTES - from % BLOCK_BYTES;
        if left < HEADER_BYTES {
            from += left;
            continue;
        }
        let len = u16::from_le_bytes([list[from + 4], list[from + 5]]);
        let to = from + HEADER_BYTES + usize::from(len);
        found.push((from, to));
        from = to;
    }
    assert_eq!(from, list.len(), "the last record is whole");
    found
}

/// A list without its end, in all ways, each with what was done.
fn without_ends(list: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for (from, to) in records(list) {
        for len in [from, from + (to - from) / 2] {
            found.push((format!("cut at byte {len}"), list[..len].to_vec()));
        }
        if torture_step() > 1 {
            continue;
        }
        let mut torn = list.to_vec();
        torn[from + 4..from + 6].fill(0xff);
        found.push((format!("the length at byte {from} too large"), torn));
    }
    found
}

/// The fates of the peers whose list lost its end.
#[derive(Default, Debug)]
struct Found {
    /// Indexes at which states were opened that the log made good.
    opened_at: BTreeSet<u64>,
    made_good: usize,
    refused: usize,
    /// Refused, because a table is gone that the list still names.
    table_gone: usize,
    /// Refused, because the log is cut above the state.
    behind_cut: usize,
}

/// A peer that has ended, and one of its two lists.
struct Ended {
    dir: TempDir,
    written: BTreeMap<u64, u128>,
    /// The answer when nothing is changed.
    expected: Answer,
    list: PathBuf,
    bytes: Vec<u8>,
}

impl Ended {
    /// Ends a peer; the list is that of the database in `folder`.
    fn of(peer: Peer, folder: &str) -> Self {
        let (dir, written) = peer.end();
        let sound = TempDir::new().unwrap();
        copy(dir.path(), sound.path());
        let lists = files(dir.path(), |name| {
            name.to_string_lossy().starts_with("MANIFEST")
        });
        let list = lists.into_iter().find(|list| list.starts_with(folder));
        let list = list.unwrap();
        Self {
            bytes: std::fs::read(dir.path().join(&list)).unwrap(),
            expected: asked(sound.path(), "sound").unwrap(),
            list,
            written,
            dir,
        }
    }

    /// The answer of a copy with other bytes in its list. A copy that goes on with less than
    /// the peer had is a panic.
    fn asked_with(&self, bytes: &[u8], what: &str) -> Result<Answer, String> {
        let what = format!("{}, {what}", self.list.display());
        let changed = TempDir::new().unwrap();
        copy(self.dir.path(), changed.path());
        std::fs::write(changed.path().join(&self.list), bytes).unwrap();
        let answer = asked(changed.path(), &what)?;
        let then = self.written.get(&answer.opened_at);
        assert_eq!(then, Some(&answer.opened), "{what}: a state of no moment");
        assert_eq!(answer.whole, self.expected.whole, "{what}: another answer");
        Ok(answer)
    }

    /// Has the list lose its end in all ways.
    fn lose_ends(&self) -> Found {
        let mut found = Found::default();
        for (what, bytes) in without_ends(&self.bytes) {
            match self.asked_with(&bytes, &what) {
                Err(refusal) => {
                    let is = |why: &str| usize::from(refusal.contains(why));
                    found.refused += 1;
                    found.table_gone += is("No such file");
                    found.behind_cut += is("the raft log begins behind");
                }
                Ok(answer) => {
                    found.made_good += 1;
                    found.opened_at.insert(answer.opened_at);
                }
            }
        }
        println!("{}: {found:?}, silent loss 0", self.list.display());
        found
    }
}

#[test]
fn a_state_of_before_is_refused_or_made_good_by_the_log() {
    let mut peer = Peer::founded(1);
    // A state of before a compaction misses the tables that it removed.
    for _ in 0..3 {
        peer.go_on(40);
        peer.flush();
    }
    peer.compact();
    // From here on all tables stay, so that every state of before can be opened.
    peer.hold_compactions();
    peer.go_on(25);
    peer.flush();
    peer.go_on(25);
    peer.write();
    peer.go_on(25);
    let through = peer.flush();
    peer.go_on(25);
    peer.checkpoint();
    for _ in 0..3 {
        peer.go_on(25);
        peer.flush();
    }
    peer.cut(through);
    peer.go_on(20);
    peer.flush();

    let found = Ended::of(peer, "db").lose_ends();
    assert!(found.opened_at.len() >= 5, "{found:?}");
    assert!(found.opened_at.contains(&through.index), "{found:?}");
    assert!(found.table_gone > 0 && found.behind_cut > 0, "{found:?}");
}

#[test]
fn an_installed_state_of_before_is_refused_or_made_good_by_the_log() {
    let mut peer = Peer::installed(2);
    peer.hold_compactions();
    for _ in 0..3 {
        peer.go_on(30);
        peer.flush();
    }
    let found = Ended::of(peer, "db").lose_ends();
    // The snapshot is among them, and so is each flush.
    assert!(found.opened_at.len() >= 3, "{found:?}");

    let mut peer = Peer::installed(3);
    peer.hold_compactions();
    peer.go_on(30);
    let through = peer.flush();
    peer.cut(through);
    peer.go_on(30);
    peer.flush();
    let found = Ended::of(peer, "db").lose_ends();
    assert!(found.behind_cut > 0, "{found:?}");
}

#[test]
fn a_log_with_a_hole_is_refused() {
    let mut peer = Peer::founded(4);
    peer.go_on(60);
    peer.flush();
    peer.flush_log();
    peer.go_on(40);
    let through = peer.flush();
    peer.cut(through);
    peer.flush_log();
    // The state stands behind the hole, and the log ends where it should.
    peer.go_on(40);
    peer.flush();
    let found = Ended::of(peer, "peer").lose_ends();
    assert_eq!(found.made_good, 0, "{found:?}");
}

#[test]
fn a_log_with_entries_that_were_replaced_is_refused() {
    for is_applied in [false, true] {
        let mut peer = Peer::founded(5);
        peer.go_on(60);
        peer.flush();
        peer.is_replaced(30);
        peer.flush_log();
        peer.go_on(30);
        peer.flush_log();
        peer.go_on(20);
        if is_applied {
            peer.flush();
        }
        let found = Ended::of(peer, "peer").lose_ends();
        assert_eq!(found.made_good, 0, "{found:?}");
    }
}

/// A record that is not whole was not synced, and nobody relied on it.
#[test]
fn a_record_that_was_being_written_is_borne() {
    for folder in ["peer", "db"] {
        let mut peer = Peer::founded(6);
        peer.go_on(30);
        peer.flush();
        peer.flush_log();
        peer.go_on(10);
        let ended = Ended::of(peer, folder);
        let (from, to) = *records(&ended.bytes).last().unwrap();
        for part in [1, 6, 7, to - from - 1] {
            let begun = &ended.bytes[from..from + part];
            let bytes = [&ended.bytes, begun].concat();
            let answer = ended.asked_with(&bytes, &format!("{part} bytes more"));
            assert_eq!(answer.unwrap(), ended.expected);
        }
    }
}
