//! Private decoders of what is on disk, opened for the fuzz targets. Not part of
//! the API: built with the feature `fuzzing` alone.

use protobuf::Message as _;

use crate::bound::Bound;
use crate::list::ListBound;
use crate::peer_dir::{IdentityFile, LastBackup};
use crate::restore::Origin;
use crate::snapshot::StateDir;
use crate::{files, raft_log};

/// Reads bytes as each of the small files; whether any of them takes them. With
/// `sealed`, a right checksum is put behind them first.
#[must_use]
pub fn small_file(bytes: &[u8], sealed: bool) -> bool {
    let bytes = match sealed {
        true => files::seal(bytes.to_vec()),
        false => bytes.to_vec(),
    };
    let bound = Bound::decode(&bytes).is_some_and(|(sequence, bound)| {
        assert_eq!(
            Bound::decode(&bound.encode(sequence)),
            Some((sequence, bound))
        );
        true
    });
    let list = ListBound::decode(&bytes).is_some_and(|bound| {
        assert_eq!(ListBound::decode(&bound.encode()), Some(bound));
        true
    });
    let identity = IdentityFile::decode(&bytes).is_some_and(|file| {
        assert_eq!(IdentityFile::decode(&file.encode()), Some(file));
        true
    });
    let dir = std::str::from_utf8(&bytes).is_ok_and(|name| StateDir::parse(name).is_some());
    let cut = raft_log::decode_position(&bytes).is_some();
    let backup = LastBackup::decode(&bytes).is_some_and(|last| {
        assert_eq!(LastBackup::decode(&last.encode()), Some(last));
        true
    });
    let origin = Origin::decode(&bytes).is_some_and(|origin| {
        assert_eq!(Origin::decode(&origin.encode()), Some(origin));
        true
    });
    bound || list || identity || dir || cut || backup || origin
}

/// Reads bytes as an entry of the raft log; its term by both ways. The log holds
/// what the encoder writes: where a field stands twice, the two may differ.
#[must_use]
pub fn log_entry(index: u64, bytes: &[u8]) -> Option<(u64, u64)> {
    let entry = raft_log::read_entry(index, bytes).ok()?;
    let term = raft_log::read_term(bytes).ok()?;
    if entry.write_to_bytes().ok()? != bytes {
        return None;
    }
    Some((entry.term, term))
}
