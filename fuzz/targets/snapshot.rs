//! A snapshot on its way in: header, list of files, chunks. Nothing is written
//! outside the folder, and what is not whole leaves nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protobuf::CodedInputStream;
use z4_proto::generated::peer::{SnapshotPart, SnapshotPart_oneof_part as Part};
use z4_rpc::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    // Parts behind their lengths, as on a stream.
    let mut input = CodedInputStream::from_bytes(bytes);
    let mut header = None;
    let mut chunks = Vec::new();
    while let Ok(part) = input.read_message::<SnapshotPart>() {
        match part.part {
            Some(Part::header(first)) if header.is_none() => header = Some(first),
            // The checksum is put right: to find one by chance takes too long.
            Some(Part::chunk(mut chunk)) => {
                if chunk.crc32c % 4 != 0 {
                    chunk.crc32c = crc32c::crc32c(&chunk.data);
                }
                chunks.push(chunk);
            }
            _ => break,
        }
        if !matches!(input.eof(), Ok(false)) {
            break;
        }
    }
    let Some(header) = header else { return };
    let Ok(root) = tempfile::tempdir() else {
        return;
    };
    let whole = root.path().join("in").join("7-1");
    if std::fs::create_dir(root.path().join("in")).is_err() {
        return;
    }
    let names: Vec<String> = header.files.iter().map(|f| f.name.clone()).collect();
    let taken = fuzzing::snapshot(whole.clone(), header, &chunks, (2, 1));
    let outside = std::fs::read_dir(root.path()).map(Iterator::count);
    assert!(matches!(outside, Ok(1)), "{outside:?}");
    let inside = std::fs::read_dir(root.path().join("in")).map(Iterator::count);
    if whole.exists() {
        let files = std::fs::read_dir(&whole).map(Iterator::count);
        assert!(
            matches!(files, Ok(count) if count == names.len()),
            "{files:?}"
        );
    } else {
        assert!(
            taken.is_err() && matches!(inside, Ok(0)),
            "{taken:?} {inside:?}"
        );
    }
});
