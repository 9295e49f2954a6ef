//! Files of any frames with right checksums, for the fuzz target. Not part of the API: built
//! with the feature `fuzzing` alone.

use crate::frame::{self, Frames, Kind};
use crate::limits::{COMPRESSION_LEVEL, PART_BYTES_MAX};
use crate::reader::read_all;
use crate::BackupError;

/// Reads bytes as a file; what was found in it, or why not. With `sealed` they are taken for
/// payloads of frames, each behind its kind and a length of two bytes, and right checksums
/// are put behind them first; payloads of parts are compressed.
///
/// # Errors
/// As [`read_all`].
pub fn file(bytes: &[u8], sealed: bool) -> Result<u64, BackupError> {
    let mut rows = 0;
    let bytes = if sealed { seal(bytes) } else { bytes.to_vec() };
    let read = read_all(&bytes[..], |item| {
        if let crate::Item::Rows(found) = item {
            rows += found.len() as u64;
        }
        Ok::<(), std::convert::Infallible>(())
    });
    match read {
        Ok(manifest) => {
            assert_eq!(manifest.rows, rows);
            Ok(rows)
        }
        Err(crate::ReadError::Backup(error)) => Err(error),
        Err(crate::ReadError::Taker(never)) => match never {},
    }
}

/// The bytes of which [`file`] makes this file again, with `sealed`; for seeds.
#[must_use]
pub fn unsealed(mut file: &[u8]) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::new(), Vec::new());
    while let Ok(Some(frame)) = frames.take_in(&mut file) {
        let (kind, payload) = match frame.kind {
            Kind::Header => (0, frame.payload),
            Kind::Manifest => (1, frame.payload),
            Kind::Part => {
                let rows = frame.payload.get(4..).unwrap_or_default();
                let rows = zstd::bulk::decompress(rows, PART_BYTES_MAX);
                (2, rows.unwrap_or_default())
            }
        };
        out.push(kind);
        out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        out.extend_from_slice(&payload);
    }
    out
}

fn seal(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = frame::start().to_vec();
    while let Some(([kind, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let kind = match kind % 8 {
            0 => Kind::Header,
            1 => Kind::Manifest,
            _ => Kind::Part,
        };
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        let payload = match kind {
            Kind::Part => {
                let mut part = (payload.len() as u32).to_be_bytes().to_vec();
                part.extend(zstd::bulk::compress(payload, COMPRESSION_LEVEL).unwrap_or_default());
                part
            }
            Kind::Header | Kind::Manifest => payload.to_vec(),
        };
        let (head, checksum) = frame::seal(kind, &payload);
        out.extend_from_slice(&head);
        out.extend_from_slice(&payload);
        out.extend_from_slice(&checksum);
        bytes = rest;
    }
    out
}
