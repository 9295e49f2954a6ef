//! Backups: the whole state of a cluster at one index, as the bytes of a file.

use std::io::Write;

use futures::StreamExt;
use grpcio::ClientSStreamReceiver;
use z4_backup::{Item, Manifest, Reader};
use z4_proto::admin::{BackupChunk, BackupRequest};

use crate::client::Client;
use crate::error::{Error, ErrorKind};

/// The progress of a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackupProgress {
    /// Tasks that are written, about.
    pub tasks_done: u64,
    /// Tasks of the cluster when the backup began.
    pub tasks_total: u64,
    /// Bytes of the file that are written.
    pub bytes: u64,
}

/// A stream that is cancelled when nobody reads it to its end: gRPC does not do so by itself.
struct Chunks(ClientSStreamReceiver<BackupChunk>);

impl Drop for Chunks {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Client {
    /// Writes a backup of all that was acknowledged before the call to `out`, checks every
    /// byte of it meanwhile, and gives what it holds. `told` hears how far it is.
    ///
    /// The peer that is asked makes it, without holding up writes; it makes one at a time. The
    /// file holds the payloads of all tasks, and the fingerprints of access tokens: keep it as
    /// the cluster itself. `out` is written to by the thread that polls the future, and may
    /// block it; a peer sends away who takes nothing for 60 s. The time of the call is not
    /// bounded.
    ///
    /// # Errors
    /// What was written is not whole then: throw it away and begin again. `Exhausted` while
    /// the peer makes another backup; `Client` when `out` takes nothing more; `Unavailable`
    /// when the connection broke.
    pub async fn backup(
        &self,
        out: &mut impl Write,
        mut told: impl FnMut(BackupProgress),
    ) -> Result<(Manifest, u64), Error> {
        let peers = &self.peers;
        let peer = peers.reach(self.timeout()).await?;
        peers.knows_leader(&peer).await?;
        let (option, sent) = peer.option();
        let request = BackupRequest::default();
        let mut chunks = Chunks(peer.admin.backup_opt(&request, option)?);
        let mut reader = Reader::new().map_err(broken)?;
        while let Some(chunk) = chunks.0.next().await {
            let chunk = chunk.map_err(|error| peer.judge(error.into(), sent))?;
            let mut bytes = chunk.get_data();
            out.write_all(bytes).map_err(unwritten)?;
            while let Some(item) = reader.take_in(&mut bytes).map_err(broken)? {
                // The rows are looked at by the reader alone.
                match item {
                    Item::Header(_) | Item::Rows(_) | Item::Manifest(_) => {}
                }
            }
            told(BackupProgress {
                tasks_done: chunk.get_tasks_done(),
                tasks_total: chunk.get_tasks_total(),
                bytes: reader.bytes(),
            });
        }
        out.flush().map_err(unwritten)?;
        let bytes = reader.bytes();
        Ok((reader.finish().map_err(broken)?, bytes))
    }
}

fn unwritten(error: std::io::Error) -> Error {
    let text = format!("the backup cannot be written: {error}");
    Error::new(ErrorKind::Client, text)
}

fn broken(error: z4_backup::BackupError) -> Error {
    let text = format!("what the peer sent is no whole backup: {error}");
    Error::new(ErrorKind::Internal, text)
}
