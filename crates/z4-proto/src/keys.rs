//! Row keys as bytes, both ways. Bytes sort as [`RowKey`]s do.
//!
//! A prefix byte for each table, in the order of the enum, then the fields:
//! numbers big-endian, ids as they are. Strings come last in every key, behind
//! fields of fixed length, so they need neither length nor terminator to sort
//! right and to be told apart.

use z4_core::access::PrincipalName;
use z4_core::state::RowKey;
use z4_core::{Namespace, NamespaceId, TaskId};

/// First byte of what a store keeps beside the machine's rows: below all of them, so that no
/// scan of rows meets it.
pub const OWN: u8 = 0;
const META: u8 = 1;
const NAMESPACE: u8 = 2;
const BODY: u8 = 3;
const STATUS: u8 = 4;
const DUE: u8 = 5;
const LEASE: u8 = 6;
const REQUEST: u8 = 7;
const REQUEST_EXPIRY: u8 = 8;
const DEAD: u8 = 9;
const TIMER: u8 = 10;
const PRINCIPAL: u8 = 11;
const END: u8 = 0xff;

/// The bytes of a key.
#[must_use]
pub fn encode(key: &RowKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    match key {
        RowKey::Meta => out.push(META),
        RowKey::Namespace(name) => {
            out.push(NAMESPACE);
            out.extend_from_slice(name.as_str().as_bytes());
        }
        RowKey::Body(namespace, id) => {
            out.push(BODY);
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        RowKey::Status(namespace, id) => {
            out.push(STATUS);
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        RowKey::Due {
            namespace,
            rank,
            due_at_ns,
            id,
        } => {
            out.push(DUE);
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.push(*rank);
            out.extend_from_slice(&due_at_ns.to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        RowKey::Lease {
            deadline_ns,
            namespace,
            id,
        } => {
            out.push(LEASE);
            out.extend_from_slice(&deadline_ns.to_be_bytes());
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        RowKey::Dead {
            namespace,
            at_ns,
            id,
        } => {
            out.push(DEAD);
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(&at_ns.to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        RowKey::Timer {
            at_ns,
            namespace,
            id,
        } => {
            out.push(TIMER);
            out.extend_from_slice(&at_ns.to_be_bytes());
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        RowKey::Request {
            namespace,
            request_id,
        } => {
            out.push(REQUEST);
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(request_id.as_bytes());
        }
        RowKey::RequestExpiry {
            expires_at_ns,
            namespace,
            request_id,
        } => {
            out.push(REQUEST_EXPIRY);
            out.extend_from_slice(&expires_at_ns.to_be_bytes());
            out.extend_from_slice(&namespace.0.to_be_bytes());
            out.extend_from_slice(request_id.as_bytes());
        }
        RowKey::Principal(name) => {
            out.push(PRINCIPAL);
            out.extend_from_slice(name.as_str().as_bytes());
        }
        RowKey::End => out.push(END),
    }
    out
}

/// The key of these bytes; `None` when they are none.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<RowKey> {
    let (table, rest) = bytes.split_first()?;
    let mut fields = Fields(rest);
    let key = match *table {
        META => RowKey::Meta,
        NAMESPACE => RowKey::Namespace(Namespace::new(fields.text()?).ok()?),
        BODY => RowKey::Body(fields.namespace()?, fields.id()?),
        STATUS => RowKey::Status(fields.namespace()?, fields.id()?),
        DUE => RowKey::Due {
            namespace: fields.namespace()?,
            rank: fields.take::<1>()?[0],
            due_at_ns: fields.number()?,
            id: fields.id()?,
        },
        LEASE => RowKey::Lease {
            deadline_ns: fields.number()?,
            namespace: fields.namespace()?,
            id: fields.id()?,
        },
        DEAD => RowKey::Dead {
            namespace: fields.namespace()?,
            at_ns: fields.number()?,
            id: fields.id()?,
        },
        TIMER => RowKey::Timer {
            at_ns: fields.number()?,
            namespace: fields.namespace()?,
            id: fields.id()?,
        },
        REQUEST => RowKey::Request {
            namespace: fields.namespace()?,
            request_id: fields.text()?.to_owned(),
        },
        REQUEST_EXPIRY => RowKey::RequestExpiry {
            expires_at_ns: fields.number()?,
            namespace: fields.namespace()?,
            request_id: fields.text()?.to_owned(),
        },
        PRINCIPAL => RowKey::Principal(PrincipalName::new(fields.text()?).ok()?),
        END => RowKey::End,
        _ => return None,
    };
    fields.0.is_empty().then_some(key)
}

/// What is left to read of a key.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn namespace(&mut self) -> Option<NamespaceId> {
        self.take().map(|b| NamespaceId(u32::from_be_bytes(b)))
    }

    fn id(&mut self) -> Option<TaskId> {
        self.take().map(TaskId::from_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(std::mem::take(&mut self.0)).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    /// Few values for each field, so that keys often agree in all but one.
    fn number(rng: &mut StdRng) -> u64 {
        *[0, 1, 255, 256, 1 << 40, u64::MAX - 1, u64::MAX]
            .get(rng.gen_range(0..7))
            .unwrap()
    }

    fn namespace(rng: &mut StdRng) -> NamespaceId {
        NamespaceId(number(rng) as u32)
    }

    fn id(rng: &mut StdRng) -> TaskId {
        let mut bytes = [0; 16];
        bytes[rng.gen_range(0..16)] = rng.gen();
        TaskId::from_bytes(bytes)
    }

    fn text(rng: &mut StdRng) -> String {
        let letters = ['\0', 'a', 'b', '-', 'ä', '\u{7f}', '\u{10ffff}'];
        (0..rng.gen_range(0..4))
            .map(|_| letters[rng.gen_range(0..letters.len())])
            .collect()
    }

    fn name(rng: &mut StdRng) -> Namespace {
        let letters = ['a', 'b', '-', '.', 'Z', '0'];
        let name: String = (0..rng.gen_range(1..4))
            .map(|_| letters[rng.gen_range(0..letters.len())])
            .collect();
        Namespace::new(&name).unwrap()
    }

    fn key(rng: &mut StdRng) -> RowKey {
        match rng.gen_range(0..12) {
            0 => RowKey::Meta,
            1 => RowKey::Namespace(name(rng)),
            2 => RowKey::Body(namespace(rng), id(rng)),
            3 => RowKey::Status(namespace(rng), id(rng)),
            4 => RowKey::Due {
                namespace: namespace(rng),
                rank: rng.gen_range(0..10),
                due_at_ns: number(rng),
                id: id(rng),
            },
            5 => RowKey::Lease {
                deadline_ns: number(rng),
                namespace: namespace(rng),
                id: id(rng),
            },
            6 => RowKey::Request {
                namespace: namespace(rng),
                request_id: text(rng),
            },
            7 => RowKey::RequestExpiry {
                expires_at_ns: number(rng),
                namespace: namespace(rng),
                request_id: text(rng),
            },
            8 => RowKey::dead(namespace(rng), number(rng), id(rng)),
            9 => RowKey::timer(number(rng), namespace(rng), id(rng)),
            10 => RowKey::Principal(PrincipalName::new(name(rng).as_str()).unwrap()),
            _ => RowKey::End,
        }
    }

    #[test]
    fn bytes_sort_as_keys_do_and_read_back() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..200_000 {
            let (a, b) = (key(&mut rng), key(&mut rng));
            let (x, y) = (encode(&a), encode(&b));
            assert_eq!(x.cmp(&y), a.cmp(&b), "{a:?} {b:?}");
            assert_eq!(decode(&x).as_ref(), Some(&a));
            assert!(x.as_slice() > [OWN, 0xff].as_slice());
        }
    }

    /// Databases have them.
    #[test]
    fn keys_keep_their_bytes() {
        let prefixes = [
            (RowKey::Meta, 1),
            (RowKey::Namespace(Namespace::new("a").unwrap()), 2),
            (RowKey::bodies(NamespaceId(1), TaskId::default()).0, 3),
            (RowKey::statuses(NamespaceId(1), TaskId::default()).0, 4),
            (RowKey::queue_end(NamespaceId(1), 0), 5),
            (RowKey::leases().0, 6),
            (RowKey::requests(NamespaceId(1)).0, 7),
            (RowKey::request_expiries(1).0, 8),
            (RowKey::dead(NamespaceId(1), 1, TaskId::default()), 9),
            (RowKey::timer(1, NamespaceId(1), TaskId::default()), 10),
            (RowKey::principals().0, 11),
            (RowKey::End, 0xff),
        ];
        for (key, prefix) in prefixes {
            assert_eq!(encode(&key)[0], prefix, "{key:?}");
        }
        let ada = RowKey::Principal(PrincipalName::new("ada").unwrap());
        assert_eq!(encode(&ada), b"\x0bada");
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        for bytes in [
            &b""[..],
            &[OWN],
            &[12],
            &[PRINCIPAL],
            &[PRINCIPAL, b'a', b' '],
            &[BODY, 1, 2, 3],
            &[META, 0],
            &[NAMESPACE],
            &[REQUEST, 0, 0, 0, 1, 0xff],
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
