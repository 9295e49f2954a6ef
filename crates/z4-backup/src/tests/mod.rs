#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod form;

use z4_core::invariants::state_hash;
use z4_core::state::{MemState, Row, RowKey};
use z4_core::walk::Walk;
use z4_core::{Machine, State, View};

use crate::{read_all, BackupError, Header, Item, Manifest, ReadError, Writer};

/// A state with rows of all kinds, and enough bytes of bodies for several parts.
fn state() -> MemState {
    let (mut walk, mut machine) = (Walk::new(7), Machine::open(MemState::new()).unwrap());
    let mut events = Vec::new();
    for index in 2..600 {
        let (stamp_ns, commands) = walk.step();
        let outcomes = machine
            .apply_entry(index, stamp_ns, commands.clone(), &mut events)
            .unwrap();
        walk.learn(&commands, &outcomes);
        events.clear();
    }
    let mut state = machine.state().clone();
    let mut bodies = Vec::new();
    state
        .scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
            if let Row::Body(body) = row {
                bodies.push((key, body));
            }
            true
        })
        .unwrap();
    assert!(bodies.len() > 4);
    for (seed, (key, mut body)) in (0u32..).zip(bodies).take(10) {
        // Bytes that do not compress.
        let mut x = seed + 1;
        body.payload = (0..400_000)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect();
        state.put(key, Row::Body(body));
    }
    state
}

fn header() -> Header {
    Header {
        cluster_id: [7; 16],
        peer_id: "peer1".into(),
        term: 3,
        index: 600,
        stamp_ns: 5,
        level: 2,
        tasks: 10,
        namespaces: 4,
    }
}

fn write(state: &MemState) -> (Vec<u8>, Manifest) {
    write_with(state, header())
}

fn write_with(state: &MemState, header: Header) -> (Vec<u8>, Manifest) {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    state
        .scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
            writer.row(&key, &row).unwrap();
            true
        })
        .unwrap();
    let (file, manifest) = writer.finish().unwrap();
    assert_eq!(manifest.state_hash, state_hash(state).unwrap());
    (file, manifest)
}

/// The contents of a file.
fn read(file: &[u8]) -> Result<(MemState, Manifest), BackupError> {
    let mut state = MemState::new();
    let read = read_all(file, |item| {
        if let Item::Rows(rows) = item {
            for (key, row) in rows {
                state.put(key, row);
            }
        }
        Ok::<(), ()>(())
    });
    match read {
        Ok(manifest) => Ok((state, manifest)),
        Err(ReadError::Backup(error)) => Err(error),
        Err(ReadError::Taker(())) => panic!("nobody refused"),
    }
}

/// The frames of a file, each with its head and its checksum.
fn frames(file: &[u8]) -> Vec<&[u8]> {
    let mut rest = &file[12..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let (frame, next) = rest.split_at(5 + len + 32);
        frames.push(frame);
        rest = next;
    }
    frames
}

fn join(start: &[u8], frames: &[&[u8]]) -> Vec<u8> {
    let mut file = start.to_vec();
    frames.iter().for_each(|frame| file.extend(*frame));
    file
}
