//! Keeps a producer's stream open and busy.

use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures::future::{poll_fn, select, Either};
use futures::{pin_mut, SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use z4_proto::collection::{CreateTaskRequest, TaskStreamResponse};

use super::window::{Answered, Entry};
use super::{Reply, Shared};
use crate::dial::Peer;
use crate::error::{Error, ErrorKind};
use crate::limits;
use crate::retry::Backoff;
use crate::task::Task;
use crate::waiting::Waiting;

/// How failures are met: with pauses, and with words when they last.
struct Pace {
    backoff: Backoff,
    waiting: Waiting,
}

/// Runs until the producer is gone and all is answered.
pub(super) async fn drive(shared: Arc<Shared>) {
    let peers = Arc::clone(&shared.client.peers);
    let mut pace = Pace {
        backoff: Backoff::new(limits::BACKOFF_MIN, limits::BACKOFF_MAX),
        waiting: Waiting::new(shared.options.on_wait.clone()),
    };
    while has_work(&shared).await {
        let began_at = Instant::now();
        let error = match peers.reach(shared.client.timeout()).await {
            Ok(peer) => match stream(&shared, &peer, &mut pace).await {
                Ok(()) => return,
                // Another peer would ask the same leader about the same limit.
                Err(error) if error.kind() == ErrorKind::Exhausted => error,
                Err(error) => {
                    peers.leave(&peer);
                    error
                }
            },
            Err(error) => error,
        };
        shared.lock().window.broke();
        if is_refusal(error.kind()) {
            refuse(&shared, &error);
        }
        give_up(&shared, &error);
        if shared.lock().window.len() > 0 {
            pace.waiting.failed(&error, began_at, Instant::now());
            let pause = match error.kind() {
                ErrorKind::Exhausted => limits::EXHAUSTED_PAUSE,
                _ => pace.backoff.pause(),
            };
            peers.timer.sleep(pause).await;
        }
    }
}

/// Waits for the first task; `false` at the end.
async fn has_work(shared: &Shared) -> bool {
    poll_fn(|cx| {
        shared.work.register(cx.waker());
        let state = shared.lock();
        match (state.window.len(), state.closed) {
            (0, true) => Poll::Ready(false),
            (0, false) => Poll::Pending,
            _ => Poll::Ready(true),
        }
    })
    .await
}

/// One stream, to its end: `Ok` when the producer is gone and all is answered.
async fn stream(shared: &Arc<Shared>, peer: &Peer, pace: &mut Pace) -> Result<(), Error> {
    let (option, sent) = peer.option();
    let (sender, receiver) = peer.collection.create_task_stream_opt(option)?;
    let send = send(shared, sender);
    let judge = |error| peer.judge(error, sent);
    let receive = receive(shared, receiver, pace, &judge);
    let watch = watch(shared);
    pin_mut!(send, receive, watch);
    // The peer's word on why it ended weighs more than a write that failed.
    let error = match select(receive, select(send, watch)).await {
        Either::Left((error, _)) => error,
        Either::Right((Either::Left((Ok(()), _)), _)) => return Ok(()),
        Either::Right((Either::Left((Err(_), _)), receive)) => receive.await,
        Either::Right((Either::Right((error, _)), _)) => error,
    };
    Err(error)
}

async fn send(
    shared: &Shared,
    mut sender: ClientDuplexSender<CreateTaskRequest>,
) -> Result<(), grpcio::Error> {
    loop {
        let next = poll_fn(|cx| {
            shared.work.register(cx.waker());
            let mut state = shared.lock();
            match state.window.send(Instant::now()) {
                Some(next) => Poll::Ready(Some(next)),
                None if state.closed && state.window.len() == 0 => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await;
        let Some((request, more)) = next else {
            return sender.close().await;
        };
        // gRPC may hold back what is marked so until something unmarked follows.
        let flags = WriteFlags::default().buffer_hint(more);
        sender.send((request.as_ref().clone(), flags)).await?;
    }
}

async fn receive(
    shared: &Arc<Shared>,
    mut receiver: ClientDuplexReceiver<TaskStreamResponse>,
    pace: &mut Pace,
    judge: &impl Fn(Error) -> Error,
) -> Error {
    while let Some(answer) = receiver.next().await {
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => return judge(error.into()),
        };
        if !answer.get_forwarded_to().is_empty() {
            shared.client.peers.look_for_leader();
        }
        let error = match i32::try_from(answer.get_status()) {
            Ok(0) => None,
            code => {
                let error = Error::of_status(code.unwrap_or(2), answer.get_message());
                Some(judge(error))
            }
        };
        let is_refused = error.is_some();
        let answered = shared.lock().window.answered(error, Instant::now());
        match answered {
            Answered::Over(entry) => {
                if !is_refused {
                    pace.backoff.reset();
                    pace.waiting.got_on(Instant::now());
                }
                tell(entry, || answer.take_task().into());
                shared.freed();
                // The sender closes the stream after the last answer.
                if shared.lock().closed {
                    shared.work.wake();
                }
            }
            // No leader, or a limit: those behind it would be told the same. All
            // go again after a pause, on a stream of their own.
            Answered::Again(error) => return error,
            Answered::Unasked => {
                return Error::new(ErrorKind::Internal, "an answer to nothing was received")
            }
        }
    }
    Error::stream_ended()
}

/// Ends when the peer answers nothing for too long.
async fn watch(shared: &Shared) -> Error {
    loop {
        shared
            .client
            .peers
            .timer
            .sleep(limits::STALL_LOOK_INTERVAL)
            .await;
        if shared
            .lock()
            .window
            .is_stalled(Instant::now(), limits::STREAM_STALL)
        {
            return Error::new(ErrorKind::DeadlineExceeded, "the stream stalled");
        }
    }
}

/// Tells whether a peer that ends a stream so would do it again.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied
    )
}

/// Tells all that the stream is not for them: another one would end alike.
fn refuse(shared: &Shared, error: &Error) {
    let over = shared.lock().window.take_all();
    for mut entry in over {
        entry.error = Some(error.clone());
        tell(entry, Task::default);
    }
    shared.freed();
}

/// Tells those whose time is up.
fn give_up(shared: &Shared, error: &Error) {
    let over = shared.lock().window.give_up(Instant::now());
    for mut entry in over {
        entry.error.get_or_insert_with(|| error.clone());
        tell(entry, Task::default);
    }
    shared.freed();
}

fn tell(mut entry: Entry<Reply>, task: impl FnOnce() -> Task) {
    let answer = match entry.take_error() {
        None => Ok(task()),
        Some(error) => Err(error),
    };
    // Who asked may have gone.
    let _ = entry.reply.send(answer);
}
