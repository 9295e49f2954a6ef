//! Bytes that are damaged, newer, or meant to harm: an error, never a panic.

use super::*;
use crate::generated::log;
use crate::parts::write;
use protobuf::Message;

fn decode_all(bytes: &[u8]) -> Vec<Result<(), DecodeError>> {
    let mut results = vec![
        decode_command(bytes).map(drop),
        decode_outcome(bytes).map(drop),
    ];
    for (key, _) in rows() {
        results.push(decode_row(&key, bytes).map(drop));
    }
    results
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let len = chance.next() % 64;
        let bytes: Vec<_> = (0..len).map(|_| chance.next() as u8).collect();
        let _ = decode_all(&bytes);
    }
}

#[test]
fn damaged_messages_never_panic() {
    let mut good: Vec<_> = commands().iter().map(encode_command).collect();
    good.extend(outcomes().iter().map(encode_outcome));
    good.extend(rows().iter().map(|(_, row)| encode_row(row)));
    let mut chance = Chance(7);
    for bytes in good {
        for len in 0..bytes.len() {
            let _ = decode_all(&bytes[..len]);
        }
        for _ in 0..200 {
            let mut bytes = bytes.clone();
            if let Some(len) = std::num::NonZeroU64::new(bytes.len() as u64) {
                let place = (chance.next() % len) as usize;
                bytes[place] = chance.next() as u8;
            }
            let _ = decode_all(&bytes);
        }
    }
}

#[test]
fn nothing_is_no_command_and_no_outcome() {
    let command = decode_command(&[]);
    assert!(
        matches!(command, Err(DecodeError::Kind { .. })),
        "{command:?}"
    );
    let outcome = decode_outcome(&[]);
    assert!(
        matches!(outcome, Err(DecodeError::Kind { .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_command_of_a_newer_version_stops_the_reader() {
    // Field 99, a number.
    const NEWER: [u8; 3] = [0x98, 0x06, 1];
    for command in commands() {
        let mut bytes = encode_command(&command);
        bytes.extend(NEWER);
        let error = decode_command(&bytes).unwrap_err();
        assert!(
            matches!(error, DecodeError::UnknownField { number: 99, .. }),
            "{error}"
        );
    }
    // Within a message: the length byte is the second one.
    let mut bytes = encode_command(&Command::Pulse);
    bytes[1] += NEWER.len() as u8;
    bytes.extend(NEWER);
    let error = decode_command(&bytes).unwrap_err();
    assert!(
        matches!(error, DecodeError::UnknownField { number: 99, .. }),
        "{error}"
    );
    for (key, row) in rows() {
        let mut bytes = encode_row(&row);
        bytes.extend(NEWER);
        assert!(decode_row(&key, &bytes).is_err(), "{key:?}");
    }
    // Peers of different versions talk to each other.
    for outcome in outcomes() {
        let mut bytes = encode_outcome(&outcome);
        bytes.extend(NEWER);
        assert_eq!(decode_outcome(&bytes).unwrap(), outcome);
    }
}

#[test]
fn wrong_fields_are_named() {
    let create = |namespace: &str, priority_plus_1| {
        let task = log::NewTask {
            priority_plus_1,
            ..Default::default()
        };
        let create = log::CreateTasks {
            namespace: namespace.into(),
            tasks: vec![task].into(),
            ..Default::default()
        };
        let mut command = log::Command::new();
        command.set_create_tasks(create);
        decode_command(&write(&command))
    };
    assert!(create("a", 0).is_ok());
    assert!(create("a", 10).is_ok());
    assert_names(create("a", 11), "NewTask.priority_plus_1");
    assert_names(create("a", u32::MAX), "NewTask.priority_plus_1");
    assert_names(create("", 0), "namespace");
    assert_names(create("a#b", 0), "namespace");

    let ack = |len| {
        let lease = log::LeaseRef {
            id: vec![1; len],
            ..Default::default()
        };
        let refs = log::LeaseRefs {
            namespace: "a".into(),
            leases: vec![lease].into(),
            ..Default::default()
        };
        let mut command = log::Command::new();
        command.set_ack_tasks(refs);
        decode_command(&write(&command))
    };
    assert!(ack(16).is_ok());
    for len in [0, 15, 17] {
        assert_names(ack(len), "LeaseRef.id");
    }

    // A rate limit is a count and a period, or it is not one.
    let set = |names: &[log::SettingName]| {
        let setting = |name: &log::SettingName| log::Setting {
            name: *name,
            value: 7,
            ..Default::default()
        };
        let set = log::SetNamespace {
            namespace: "a".into(),
            settings: names.iter().map(setting).collect(),
            ..Default::default()
        };
        let mut command = log::Command::new();
        command.set_set_namespace(set);
        decode_command(&write(&command))
    };
    use log::SettingName::{SETTING_NAME_RATE_COUNT as COUNT, SETTING_NAME_RATE_PERIOD_MS as MS};
    assert!(set(&[COUNT, MS]).is_ok());
    assert_names(set(&[COUNT]), "Setting");
    assert_names(set(&[MS]), "Setting");

    let refused = |code| {
        let mut outcome = log::Outcome::new();
        outcome.mut_refused().code = code;
        decode_outcome(&write(&outcome))
    };
    assert!(refused(5).is_ok());
    for code in [0, 6, 256 + 1] {
        assert_names(refused(code), "Refused.code");
    }
}

#[test]
fn wrong_rows_are_named() {
    let status = RowKey::Status(NamespaceId(1), id());
    let body = RowKey::Body(NamespaceId(1), id());
    let request = RowKey::Request {
        namespace: NamespaceId(1),
        request_id: String::new(),
    };
    let name = RowKey::Namespace(space());
    let token_only = log::StatusRow {
        token: 1,
        ..Default::default()
    };
    assert_row(&status, &token_only, "StatusRow");
    let leased_and_waiting = log::StatusRow {
        consumer: "c".into(),
        due_at_ns: 1,
        ..Default::default()
    };
    assert_row(&status, &leased_and_waiting, "StatusRow");
    let priority = log::StatusRow {
        priority: 10,
        ..Default::default()
    };
    assert_row(&status, &priority, "StatusRow.priority");
    let priority = log::BodyRow {
        priority: 10,
        ..Default::default()
    };
    assert_row(&body, &priority, "BodyRow.priority");
    assert_row(&request, &log::RequestRow::new(), "RequestRow.content_hash");
    let mut queues = log::NamespaceRow::new();
    queues.queues = vec![log::QueueHead::new(); 9].into();
    assert_row(&name, &queues, "NamespaceRow.queues");
    queues.queues = vec![log::QueueHead::new(); 10].into();
    assert!(decode_row(&name, &write(&queues)).is_ok());
    queues.queues[3].cursor_id = vec![1; 3];
    assert_row(&name, &queues, "QueueHead.cursor_id");
    for (key, row) in rows() {
        let small = matches!(
            row,
            Row::Due { .. } | Row::Lease { .. } | Row::Dead | Row::Timer | Row::RequestExpiry
        );
        for bytes in [&[2][..], &[1, 1][..]] {
            assert!(!small || decode_row(&key, bytes).is_err(), "{key:?}");
        }
    }
    assert!(decode_row(&RowKey::End, &[]).is_err());
}

fn assert_row(key: &RowKey, message: &impl Message, field: &str) {
    assert_names(decode_row(key, &write(message)), field);
}

fn assert_names<T: std::fmt::Debug>(result: Result<T, DecodeError>, field: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with(field), "{text:?} does not name {field}");
}

/// The parser must not follow groups down the stack (RUSTSEC-2024-0437).
#[test]
fn deeply_nested_unknown_groups_are_an_error() {
    const DEPTH: usize = 1_000_000;
    // Start and end of a group with number 99.
    let open = [0x9b, 0x06].repeat(DEPTH);
    let closed = [open.clone(), [0x9c, 0x06].repeat(DEPTH)].concat();
    for bytes in [open, closed] {
        for result in decode_all(&bytes) {
            assert!(result.is_err());
        }
    }
}
