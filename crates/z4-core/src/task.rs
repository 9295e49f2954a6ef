//! Ids and names, the body of a task, and where a task stands.

use std::fmt;
use std::str::FromStr;

use crate::error::Refusal;
use crate::limits;
use crate::time::MS_NS;

/// The id of a task: 128 bits, unique in the cluster, given by the log.
///
/// The first 8 bytes are the stamp of the log entry that created the task, in
/// nanoseconds since the Unix epoch; the last 8 are its sequence: the entry's
/// log index (44 bits) and the place in the entry (20 bits). A log index is
/// committed once, so no two tasks share an id, and a leader knows the id as
/// soon as it has appended the entry.
///
/// The text form is 26 characters of Crockford's base 32 in lower case; it
/// sorts as the bytes do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TaskId([u8; 16]);

/// Crockford's base 32 alphabet (<https://www.crockford.com/base32.html>).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Places in one log entry that an id can tell apart.
pub const ORDINAL_BITS: u32 = 20;

impl TaskId {
    /// Length of the text form in characters.
    pub const TEXT_LEN: usize = 26;

    /// The id of the task at place `ordinal` of the entry at `index`.
    ///
    /// `ordinal` must be below 2^20 (an entry of 8 MiB cannot hold as many
    /// tasks) and `index` below 2^44 (at 100,000 entries a second, that is five
    /// years; group commit needs a hundredth of it).
    #[must_use]
    pub fn new(stamp_ns: u64, index: u64, ordinal: u32) -> Self {
        debug_assert!(ordinal < 1 << ORDINAL_BITS && index < 1 << 44);
        let sequence = (index << ORDINAL_BITS) | u64::from(ordinal);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&stamp_ns.to_be_bytes());
        bytes[8..].copy_from_slice(&sequence.to_be_bytes());
        Self(bytes)
    }

    /// The id with these 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, which sort as ids do.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; Self::TEXT_LEN];
        for (i, c) in text.iter_mut().enumerate() {
            let shift = 5 * (Self::TEXT_LEN - 1 - i);
            *c = ALPHABET[((value >> shift) & 31) as usize];
        }
        // The alphabet is ASCII, so the bytes are text.
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TaskId {
    type Err = Refusal;

    /// Reads the text form. Upper case is taken as lower case.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field `task_id` when the
    /// text is not 26 characters of the alphabet or is above 128 bits.
    fn from_str(text: &str) -> Result<Self, Refusal> {
        let bad = || Refusal::invalid("task_id", "must be 26 characters of Crockford base 32");
        if text.len() != Self::TEXT_LEN {
            return Err(bad());
        }
        let mut value: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let digit = ALPHABET
                .iter()
                .position(|a| *a == c.to_ascii_lowercase())
                .ok_or_else(bad)?;
            // 26 digits hold 130 bits: the first may use its low three only.
            if i == 0 && digit > 7 {
                return Err(bad());
            }
            value = (value << 5) | digit as u128;
        }
        Ok(Self(value.to_be_bytes()))
    }
}

/// Checks a name of the alphabet and the length that namespaces have.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names `field` and the limit.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), Refusal> {
    let fits = (1..=limits::NAMESPACE_LEN_MAX).contains(&name.len());
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if fits && name.bytes().all(plain) {
        return Ok(());
    }
    let rule = format!(
        "must be 1 to {} characters of A-Z a-z 0-9 . _ -",
        limits::NAMESPACE_LEN_MAX
    );
    Err(Refusal::invalid(field, rule))
}

/// The name of a namespace: 1 to 128 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Box<str>);

impl Namespace {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field `namespace` and the
    /// limit.
    pub fn new(name: &str) -> Result<Self, Refusal> {
        check_name("namespace", name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The number the log gave a namespace when it first appeared; keys carry it in
/// place of the name. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NamespaceId(pub u32);

/// Delivery order among due tasks: 0 to 9, higher first; 5 unless asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(u8);

impl Priority {
    /// How many priorities there are.
    pub const COUNT: usize = 10;

    /// A priority, 0 to 9.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field `priority`.
    pub fn new(value: u8) -> Result<Self, Refusal> {
        if usize::from(value) < Self::COUNT {
            Ok(Self(value))
        } else {
            Err(Refusal::invalid("priority", "must be 0 to 9"))
        }
    }

    /// The number, 0 to 9.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// All priorities, the one that is delivered first in front.
    pub fn highest_first() -> impl Iterator<Item = Self> {
        (0..10).rev().map(Self)
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

/// An instant as the client wrote it: `google.protobuf.Timestamp`, unaltered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct WallTime {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999,999,999.
    pub nanos: i32,
}

impl WallTime {
    /// The instant in nanoseconds since the epoch; before it is 0, beyond the
    /// range of 64 bits (year 2554) is the end of the range.
    #[must_use]
    pub fn as_ns(self) -> u64 {
        let ns = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        ns.clamp(0, i128::from(u64::MAX)) as u64
    }

    /// The instant `ns` nanoseconds after the epoch.
    #[must_use]
    pub fn from_ns(ns: u64) -> Self {
        Self {
            seconds: (ns / 1_000_000_000) as i64,
            nanos: (ns % 1_000_000_000) as i32,
        }
    }
}

/// What a client stored; written once, never changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TaskBody {
    /// The client's labels, sorted by key, no key twice.
    pub metadata: Vec<(String, String)>,
    /// The client's bytes.
    pub payload: Vec<u8>,
    /// What `deliver_at` reads back as: what was asked, or when it became due.
    pub deliver_at: WallTime,
    /// When the task was first due, in machine nanoseconds.
    pub due_at_ns: u64,
    /// Stamp of the entry that created it.
    pub created_at_ns: u64,
    /// Delivery order among due tasks.
    pub priority: Priority,
    /// Failures that send it to the dead letters; 0 for the namespace's setting.
    pub max_attempts: u32,
    /// How long after its due time it may wait, in milliseconds; then it is a
    /// dead letter. 0: for ever.
    pub ttl_ms: u64,
}

impl TaskBody {
    /// Bytes of payload and metadata.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let labels = self.metadata.iter().map(|(k, v)| k.len() + v.len());
        (self.payload.len() + labels.sum::<usize>()) as u64
    }
}

/// Proof of holding a lease: the log index of the entry that granted it.
/// Strictly rising for one task, so an old token never fits a newer lease.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaseToken(pub u64);

/// Where a task stands. A task that was never leased nor moved has no status
/// row: it waits at its body's due time with zero attempts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TaskStatus {
    /// Waiting, leased or dead.
    pub phase: Phase,
    /// How often it was leased.
    pub deliveries: u32,
    /// How many of those failed: ended in a nack or an expiry. Releases do not
    /// count.
    pub failures: u32,
    /// How often it was given back without a failure since it last failed or was
    /// moved, by consumers that had it in hand.
    pub returns: u32,
    /// When the task was first due, in machine nanoseconds: the body's
    /// `due_at_ns`, or the time it was moved to since. The time to live counts
    /// from here.
    pub first_due_at_ns: u64,
    /// The body's priority. Copied here with the next three, so that to lease
    /// the task and to end its lease takes no read of a body that may be large.
    pub priority: Priority,
    /// The body's bytes of payload and metadata.
    pub bytes: u64,
    /// The body's `max_attempts`.
    pub max_attempts: u32,
    /// The body's `ttl_ms`.
    pub ttl_ms: u64,
    /// What the last nack said, or that a lease expired; empty: no failure yet.
    pub last_error: String,
}

impl TaskStatus {
    /// Which try a consumer is at, or will be: one more than the failures.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.failures.saturating_add(1)
    }

    /// When the task is too old to be delivered, in machine nanoseconds; `None`:
    /// never.
    #[must_use]
    pub fn expires_at_ns(&self) -> Option<u64> {
        expires_at_ns(self.first_due_at_ns, self.ttl_ms)
    }
}

/// When a task that is due at `due_at_ns` is too old, in machine nanoseconds;
/// `None`, that is with a `ttl_ms` of 0, never.
#[must_use]
pub fn expires_at_ns(due_at_ns: u64, ttl_ms: u64) -> Option<u64> {
    (ttl_ms > 0).then(|| due_at_ns.saturating_add(ttl_ms.saturating_mul(MS_NS)))
}

/// Where a task can be.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// In the due index at this time. A task that comes back at once takes a new
    /// place, which is not below the one when it was first due; one that comes
    /// back later, its time.
    Waiting {
        /// Machine time in nanoseconds.
        due_at_ns: u64,
    },
    /// Held by a consumer; in the lease index at this deadline.
    Leased {
        /// Who holds it.
        consumer: String,
        /// Proof of holding it.
        token: LeaseToken,
        /// Machine time at which the lease ends.
        deadline_ns: u64,
    },
    /// A dead letter; in the index of the dead at this time.
    Dead {
        /// Machine time of the burial, in nanoseconds.
        at_ns: u64,
        /// Why.
        reason: DeathReason,
        /// When it is forgotten, in machine nanoseconds; 0: when somebody does.
        forget_at_ns: u64,
    },
}

/// Why a task is a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum DeathReason {
    /// It failed as often as it may.
    Attempts = 1,
    /// It waited longer than its time to live.
    Ttl = 2,
    /// A consumer said that no try will ever succeed.
    Permanent = 3,
}

impl DeathReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Attempts, Self::Ttl, Self::Permanent];

    /// The reason of a number, as stored and sent.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn text_form_reads_back_and_sorts_as_the_bytes() {
        let ids = [
            TaskId::from_bytes([0; 16]),
            TaskId::new(1, 1, 0),
            TaskId::new(1, 1, 1),
            TaskId::new(1, 2, 0),
            TaskId::new(1_700_000_000_000_000_000, 7, 3),
            TaskId::from_bytes([0xff; 16]),
        ];
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1]);
            assert!(pair[0].to_string() < pair[1].to_string());
        }
        for id in ids {
            let text = id.to_string();
            assert_eq!(text.len(), TaskId::TEXT_LEN);
            assert_eq!(text.parse::<TaskId>().ok(), Some(id));
            assert_eq!(text.to_uppercase().parse::<TaskId>().ok(), Some(id));
        }
    }

    #[test]
    fn bad_ids_name_the_field() {
        for text in [
            "",
            "x",
            &"0".repeat(25),
            &"u".repeat(26),
            &"z".repeat(26),
            "é0000000000000000000000000",
        ] {
            let refusal = text.parse::<TaskId>().expect_err(text);
            assert!(refusal.to_string().contains("task_id"), "{refusal}");
        }
    }

    #[test]
    fn namespaces_are_plain_and_bounded() {
        for good in ["a", "A.b_c-9", &"x".repeat(128)] {
            assert!(Namespace::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a#b", "a/b", "ä", &"x".repeat(129)] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wall_time_clamps() {
        assert_eq!(
            WallTime {
                seconds: -5,
                nanos: 0
            }
            .as_ns(),
            0
        );
        assert_eq!(
            WallTime {
                seconds: i64::MAX,
                nanos: 0
            }
            .as_ns(),
            u64::MAX
        );
        assert_eq!(WallTime::from_ns(1_500_000_000).as_ns(), 1_500_000_000);
    }
}
