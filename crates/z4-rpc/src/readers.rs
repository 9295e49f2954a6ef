//! Threads that read the task state, so that a slow disk never holds up a gRPC
//! thread.

use crossbeam_channel::{bounded, Sender};
use futures::channel::oneshot;

use crate::errors::Error;
use crate::limits;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads behind one bounded queue. They end when the last clone is gone.
#[derive(Clone)]
pub(crate) struct Readers {
    jobs: Sender<Job>,
}

impl Readers {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, queue) = bounded::<Job>(limits::READER_QUEUE_LEN_MAX);
        for n in 0..limits::READER_THREADS {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("z4-read-{n}"))
                .spawn(move || queue.iter().for_each(|job| job()))?;
        }
        Ok(Self { jobs })
    }

    /// Runs a read on one of the threads.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            // The asker may have left.
            let _ = answer.send(read());
        });
        self.jobs.try_send(job).map_err(|_| Error::Busy {
            what: "the queue of reads".into(),
            retry_after_ms: 100,
        })?;
        answered
            .await
            .map_err(|_| Error::Unavailable("this peer is shutting down".into()))
    }
}
