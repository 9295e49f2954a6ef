//! Whatever happens to a file is found.

use z4_core::state::MemState;

use super::{frames, header, join, read, state, write};
use crate::frame::{self, Kind};
use crate::limits::{FRAME_BYTES_MAX, PART_BYTES_MAX};
use crate::{BackupError, Manifest};

/// Seals a payload as a frame with a right checksum.
fn sealed(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let (head, checksum) = frame::seal(kind, payload);
    [&head[..], payload, &checksum[..]].concat()
}

fn complaint(file: &[u8]) -> String {
    match read(file) {
        Err(error) => error.to_string(),
        Ok((_, manifest)) => panic!("taken for whole: {manifest:?}"),
    }
}

#[test]
fn each_class_of_bytes_flipped_is_found() {
    let (file, _) = write(&state());
    // Start, then of each frame: kind, length, payload at both ends and between, checksum.
    let mut places: Vec<usize> = (0..12).collect();
    let mut at = 12;
    for frame in frames(&file) {
        let payload = frame.len() - 37;
        places.extend(at..at + 5);
        places.extend((0..=20).map(|n| at + 5 + (payload - 1) * n / 20));
        places.extend(at + 5 + payload..at + frame.len());
        at += frame.len();
    }
    assert_eq!(at, file.len());
    for place in places {
        let mut flipped = file.clone();
        flipped[place] ^= 1 << (place % 8);
        assert!(read(&flipped).is_err(), "byte {place} was taken");
    }
}

#[test]
fn every_byte_of_a_small_file_counts() {
    let (file, _) = write(&MemState::new());
    for place in 0..file.len() {
        let mut flipped = file.clone();
        flipped[place] ^= 0x10;
        assert!(read(&flipped).is_err(), "byte {place}");
        assert!(
            matches!(read(&file[..place]), Err(BackupError::Cut { offset }) if offset == place as u64),
            "cut at {place}"
        );
    }
    let mut longer = file.clone();
    longer.push(0);
    let offset = file.len() as u64;
    assert!(matches!(read(&longer), Err(BackupError::Trailing { offset: at }) if at == offset));
}

#[test]
fn a_file_that_ends_behind_any_frame_but_the_last_is_cut() {
    let (file, _) = write(&state());
    let frames = frames(&file);
    for count in 0..frames.len() {
        let cut = join(&file[..12], &frames[..count]);
        let text = complaint(&cut);
        assert!(text.contains("before its manifest"), "{count}: {text}");
    }
}

#[test]
fn parts_that_are_missing_doubled_or_swapped_are_found() {
    let (file, _) = write(&state());
    let (start, frames) = (&file[..12], frames(&file));
    let count = frames.len();
    for n in 0..count {
        let mut dropped = frames.clone();
        dropped.remove(n);
        complaint(&join(start, &dropped));
        let mut doubled = frames.clone();
        doubled.insert(n, frames[n]);
        complaint(&join(start, &doubled));
        for m in n + 1..count {
            let mut swapped = frames.clone();
            swapped.swap(n, m);
            complaint(&join(start, &swapped));
        }
    }
    // The last part has nothing behind it whose order would tell.
    let mut dropped = frames.clone();
    dropped.remove(count - 2);
    let text = complaint(&join(start, &dropped));
    assert!(text.contains("the number of parts"), "{text}");
}

#[test]
fn two_files_cannot_be_mixed() {
    let (file, manifest) = write(&state());
    let (start, mut frames) = (&file[..12], frames(&file));
    // Another header, with a right checksum.
    let other = crate::Header {
        index: 601,
        ..header()
    };
    let header = sealed(Kind::Header, &other.encode());
    frames[0] = &header;
    assert!(complaint(&join(start, &frames)).contains("the header"));
    // Manifests that lie, with right checksums.
    let last = frames.len() - 1;
    let (whole, _) = write(&state());
    let whole = super::frames(&whole);
    let lies = [
        (
            "the number of rows",
            Manifest {
                rows: manifest.rows + 1,
                ..manifest.clone()
            },
        ),
        (
            "the state hash",
            Manifest {
                state_hash: manifest.state_hash ^ 1,
                ..manifest.clone()
            },
        ),
        (
            "the SHA-256 of the parts",
            Manifest {
                parts_sha256: [0; 32],
                ..manifest.clone()
            },
        ),
        (
            "the size of the rows",
            Manifest {
                row_bytes: 0,
                ..manifest.clone()
            },
        ),
    ];
    for (what, lie) in lies {
        let manifest = sealed(Kind::Manifest, &lie.encode());
        let mut frames = whole.clone();
        frames[last] = &manifest;
        let text = complaint(&join(start, &frames));
        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn what_would_take_more_memory_than_a_part_may_is_refused() {
    let (file, _) = write(&MemState::new());
    let first = join(&file[..12], &frames(&file)[..1]);
    let with = |payload: &[u8]| [&first[..], &sealed(Kind::Part, payload)].concat();

    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let honest = [&(64u32 << 20).to_be_bytes()[..], &bomb].concat();
    let text = complaint(&with(&honest));
    assert!(text.contains(&PART_BYTES_MAX.to_string()), "{text}");
    let lying = [&1_000u32.to_be_bytes()[..], &bomb].concat();
    let text = complaint(&with(&lying));
    assert!(text.contains("decompressed to 1000 bytes"), "{text}");

    let mut head = vec![Kind::Part.byte()];
    head.extend(u32::MAX.to_be_bytes());
    let text = complaint(&[&first[..], &head].concat());
    assert!(text.contains(&FRAME_BYTES_MAX.to_string()), "{text}");
}

#[test]
fn other_files_are_told_so() {
    assert!(complaint(b"SQLite format 3\0").contains("no backup of z4"));
    let text = complaint(b"z4backup\0\0\0\x02");
    assert!(text.contains("form 2") && text.contains("form 1"), "{text}");
}

#[test]
fn the_checksum_covers_kind_and_length() {
    let (file, _) = write(&state());
    let first = frames(&file)[0].len();
    // The kind of the first part, which becomes that of a manifest.
    let mut flipped = file.clone();
    flipped[12 + first] ^= 1;
    let text = complaint(&flipped);
    assert!(text.contains("its checksum is wrong"), "{text}");
}

#[test]
fn a_row_that_stands_twice_is_found_though_all_sums_are_right() {
    let row = z4_core::state::Row::Meta(z4_core::state::MetaRow::default());
    let mut writer = crate::Writer::new(Vec::new(), header()).unwrap();
    for _ in 0..2 {
        writer.row(&z4_core::state::RowKey::Meta, &row).unwrap();
    }
    let (file, _) = writer.finish().unwrap();
    let text = complaint(&file);
    assert!(text.contains("stands behind"), "{text}");
}
