//! A consumer: a thread that reads a GetTaskStream and notes when each task
//! came.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use futures::channel::oneshot;
use futures::future::{select, Either};
use futures::StreamExt;
use z4_proto::generated::collection::{StreamTasksRequest, Task};

use crate::client::{Client, Refused};
use crate::request::instant;
use crate::wait;

/// A task that came on a stream.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The task.
    pub task: Task,
    /// When it came.
    pub at: SystemTime,
}

impl Delivered {
    /// The payload as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.task.get_payload()).into_owned()
    }

    /// How long before its time it came; `None` when it was not early.
    #[must_use]
    pub fn early(&self) -> Option<Duration> {
        let due = instant(self.task.get_deliver_at());
        due.duration_since(self.at)
            .ok()
            .filter(|early| !early.is_zero())
    }
}

#[derive(Default)]
struct Seen {
    tasks: Vec<Delivered>,
    ended: Option<Result<(), Refused>>,
}

/// A stream that is being read.
pub struct Reader {
    seen: Arc<Mutex<Seen>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Opens a stream on `namespace` and reads until stopped.
    #[must_use]
    pub fn open(client: &Client, namespace: &str) -> Self {
        Self::open_for(client, namespace, usize::MAX)
    }

    /// Opens a stream, reads `count` tasks at most, then cancels it.
    #[must_use]
    pub fn open_for(client: &Client, namespace: &str, count: usize) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stop, stopped) = oneshot::channel();
        let (client, sink) = (client.clone(), Arc::clone(&seen));
        let mut request = StreamTasksRequest::new();
        request.set_namespace(namespace.to_owned());
        let thread = thread::spawn(move || {
            let read = read(&client, &request, count, stopped, &sink);
            let result = futures::executor::block_on(read);
            lock(&sink).ended = Some(result);
        });
        Self {
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// How many tasks came.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.seen).tasks.len()
    }

    /// What came so far.
    #[must_use]
    pub fn delivered(&self) -> Vec<Delivered> {
        lock(&self.seen).tasks.clone()
    }

    /// How the stream ended; `None` while it is open.
    #[must_use]
    pub fn ended(&self) -> Option<Result<(), Refused>> {
        lock(&self.seen).ended.clone()
    }

    /// Waits for `count` tasks; all that came.
    ///
    /// # Panics
    /// When fewer came within `limit`.
    #[track_caller]
    pub fn wait_for(&self, count: usize, limit: Duration) -> Vec<Delivered> {
        wait::until(&format!("{count} tasks come"), limit, || {
            let have = self.count();
            wait::check(have >= count, || {
                format!("{have} came, stream {:?}", self.ended())
            })
        });
        self.delivered()
    }

    /// Ends the stream; all that came.
    #[must_use]
    pub fn stop(mut self) -> Vec<Delivered> {
        self.end();
        self.delivered()
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(
    client: &Client,
    request: &StreamTasksRequest,
    count: usize,
    mut stopped: oneshot::Receiver<()>,
    seen: &Mutex<Seen>,
) -> Result<(), Refused> {
    let mut stream = client.collection.get_task_stream(request)?;
    let mut left = count;
    while left > 0 {
        match select(stream.next(), &mut stopped).await {
            Either::Left((Some(Ok(task)), _)) => {
                let at = SystemTime::now();
                lock(seen).tasks.push(Delivered { task, at });
                left -= 1;
            }
            Either::Left((Some(Err(error)), _)) => return Err(error.into()),
            Either::Left((None, _)) => return Ok(()),
            Either::Right(_) => break,
        }
    }
    // The receiver does not cancel its call when it is dropped.
    stream.cancel();
    Ok(())
}
