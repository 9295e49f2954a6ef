//! Rows as the payload of a part, both ways.

use z4_core::state::{Row, RowKey};
use z4_proto::{decode_row, encode_row, keys};
use zstd::bulk::{Compressor, Decompressor};

use crate::error::BackupError;
use crate::limits::{COMPRESSION_LEVEL, KEY_BYTES_MAX, PART_BYTES, PART_BYTES_MAX, ROW_BYTES_MAX};

/// Rows that become a part.
pub(crate) struct Packer {
    rows: Vec<u8>,
    compressor: Compressor<'static>,
}

impl Packer {
    pub(crate) fn new() -> Result<Self, BackupError> {
        let compressor = Compressor::new(COMPRESSION_LEVEL);
        Ok(Self {
            rows: Vec::new(),
            compressor: compressor.map_err(BackupError::io("compressed"))?,
        })
    }

    /// Adds a row; its bytes with those of its key.
    pub(crate) fn add(&mut self, key: &RowKey, row: &Row) -> Result<usize, BackupError> {
        let (key, value) = (keys::encode(key), encode_row(row));
        for (bytes, max) in [(key.len(), KEY_BYTES_MAX), (value.len(), ROW_BYTES_MAX)] {
            if bytes > max {
                return Err(BackupError::RowTooLarge { bytes, max });
            }
        }
        // Both are within their limits, which are less than what these hold.
        let (key_len, value_len) = (key.len() as u16, value.len() as u32);
        self.rows.extend_from_slice(&key_len.to_be_bytes());
        self.rows.extend_from_slice(&value_len.to_be_bytes());
        self.rows.extend_from_slice(&key);
        self.rows.extend_from_slice(&value);
        Ok(key.len() + value.len())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= PART_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The payload of a part with all rows that were added since the last one.
    pub(crate) fn pack(&mut self) -> Result<Vec<u8>, BackupError> {
        // A part holds less than `PART_BYTES_MAX`.
        let mut payload = (self.rows.len() as u32).to_be_bytes().to_vec();
        let compressed = self.compressor.compress(&self.rows);
        payload.extend_from_slice(&compressed.map_err(BackupError::io("compressed"))?);
        self.rows.clear();
        Ok(payload)
    }
}

/// Gives the rows of parts.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> Result<Self, BackupError> {
        let decompressor = Decompressor::new();
        Ok(Self(decompressor.map_err(BackupError::io("decompressed"))?))
    }

    /// The rows of a payload, with how many bytes rows and keys take; an error says what is
    /// wrong with them.
    pub(crate) fn unpack(&mut self, payload: &[u8]) -> Result<(Vec<(RowKey, Row)>, u64), String> {
        let Some((len, compressed)) = payload.split_first_chunk::<4>() else {
            return Err("it has no length".into());
        };
        let len = u32::from_be_bytes(*len) as usize;
        if len > PART_BYTES_MAX {
            return Err(format!(
                "its rows would take {len} bytes, more than the limit of {PART_BYTES_MAX}"
            ));
        }
        // A part that would give more than it claims is not decompressed further.
        let raw = self.0.decompress(compressed, len);
        let raw = raw.map_err(|e| format!("it cannot be decompressed to {len} bytes: {e}"))?;
        if raw.len() != len {
            let found = raw.len();
            return Err(format!("its rows take {found} bytes, and it claims {len}"));
        }
        rows(&raw)
    }
}

fn rows(mut raw: &[u8]) -> Result<(Vec<(RowKey, Row)>, u64), String> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while !raw.is_empty() {
        let (key, value) = take(&mut raw).ok_or("a row is cut")?;
        bytes += (key.len() + value.len()) as u64;
        let Some(key) = keys::decode(key) else {
            return Err(format!("the key {key:?} does not decode"));
        };
        let row = decode_row(&key, value).map_err(|e| format!("the row of {key:?}: {e}"))?;
        rows.push((key, row));
    }
    Ok((rows, bytes))
}

fn take<'a>(raw: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (key_len, rest) = raw.split_first_chunk::<2>()?;
    let (value_len, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*key_len)))?;
    let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*value_len) as usize)?;
    *raw = rest;
    Some((key, value))
}
