//! The plain binary form of this crate's own records: a version byte, numbers as
//! LEB128, byte strings behind their length. The crate uses no schema compiler on
//! purpose: it knows bytes, and these records are few and seldom change.

/// Writes a record.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A record of this version.
    #[must_use]
    pub fn new(version: u8) -> Self {
        Self(vec![version])
    }

    /// The same, with room for so many bytes: what is kept for long is not to hold more
    /// memory than it needs.
    #[must_use]
    pub fn with_room(version: u8, bytes: usize) -> Self {
        let mut record = Vec::with_capacity(bytes);
        record.push(version);
        Self(record)
    }

    /// Appends a number.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Appends bytes of a length that the reader knows.
    pub fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends bytes behind their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.fixed(bytes);
    }

    /// The record.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The bytes that a number takes.
#[must_use]
pub fn number_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Reads a record; every method gives `None` where the bytes end too soon.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The record, if it is of this version.
    #[must_use]
    pub fn new(bytes: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == version).then_some(Self(rest))
    }

    /// Takes a number.
    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Takes bytes of a known length.
    pub fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// Takes bytes behind their length.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// Takes UTF-8 text behind its length.
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// Whether all is read.
    #[must_use]
    pub fn end(&self) -> bool {
        self.0.is_empty()
    }
}
