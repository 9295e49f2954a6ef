//! Backup: the whole state at one index, as one stream.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{Sink, SinkExt, StreamExt};
use grpcio::{RpcStatus, RpcStatusCode, ServerStreamingSink, WriteFlags};
use slog::info;
use z4_backup::Manifest;
use z4_core::View;
use z4_proto::generated::admin::{BackupChunk, Origin};

use crate::access::{note, Caller, Done, Judged, Method};
use crate::backup::{Backups, Making, Piece};
use crate::errors::Error;
use crate::leader::no_leader_to_read;
use crate::limits;
use crate::node::Node;
use crate::reading;
use crate::timer::Timer;

/// What was sent.
struct Sent {
    manifest: Manifest,
    bytes: u64,
}

/// Why a backup did not come to its end.
enum Broken {
    /// Before the end of the stream had begun: the client is told why.
    Open(RpcStatus),
    /// While the stream was being closed. Its status is on the way, and another one must not
    /// be sent: grpcio ends the process then.
    Closing(RpcStatus),
}

impl From<RpcStatus> for Broken {
    fn from(status: RpcStatus) -> Self {
        Self::Open(status)
    }
}

/// Runs a call until the client has all of it or is gone, and notes what came of it.
pub(super) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    backups: Backups,
    call: Judged,
    from: String,
    mut sink: ServerStreamingSink<BackupChunk>,
) {
    let started = Instant::now();
    let verdict = match (call.verdict, call.root) {
        (Ok(()), Some(root)) => node.judge_root(Method::Backup, &root).await,
        (verdict, _) => verdict,
    };
    let result = match verdict {
        Ok(()) => send(&node, &backups, &mut sink).await,
        Err(error) => Err(Broken::Open(error.status())),
    };
    let seconds = started.elapsed().as_secs_f64();
    let logger = node.network().logger();
    let code = match result {
        Ok(sent) => {
            let who = node.caller().map_or("anybody", Caller::name);
            info!(logger, "backup sent"; "who" => who, "from" => &from,
                "index" => sent.manifest.header.index, "rows" => sent.manifest.rows,
                "state_hash" => sent.manifest.state_hash_hex(), "bytes" => sent.bytes,
                "seconds" => seconds);
            RpcStatusCode::OK
        }
        Err(Broken::Open(status)) => {
            let code = status.code();
            // The client has gone when this fails.
            let _ = sink.fail(status).await;
            code
        }
        Err(Broken::Closing(status)) => status.code(),
    };
    let metrics = node.network().metrics();
    metrics.request(Method::Backup.name(), code, seconds);
    if let Some(audited) = call.audited {
        let done = Done {
            audited,
            from,
            method: Method::Backup,
            code,
            commit_index: node.handle().status().commit_index,
        };
        note(logger, &done);
    }
}

async fn send<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    backups: &Backups,
    sink: &mut ServerStreamingSink<BackupChunk>,
) -> Result<Sent, Broken> {
    let status = node.handle().status();
    if status.raft_id == 0 {
        return Err(no_leader_to_read(&status).status().into());
    }
    // All that was acknowledged anywhere before the call is in the backup.
    let caught_up = reading::catch_up(node).await;
    caught_up.map_err(|error| error.status())?;
    let begun = backups.begin(node.network().peer_id().to_owned());
    let making = begun.map_err(|error| error.status())?;
    let mut guard = node.guard(Method::Backup, None);
    let revoked = |cx: &mut Context<'_>| guard.poll(cx);
    pass_on(making, sink, revoked, node.timer(), limits::BACKUP_STALL).await
}

/// Writes all pieces to a client, and tells the thread of the backup when the client has all
/// of it. Ends early when the caller may not have it any more, or takes nothing for as long
/// as `stall`.
async fn pass_on(
    making: Making,
    sink: &mut (impl Sink<(BackupChunk, WriteFlags)> + Unpin),
    mut revoked: impl FnMut(&mut Context<'_>) -> Poll<RpcStatus>,
    timer: &Timer,
    stall: Duration,
) -> Result<Sent, Broken> {
    let Making { mut pieces, sent } = making;
    let mut bytes = 0;
    let manifest = loop {
        let piece = poll_fn(|cx| match revoked(cx) {
            Poll::Ready(status) => Poll::Ready(Err(status)),
            Poll::Pending => pieces.poll_next_unpin(cx).map(Ok),
        });
        match piece.await? {
            Some(Piece::Chunk(chunk)) => {
                bytes += chunk.get_data().len() as u64;
                let writing = Box::pin(sink.send((chunk, WriteFlags::default())));
                match timer.within(stall, writing).await {
                    Some(Ok(())) => {}
                    Some(Err(_)) => return Err(RpcStatus::new(RpcStatusCode::CANCELLED).into()),
                    None => return Err(stalled().into()),
                }
            }
            Some(Piece::End(manifest)) => break manifest,
            Some(Piece::Failed(error)) => return Err(error.status().into()),
            None => {
                let error = Error::Internal("the thread that makes the backup ended".into());
                return Err(error.status().into());
            }
        }
    };
    let closing = Box::pin(sink.close());
    match timer.within(stall, closing).await {
        Some(Ok(())) => {
            // The thread that notes it may be gone with the process.
            let _ = sent.send(());
            Ok(Sent { manifest, bytes })
        }
        Some(Err(_)) => Err(Broken::Closing(RpcStatus::new(RpcStatusCode::CANCELLED))),
        None => Err(Broken::Closing(stalled())),
    }
}

fn stalled() -> RpcStatus {
    let seconds = limits::BACKUP_STALL.as_secs();
    RpcStatus::with_message(
        RpcStatusCode::DEADLINE_EXCEEDED,
        format!("the client took nothing of the backup for {seconds} s; read it faster"),
    )
}

/// The backup that the state here began with, as it is told.
pub(super) async fn origin<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    backups: &Backups,
) -> Result<Option<Origin>, Error> {
    let read = backups.hooks().origin.clone();
    let found = node.readers().run(move || read()).await?;
    let found =
        found.map_err(|e| Error::Internal(format!("the task state cannot be read: {e}")))?;
    Ok(found.map(|found| {
        let mut origin = Origin::default();
        let hex = found.cluster_id.iter().map(|byte| format!("{byte:02x}"));
        origin.set_cluster_id(hex.collect());
        origin.set_index(found.index);
        origin.set_state_hash(format!("{:032x}", found.state_hash));
        origin
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::Pin;

    use futures::channel::{mpsc, oneshot};
    use futures::executor::block_on;

    use super::*;

    /// How a client takes something.
    #[derive(Clone, Copy)]
    enum Takes {
        All,
        Nothing,
        /// The client has gone.
        Gone,
    }

    impl Takes {
        fn poll(self) -> Poll<Result<(), ()>> {
            match self {
                Self::All => Poll::Ready(Ok(())),
                Self::Nothing => Poll::Pending,
                Self::Gone => Poll::Ready(Err(())),
            }
        }
    }

    struct Client {
        chunks: Takes,
        end: Takes,
        taken: Vec<u8>,
        is_closed: bool,
    }

    impl Sink<(BackupChunk, WriteFlags)> for Client {
        type Error = ();

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            self.chunks.poll()
        }

        fn start_send(
            mut self: Pin<&mut Self>,
            (chunk, _): (BackupChunk, WriteFlags),
        ) -> Result<(), ()> {
            self.taken.extend_from_slice(chunk.get_data());
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
            self.is_closed = true;
            self.end.poll()
        }
    }

    /// Passes a chunk and `last` on to a client. Gives the result, the client, and whether the
    /// backup is noted.
    fn passed(
        (chunks, end): (Takes, Takes),
        last: Option<Piece>,
    ) -> (Result<Sent, Broken>, Client, bool) {
        let mut client = Client {
            chunks,
            end,
            taken: Vec::new(),
            is_closed: false,
        };
        let mut chunk = BackupChunk::default();
        chunk.set_data(b"rows".to_vec());
        let (mut put, pieces) = mpsc::channel(2);
        for piece in [Some(Piece::Chunk(chunk)), last].into_iter().flatten() {
            put.try_send(piece).ok().unwrap();
        }
        drop(put);
        let (sent, mut is_sent) = oneshot::channel();
        let timer = Timer::start().unwrap();
        let making = Making { pieces, sent };
        let going_on = |_: &mut Context<'_>| Poll::Pending;
        let stall = Duration::from_millis(1);
        let result = block_on(pass_on(making, &mut client, going_on, &timer, stall));
        let is_noted = matches!(is_sent.try_recv(), Ok(Some(())));
        (result, client, is_noted)
    }

    fn end() -> Option<Piece> {
        Some(Piece::End(Manifest::default()))
    }

    #[test]
    fn a_backup_is_noted_when_its_client_has_taken_the_end_too() {
        let (result, client, is_noted) = passed((Takes::All, Takes::All), end());
        assert!(result.is_ok_and(|sent| sent.bytes == 4));
        assert!(client.taken == b"rows" && client.is_closed && is_noted);
        for (takes, expected) in [
            (Takes::Gone, RpcStatusCode::CANCELLED),
            (Takes::Nothing, RpcStatusCode::DEADLINE_EXCEEDED),
        ] {
            let (result, _, is_noted) = passed((Takes::All, takes), end());
            assert!(!is_noted);
            assert!(matches!(result, Err(Broken::Closing(status)) if status.code() == expected));
        }
    }

    #[test]
    fn a_client_that_takes_nothing_or_goes_ends_its_backup() {
        for (takes, expected) in [
            (Takes::Gone, RpcStatusCode::CANCELLED),
            (Takes::Nothing, RpcStatusCode::DEADLINE_EXCEEDED),
        ] {
            let (result, client, is_noted) = passed((takes, Takes::All), end());
            assert!(!is_noted && !client.is_closed);
            assert!(matches!(result, Err(Broken::Open(status)) if status.code() == expected));
        }
    }

    #[test]
    fn pieces_that_stop_before_the_end_are_no_backup() {
        let failed = Piece::Failed(Error::Internal("the disk".into()));
        for last in [None, Some(failed)] {
            let (result, client, is_noted) = passed((Takes::All, Takes::All), last);
            assert!(!is_noted && !client.is_closed);
            let expected = RpcStatusCode::INTERNAL;
            assert!(matches!(result, Err(Broken::Open(status)) if status.code() == expected));
        }
    }
}
