//! Bytes in, rows out, with every check.

use std::io::Read;

use z4_core::invariants::StateHasher;
use z4_core::state::{Row, RowKey};
use z4_proto::level::{LEVEL_MAX, LEVEL_MIN};

use crate::error::{BackupError, ReadError};
use crate::frame::{Frame, Frames, Kind, Place};
use crate::header::{hex, Header, Manifest, PartsDigest};
use crate::limits::READ_BYTES;
use crate::part::Unpacker;

/// A piece of a file, as a reader finds it.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// The header, which says whose state it is; always the first.
    Header(Header),
    /// Rows, in the order of their keys.
    Rows(Vec<(RowKey, Row)>),
    /// All rows have come, and they are what the manifest says. Only now the rows before can
    /// be relied on.
    Manifest(Manifest),
}

/// Reads a backup from bytes that come in pieces of any size. Holds one part.
///
/// An error is final: nothing more can be read with the same reader.
pub struct Reader {
    frames: Frames,
    header: Option<Header>,
    manifest: Option<Manifest>,
    unpacker: Unpacker,
    parts: PartsDigest,
    hasher: StateHasher,
    rows: u64,
    row_bytes: u64,
    last: Option<RowKey>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("header", &self.header)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// A reader of a file from its first byte on.
    ///
    /// # Errors
    /// [`BackupError::Io`]: there is no memory to decompress in.
    pub fn new() -> Result<Self, BackupError> {
        Ok(Self {
            frames: Frames::new(),
            header: None,
            manifest: None,
            unpacker: Unpacker::new()?,
            parts: PartsDigest::new(),
            hasher: StateHasher::new(),
            rows: 0,
            row_bytes: 0,
            last: None,
        })
    }

    /// Bytes that were read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.frames.offset()
    }

    /// Takes bytes from the front of `input` until something was found; `None` when all of
    /// `input` was taken. To be called again while it finds something.
    ///
    /// # Errors
    /// [`BackupError`]: the bytes are no backup, or not a whole one.
    pub fn take_in(&mut self, input: &mut &[u8]) -> Result<Option<Item>, BackupError> {
        if self.manifest.is_some() {
            return match input.is_empty() {
                true => Ok(None),
                false => Err(BackupError::Trailing {
                    offset: self.bytes(),
                }),
            };
        }
        match self.frames.take_in(input)? {
            Some(frame) => self.item(frame).map(Some),
            None => Ok(None),
        }
    }

    /// Says that no byte comes any more; what the file holds, if it was whole.
    ///
    /// # Errors
    /// [`BackupError::Cut`]: the manifest did not come.
    pub fn finish(self) -> Result<Manifest, BackupError> {
        let offset = self.bytes();
        self.manifest.ok_or(BackupError::Cut { offset })
    }

    fn item(&mut self, frame: Frame) -> Result<Item, BackupError> {
        let place = frame.place;
        match (frame.kind, &self.header) {
            (Kind::Header, None) => {
                let header = Header::decode(&frame.payload);
                let header = header.map_err(|what| place.damaged(format!("the header: {what}")))?;
                check_level(header.level)?;
                self.header = Some(header.clone());
                Ok(Item::Header(header))
            }
            (Kind::Header, Some(_)) => Err(place.damaged("it is a second header")),
            (Kind::Part | Kind::Manifest, None) => {
                Err(place.damaged("it stands where the header belongs"))
            }
            (Kind::Part, Some(_)) => {
                self.parts.add(frame.payload.len(), &frame.checksum);
                self.part(place, &frame.payload).map(Item::Rows)
            }
            (Kind::Manifest, Some(header)) => {
                let manifest = Manifest::decode(&frame.payload);
                let manifest =
                    manifest.map_err(|what| place.damaged(format!("the manifest: {what}")))?;
                self.check(header, &manifest)?;
                self.manifest = Some(manifest.clone());
                Ok(Item::Manifest(manifest))
            }
        }
    }

    fn part(&mut self, place: Place, payload: &[u8]) -> Result<Vec<(RowKey, Row)>, BackupError> {
        let unpacked = self.unpacker.unpack(payload);
        let (rows, bytes) = unpacked.map_err(|what| place.damaged(what))?;
        for (key, row) in &rows {
            if let Some(last) = self.last.as_ref().filter(|last| *last >= key) {
                let what = format!("the row of {key:?} stands behind that of {last:?}");
                return Err(place.damaged(what));
            }
            self.hasher.row(key, row);
            self.last = Some(key.clone());
        }
        self.rows += rows.len() as u64;
        self.row_bytes += bytes;
        Ok(rows)
    }

    fn check(&self, header: &Header, manifest: &Manifest) -> Result<(), BackupError> {
        let hash = self.hasher.finish();
        let differ = [
            (
                "the header",
                format!("{header:?}"),
                format!("{:?}", manifest.header),
            ),
            (
                "the number of parts",
                self.parts.count.to_string(),
                manifest.parts.to_string(),
            ),
            (
                "the SHA-256 of the parts",
                hex(&self.parts.finish()),
                hex(&manifest.parts_sha256),
            ),
            (
                "the number of rows",
                self.rows.to_string(),
                manifest.rows.to_string(),
            ),
            (
                "the size of the rows in bytes",
                self.row_bytes.to_string(),
                manifest.row_bytes.to_string(),
            ),
            (
                "the state hash",
                format!("{hash:032x}"),
                manifest.state_hash_hex(),
            ),
        ];
        match differ.into_iter().find(|(_, found, want)| found != want) {
            None => Ok(()),
            Some((what, found, want)) => Err(BackupError::Manifest { what, found, want }),
        }
    }
}

fn check_level(found: u32) -> Result<(), BackupError> {
    match (LEVEL_MIN..=LEVEL_MAX).contains(&found) {
        true => Ok(()),
        false => Err(BackupError::Level {
            found,
            min: LEVEL_MIN,
            max: LEVEL_MAX,
        }),
    }
}

/// Reads a whole file, and gives what it finds to `take`; what the file holds.
///
/// # Errors
/// [`ReadError`]: the file is no whole backup, could not be read, or `take` refused.
pub fn read_all<E>(
    mut from: impl Read,
    mut take: impl FnMut(Item) -> Result<(), E>,
) -> Result<Manifest, ReadError<E>> {
    let mut reader = Reader::new()?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match from.read(&mut buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(BackupError::io("read"))?,
        };
        if read == 0 {
            return Ok(reader.finish()?);
        }
        let mut input = &buffer[..read];
        while let Some(item) = reader.take_in(&mut input)? {
            take(item).map_err(ReadError::Taker)?;
        }
    }
}
