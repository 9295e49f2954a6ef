//! Frames with their checksums.

use openssl::sha::Sha256;

use crate::error::BackupError;
use crate::limits::FRAME_BYTES_MAX;

/// The first bytes of a file.
pub(crate) const MAGIC: &[u8; 8] = b"z4backup";
/// The form of the file, behind the magic.
pub(crate) const FORM: u32 = 1;
const START_LEN: usize = MAGIC.len() + 4;
const HEAD_LEN: usize = 5;
const CHECKSUM_LEN: usize = 32;

/// The kind of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Header,
    Part,
    Manifest,
}

impl Kind {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Part => 2,
            Self::Manifest => 3,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Part, Self::Manifest]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// The bytes before the first frame.
pub(crate) fn start() -> [u8; START_LEN] {
    let mut start = [0; START_LEN];
    start[..MAGIC.len()].copy_from_slice(MAGIC);
    start[MAGIC.len()..].copy_from_slice(&FORM.to_be_bytes());
    start
}

/// The bytes around the payload of a frame: those before it, and its checksum behind it.
pub(crate) fn seal(kind: Kind, payload: &[u8]) -> ([u8; HEAD_LEN], [u8; CHECKSUM_LEN]) {
    let mut head = [0; HEAD_LEN];
    head[0] = kind.byte();
    // No writer makes a payload that is longer than `FRAME_BYTES_MAX`.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    head[1..].copy_from_slice(&len.to_be_bytes());
    let checksum = checksum(&head, payload);
    (head, checksum)
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut sha = Sha256::new();
    sha.update(head);
    sha.update(payload);
    sha.finish()
}

/// A frame that was read whole, and whose checksum is right.
pub(crate) struct Frame {
    pub kind: Kind,
    pub payload: Vec<u8>,
    pub checksum: [u8; CHECKSUM_LEN],
    pub place: Place,
}

/// Where a frame stands in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Place {
    /// The number of the frame; that of the header is 0.
    pub frame: u64,
    /// The offset of its first byte.
    pub offset: u64,
}

impl Place {
    pub(crate) fn damaged(self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            frame: self.frame,
            offset: self.offset,
            what: what.into(),
        }
    }
}

/// Takes bytes and gives frames.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    state: State,
    /// The bytes of the frame that is being read.
    place: Place,
    /// Bytes that were taken in.
    offset: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Head,
    Body(Kind, usize),
}

impl Frames {
    pub(crate) fn new() -> Self {
        Self {
            buffer: Vec::new(),
            state: State::Start,
            place: Place::default(),
            offset: 0,
        }
    }

    /// Bytes that were taken in so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes from the front of `input`; a frame as soon as one is whole, and `None`
    /// when all of `input` was taken.
    pub(crate) fn take_in(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, BackupError> {
        loop {
            let need = match self.state {
                State::Start => START_LEN,
                State::Head => HEAD_LEN,
                State::Body(_, len) => HEAD_LEN + len + CHECKSUM_LEN,
            };
            let taken = input.len().min(need - self.buffer.len());
            let (now, later) = input.split_at(taken);
            self.buffer.extend_from_slice(now);
            *input = later;
            self.offset += taken as u64;
            if self.buffer.len() < need {
                return Ok(None);
            }
            match self.state {
                State::Start => self.begin()?,
                State::Head => self.state = self.head()?,
                State::Body(kind, len) => return self.body(kind, len).map(Some),
            }
        }
    }

    fn begin(&mut self) -> Result<(), BackupError> {
        let (magic, form) = self.buffer.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(BackupError::NotBackup);
        }
        let found = form.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        if found != FORM {
            let known = FORM;
            return Err(BackupError::Form { found, known });
        }
        self.buffer.clear();
        self.state = State::Head;
        self.place.offset = self.offset;
        Ok(())
    }

    fn head(&self) -> Result<State, BackupError> {
        let (byte, len) = (self.buffer[0], &self.buffer[1..HEAD_LEN]);
        let Some(kind) = Kind::of(byte) else {
            return Err(self.place.damaged(format!("{byte} is no kind of frame")));
        };
        let len = len.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        if len > FRAME_BYTES_MAX {
            let what = format!("it claims {len} bytes, more than the limit of {FRAME_BYTES_MAX}");
            return Err(self.place.damaged(what));
        }
        Ok(State::Body(kind, len))
    }

    fn body(&mut self, kind: Kind, len: usize) -> Result<Frame, BackupError> {
        let mut payload = std::mem::take(&mut self.buffer);
        let said = payload.split_off(HEAD_LEN + len);
        let head: Vec<u8> = payload.drain(..HEAD_LEN).collect();
        let checksum = checksum(&head, &payload);
        if said != checksum {
            return Err(self.place.damaged("its checksum is wrong"));
        }
        let place = self.place;
        self.place = Place {
            frame: place.frame + 1,
            offset: self.offset,
        };
        self.state = State::Head;
        Ok(Frame {
            kind,
            payload,
            checksum,
            place,
        })
    }
}
