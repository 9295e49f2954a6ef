//! A file that is written is read.

use z4_core::state::{MemState, Row, RowKey};
use z4_core::View;

use super::{frames, header, read, state, write, write_with};
use crate::limits::ROW_BYTES_MAX;
use crate::{BackupError, Header, Item, Reader, Writer};

#[test]
fn rows_of_all_kinds_come_back_whatever_the_pieces() {
    let state = state();
    let (file, manifest) = write(&state);
    assert!(manifest.parts > 3, "{manifest:?}");
    assert_eq!(manifest.header, header());
    assert_eq!(read(&file).unwrap(), (state.clone(), manifest.clone()));
    for len in [1, 7, 4_096, file.len()] {
        let mut reader = Reader::new().unwrap();
        let (mut rows, mut first) = (0, None);
        for mut piece in file.chunks(len) {
            while let Some(item) = reader.take_in(&mut piece).unwrap() {
                match item {
                    Item::Header(found) => first = Some(found),
                    Item::Rows(found) => rows += found.len() as u64,
                    Item::Manifest(found) => assert_eq!(found, manifest),
                }
            }
        }
        assert_eq!((first, rows), (Some(header()), manifest.rows), "{len}");
        assert_eq!(reader.bytes(), file.len() as u64);
        assert_eq!(reader.finish().unwrap(), manifest);
    }
}

#[test]
fn an_empty_state_is_a_backup() {
    let (file, manifest) = write(&MemState::new());
    assert_eq!((manifest.rows, manifest.parts), (0, 0));
    assert_eq!(read(&file).unwrap().1, manifest);
}

#[test]
fn the_form_is_fixed() {
    let (file, _) = write(&MemState::new());
    assert_eq!(&file[..12], b"z4backup\0\0\0\x01");
    let frames = frames(&file);
    assert_eq!(frames.len(), 2);
    let payload = b"\x0a\x10\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\
        \x12\x05peer1\x18\x03\x20\xd8\x04\x28\x05\x30\x02\x38\x0a\x40\x04";
    assert_eq!(&frames[0][..5], &[1, 0, 0, 0, payload.len() as u8]);
    assert_eq!(&frames[0][5..5 + payload.len()], payload);
    assert_eq!(frames[1][0], 3);
}

#[test]
fn a_level_that_this_version_does_not_know_is_refused_with_the_numbers() {
    for level in [0, z4_proto::level::LEVEL_MAX + 1] {
        let header = Header { level, ..header() };
        let (file, _) = write_with(&MemState::new(), header);
        match read(&file) {
            Err(BackupError::Level { found, min, max }) => {
                assert_eq!((found, min, max), (level, 1, z4_proto::level::LEVEL_MAX));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn progress_ends_at_the_number_of_tasks() {
    let state = state();
    let mut writer = Writer::new(Vec::new(), header()).unwrap();
    let (mut bodies, mut before) = (0, 0);
    state
        .scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
            bodies += u64::from(matches!(row, Row::Body(_)));
            writer.row(&key, &row).unwrap();
            assert!(writer.tasks_done() >= before);
            before = writer.tasks_done();
            true
        })
        .unwrap();
    assert_eq!(before, bodies);
}

#[test]
fn a_row_above_the_limit_is_refused_before_it_is_written() {
    let mut state = state();
    let mut large = None;
    state.retain(|key| matches!(key, RowKey::Body(..)));
    state
        .scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
            if let Row::Body(body) = row {
                large = Some((key, body));
            }
            false
        })
        .unwrap();
    let (key, mut body) = large.unwrap();
    let mut writer = Writer::new(Vec::new(), header()).unwrap();
    body.payload = vec![1; ROW_BYTES_MAX + 1];
    let refused = writer.row(&key, &Row::Body(body));
    assert!(
        matches!(refused, Err(BackupError::RowTooLarge { max, .. }) if max == ROW_BYTES_MAX),
        "{refused:?}"
    );
}
