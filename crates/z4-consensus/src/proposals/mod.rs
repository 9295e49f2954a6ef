//! The entry envelope: a stamp and commands.
//!
//! The raft thread packs all commands that wait into few entries; each entry
//! carries the time at which its leader took it in. Replies find their callers
//! by (index, term), never by order.

pub mod wire;

use wire::{number_len, Reader, Writer};

use crate::limits;

/// Version of the stored form of [`Envelope`].
const ENVELOPE_VERSION: u8 = 1;

/// What the data of an entry holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Envelope {
    /// When the leader took it in, nanoseconds since the Unix epoch.
    pub stamp_ns: u64,
    /// The commands, in order; opaque here.
    pub commands: Vec<Vec<u8>>,
}

impl Envelope {
    /// The form in the log: version, stamp, count, each command behind its
    /// length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // An entry stays in memory for followers, with all that was allocated for it: a
        // vector that has grown may be half empty.
        let mut out = Writer::with_room(ENVELOPE_VERSION, self.encoded_len());
        out.number(self.stamp_ns);
        out.number(self.commands.len() as u64);
        for command in &self.commands {
            out.bytes(command);
        }
        out.finish()
    }

    fn encoded_len(&self) -> usize {
        let of_one = |command: &Vec<u8>| number_len(command.len() as u64) + command.len();
        let head = 1 + number_len(self.stamp_ns) + number_len(self.commands.len() as u64);
        head + self.commands.iter().map(of_one).sum::<usize>()
    }

    /// Reads the form in the log. `None` when it is damaged or of a newer
    /// version: the peer must stop, for to skip it would part it from the rest.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes, ENVELOPE_VERSION)?;
        let stamp_ns = input.number()?;
        let mut commands = Vec::new();
        for _ in 0..input.number()? {
            commands.push(input.bytes()?.to_vec());
        }
        input.end().then_some(Self { stamp_ns, commands })
    }

    /// The stamp alone.
    #[must_use]
    pub fn stamp(bytes: &[u8]) -> Option<u64> {
        Reader::new(bytes, ENVELOPE_VERSION)?.number()
    }
}

/// A command that waits to be packed, with what belongs to it.
#[derive(Debug)]
pub struct Asked<P> {
    /// The encoded command.
    pub command: Vec<u8>,
    /// How many task ids it uses up of its entry.
    pub units: u32,
    /// The caller's own.
    pub token: P,
}

/// An entry in the making: as many commands as fit.
#[derive(Debug)]
pub struct Pack<P> {
    /// The commands, in order.
    pub commands: Vec<Vec<u8>>,
    /// For each command, its caller and the units used up before it.
    pub tokens: Vec<(P, u32)>,
}

/// Packs commands into as few entries as their limits allow, in order.
pub fn pack<P>(asked: Vec<Asked<P>>) -> Vec<Pack<P>> {
    let mut packs: Vec<Pack<P>> = Vec::new();
    let (mut bytes, mut units) = (0, 0u32);
    for Asked {
        command,
        units: wanted,
        token,
    } in asked
    {
        let fits = packs.last().is_some_and(|open| {
            bytes + command.len() <= limits::ENTRY_LEN_TARGET
                && open.commands.len() < limits::ENTRY_COMMAND_COUNT_MAX
                && units.saturating_add(wanted) <= limits::ENTRY_UNITS_MAX
        });
        if !fits {
            packs.push(Pack {
                commands: Vec::new(),
                tokens: Vec::new(),
            });
            (bytes, units) = (0, 0);
        }
        let Some(open) = packs.last_mut() else {
            continue;
        };
        open.tokens.push((token, units));
        bytes += command.len();
        units += wanted;
        open.commands.push(command);
    }
    packs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn envelope_bytes_are_fixed() {
        let envelope = Envelope {
            stamp_ns: 300,
            commands: vec![vec![7, 8], vec![]],
        };
        let bytes = envelope.encode();
        assert_eq!(bytes, [1, 0xac, 2, 2, 2, 7, 8, 0]);
        assert_eq!(Envelope::decode(&bytes), Some(envelope));
        assert_eq!(Envelope::stamp(&bytes), Some(300));
    }

    #[test]
    fn an_envelope_takes_no_more_memory_than_its_bytes() {
        for count in [0, 1, 127, 128, 300] {
            for len in [0, 1, 127, 128, 16_383, 16_384] {
                let envelope = Envelope {
                    stamp_ns: u64::MAX >> (count % 64),
                    commands: vec![vec![1; len]; count],
                };
                let bytes = envelope.encode();
                assert_eq!(bytes.capacity(), bytes.len(), "{count} of {len} bytes");
            }
        }
    }

    #[test]
    fn damaged_envelopes_are_refused() {
        let good = Envelope {
            stamp_ns: u64::MAX,
            commands: vec![vec![1; 200]; 3],
        }
        .encode();
        for cut in 0..good.len() {
            assert_eq!(Envelope::decode(&good[..cut]), None, "cut at {cut}");
        }
        let mut newer = good.clone();
        newer[0] = 2;
        assert_eq!(Envelope::decode(&newer), None);
        let mut longer = good;
        longer.push(0);
        assert_eq!(Envelope::decode(&longer), None);
        // A count beyond the bytes must not allocate for it.
        assert_eq!(
            Envelope::decode(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            None
        );
    }

    fn asked(len: usize, units: u32, token: usize) -> Asked<usize> {
        Asked {
            command: vec![0; len],
            units,
            token,
        }
    }

    #[test]
    fn packs_close_at_their_limits() {
        let small = (0..limits::ENTRY_COMMAND_COUNT_MAX + 1)
            .map(|i| asked(1, 1, i))
            .collect();
        let packs = pack(small);
        assert_eq!(packs.len(), 2);
        assert_eq!(packs[0].tokens[5], (5, 5));
        assert_eq!(packs[1].tokens, [(limits::ENTRY_COMMAND_COUNT_MAX, 0)]);

        let large = (0..3)
            .map(|i| asked(limits::ENTRY_LEN_TARGET * 2 / 3, 0, i))
            .collect();
        assert_eq!(pack(large).len(), 3);

        let many_units = (0..2)
            .map(|i| asked(1, limits::ENTRY_UNITS_MAX, i))
            .collect();
        assert_eq!(pack(many_units).len(), 2);
        assert!(pack(Vec::<Asked<()>>::new()).is_empty());
    }
}
