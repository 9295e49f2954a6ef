//! What a system under load has to be able to do.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;

use futures::future::LocalBoxFuture;
use tokio::task::JoinHandle;

use crate::inside::Inside;
use crate::servers::Servers;
use crate::work::Lanes;

/// An answer to come: done, or why not.
pub type Answer = LocalBoxFuture<'static, Result<(), String>>;

/// A lane on which creates reach a system.
pub trait Creator {
    /// Creates a task, due at once. The answer comes when the system says that it has
    /// it as safely as it is set up to have it.
    fn create(&self, body: Vec<u8>) -> Answer;

    /// Creates all of these by one request; `None`: the protocol has no such thing.
    fn create_batch(&self, bodies: Vec<Vec<u8>>) -> Option<Answer> {
        let _ = bodies;
        None
    }
}

/// A consumer at work: takes tasks and acknowledges each at once.
#[derive(Default)]
pub struct Taker {
    /// What runs; aborted at the end.
    pub tasks: Vec<JoinHandle<()>>,
    /// What closes the connections after that.
    pub closing: Option<LocalBoxFuture<'static, ()>>,
}

impl Taker {
    /// Ends it, and waits until its connections are closed.
    pub async fn stop(mut self) {
        // All at once: the end of one is no news to another.
        self.tasks.iter().for_each(JoinHandle::abort);
        for task in self.tasks.drain(..) {
            // Aborted: there is nothing to learn from it.
            let _ = task.await;
        }
        if let Some(closing) = self.closing.take() {
            closing.await;
        }
    }
}

/// A system that runs on this machine.
pub trait System: Sized {
    /// Its name on the command line and in the tables.
    const NAME: &'static str;
    /// How it is set up, in a line.
    const SETUP: &'static str;
    /// Whether consumers take tasks from it.
    const HAS_CONSUMERS: bool = true;
    /// Whether its protocol creates many tasks by one request.
    const HAS_BATCHES: bool = true;
    /// The lanes of creates in works that are not about one connection: whole lives and
    /// open loops.
    const LANES: Lanes = Lanes::One;

    /// Its version, asked from its program.
    fn version() -> Result<String, String>;

    /// Starts it with all its data in `folder` and waits until it serves.
    fn start(servers: &mut Servers, folder: &Path) -> impl Future<Output = Result<Self, String>>;

    /// Makes an empty queue.
    fn make_queue(&self, queue: &str) -> impl Future<Output = Result<(), String>>;

    /// Opens lanes to a queue.
    fn creators(
        &self,
        queue: &str,
        lanes: Lanes,
    ) -> impl Future<Output = Result<Vec<Rc<dyn Creator>>, String>>;

    /// Starts a consumer that holds at most `room` tasks, and tells `inside` of each
    /// acknowledged one.
    fn taker(
        &self,
        queue: &str,
        room: usize,
        inside: Rc<Inside>,
    ) -> impl Future<Output = Result<Taker, String>>;

    /// How many tasks a queue has, delivered ones that are not acknowledged included.
    fn count(&self, queue: &str) -> impl Future<Output = Result<u64, String>>;

    /// Removes a queue with its tasks.
    fn remove_queue(&self, queue: &str) -> impl Future<Output = Result<(), String>>;
}

/// The first line that a program says of its version.
pub fn version_of(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new(program).args(arguments).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(format!("{program} {} says nothing", arguments.join(" "))),
    }
}

/// Error values as text.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
