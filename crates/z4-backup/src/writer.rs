//! Rows in, bytes out.

use std::io::Write;

use z4_core::invariants::StateHasher;
use z4_core::state::{Row, RowKey};

use crate::error::BackupError;
use crate::frame::{self, Kind};
use crate::header::{Header, Manifest, PartsDigest};
use crate::part::Packer;

/// Writes a backup: all rows of a state, in the order of their keys.
///
/// ```
/// use z4_backup::{Header, Writer};
/// use z4_core::state::{MetaRow, Row, RowKey};
///
/// let mut writer = Writer::new(Vec::new(), Header { level: 1, ..Header::default() })?;
/// writer.row(&RowKey::Meta, &Row::Meta(MetaRow::default()))?;
/// let (file, manifest) = writer.finish()?;
/// assert_eq!(manifest.rows, 1);
/// # let _ = file;
/// # Ok::<(), z4_backup::BackupError>(())
/// ```
pub struct Writer<W> {
    out: W,
    packer: Packer,
    parts: PartsDigest,
    hasher: StateHasher,
    manifest: Manifest,
    /// Rows of which each task has two: its body, and its place.
    task_rows: u64,
}

impl<W> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`BackupError::Io`]: `out` took nothing more, or there is no memory to compress in.
    pub fn new(mut out: W, header: Header) -> Result<Self, BackupError> {
        let written = out.write_all(&frame::start());
        written.map_err(BackupError::io("written"))?;
        let mut writer = Self {
            out,
            packer: Packer::new()?,
            parts: PartsDigest::new(),
            hasher: StateHasher::new(),
            manifest: Manifest {
                header,
                ..Manifest::default()
            },
            task_rows: 0,
        };
        let header = writer.manifest.header.encode();
        writer.frame(Kind::Header, &header)?;
        Ok(writer)
    }

    /// Adds a row, whose key must be above those before it. Bytes go to `out` when a part is
    /// full.
    ///
    /// # Errors
    /// [`BackupError`]: the file cannot be finished any more.
    pub fn row(&mut self, key: &RowKey, row: &Row) -> Result<(), BackupError> {
        self.hasher.row(key, row);
        self.manifest.row_bytes += self.packer.add(key, row)? as u64;
        self.manifest.rows += 1;
        self.task_rows += u64::from(matches!(
            row,
            Row::Body(_) | Row::Due { .. } | Row::Lease { .. } | Row::Dead
        ));
        match self.packer.is_full() {
            true => self.part(),
            false => Ok(()),
        }
    }

    /// Where bytes go.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// The number of tasks of the header that are done, about: bodies stand before places, and
    /// both count.
    #[must_use]
    pub fn tasks_done(&self) -> u64 {
        self.task_rows / 2
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`BackupError`]: the file is not whole.
    pub fn finish(mut self) -> Result<(W, Manifest), BackupError> {
        if !self.packer.is_empty() {
            self.part()?;
        }
        self.manifest.state_hash = self.hasher.finish();
        self.manifest.parts = self.parts.count;
        self.manifest.parts_sha256 = self.parts.finish();
        let manifest = self.manifest.encode();
        self.frame(Kind::Manifest, &manifest)?;
        self.out.flush().map_err(BackupError::io("written"))?;
        Ok((self.out, self.manifest))
    }

    fn part(&mut self) -> Result<(), BackupError> {
        let payload = self.packer.pack()?;
        let checksum = self.frame(Kind::Part, &payload)?;
        self.parts.add(payload.len(), &checksum);
        Ok(())
    }

    fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<[u8; 32], BackupError> {
        let (head, checksum) = frame::seal(kind, payload);
        for bytes in [&head[..], payload, &checksum[..]] {
            let written = self.out.write_all(bytes);
            written.map_err(BackupError::io("written"))?;
        }
        Ok(checksum)
    }
}
