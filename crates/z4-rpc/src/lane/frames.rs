//! Frames out of a stream of bytes.

use std::io::{self, Read};

use super::frame::{self, Broken, Kind, HEADER_LEN};
use crate::limits;

/// Why there is no next frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The other side closed the connection behind a whole frame.
    #[error("the other side closed the connection")]
    Closed,
    /// The other side closed the connection in the middle of a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// Nothing came for as long as a read of the source waits.
    #[error("nothing came in time")]
    Silent,
    /// What came is no frame.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The connection broke.
    #[error("{0}")]
    Failed(io::Error),
}

/// Reads frames. Memory grows with the bytes that came, not with the length that
/// a header names.
pub(crate) struct Frames<R> {
    source: R,
    buffer: Vec<u8>,
    /// What came and was not given out yet is `buffer[start..end]`.
    start: usize,
    end: usize,
}

impl<R: Read> Frames<R> {
    pub(crate) fn new(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; limits::LANE_BUFFER_LEN],
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// The next frame: its kind and its body, of `body_len_max` bytes at most.
    ///
    /// # Errors
    /// [`Ended`]. After [`Ended::Silent`] the same call goes on where it was; all
    /// else is final.
    pub(crate) fn next(&mut self, body_len_max: usize) -> Result<(Kind, &[u8]), Ended> {
        let found = loop {
            let came = &self.buffer[self.start..self.end];
            if let Some(found) = frame::first(came, body_len_max)? {
                break found;
            }
            self.fill()?;
        };
        let frame = self.start..self.start + found.len;
        self.start = frame.end;
        Ok((found.kind, &self.buffer[frame][HEADER_LEN..]))
    }

    /// Reads what is there, at least a byte.
    fn fill(&mut self) -> Result<(), Ended> {
        self.make_room();
        loop {
            return match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) if self.start == self.end => Err(Ended::Closed),
                Ok(0) => Err(Ended::Truncated),
                Ok(len) => {
                    self.end += len;
                    Ok(())
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(Ended::Silent),
                    _ => Err(Ended::Failed(error)),
                },
            };
        }
    }

    /// Makes room for a byte at least: frames that were given out go first.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // One large frame must not hold its memory for as long as the lane is up.
            if self.buffer.len() > limits::LANE_BUFFER_KEPT_MAX {
                self.buffer = vec![0; limits::LANE_BUFFER_LEN];
            }
        }
        if self.end < self.buffer.len() {
            return;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Gives its bytes in pieces of so many.
    struct Pieces(Vec<u8>, usize);

    impl Read for Pieces {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(to.len());
            to[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }

    #[test]
    fn frames_come_whole_whatever_the_pieces_they_came_in() {
        let bodies = [0, 1, 50_000, 100, 300_000, 3, 70_000].map(|len| vec![len as u8; len]);
        let mut bytes = Vec::new();
        for body in &bodies {
            bytes.extend(frame::encode(Kind::Batch, body).unwrap());
        }
        for piece in [1_000, 7, 65_536, usize::MAX] {
            let mut frames = Frames::new(Pieces(bytes.clone(), piece));
            for body in &bodies {
                let (kind, got) = frames.next(300_000).unwrap();
                assert_eq!((kind, got), (Kind::Batch, &body[..]));
            }
            assert!(matches!(frames.next(1), Err(Ended::Closed)));
        }
    }

    #[test]
    fn an_end_in_the_middle_is_told_from_an_end_behind_a_frame() {
        let bytes = frame::encode(Kind::Batch, b"abc").unwrap();
        for len in 1..bytes.len() {
            let mut frames = Frames::new(&bytes[..len]);
            assert!(matches!(frames.next(10), Err(Ended::Truncated)), "{len}");
        }
        let mut frames = Frames::new(&bytes[..]);
        assert!(matches!(
            frames.next(2),
            Err(Ended::Broken(Broken::Length(3, 2)))
        ));
    }

    #[test]
    fn a_length_that_nothing_follows_takes_no_memory() {
        let mut frames = Frames::new(&[0, 0, 0, 1, 2][..]);
        assert!(matches!(frames.next(1 << 24), Err(Ended::Truncated)));
        assert_eq!(frames.buffer.len(), limits::LANE_BUFFER_LEN);
    }
}
