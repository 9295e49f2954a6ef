//! Threads that read the task state, or ask the system how it is, so that a slow disk never
//! holds up a gRPC thread.

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
    /// Starts the threads of task state.
    pub(crate) fn of_state() -> std::io::Result<Self> {
        Self::start("read", limits::READER_THREADS, limits::READER_QUEUE_LEN_MAX)
    }

    /// Starts the thread that looks at the system. A look may hang with a file system, and
    /// must not take a thread of the state with it.
    pub(crate) fn of_system() -> std::io::Result<Self> {
        Self::start("look", 1, limits::LOOK_QUEUE_LEN_MAX)
    }

    fn start(name: &str, threads: usize, queue_len_max: usize) -> std::io::Result<Self> {
        let (jobs, queue) = bounded::<Job>(queue_len_max);
        for n in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("z4-{name}-{n}"))
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
