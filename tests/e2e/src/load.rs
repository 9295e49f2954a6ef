//! Producers that keep creating while things break, and remember what was
//! acknowledged to them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{create_anywhere, Client, Created, Refused};
use crate::request::{create, Edit};
use crate::wait;

/// How long a producer tries to get one create acknowledged.
const CREATE_LIMIT: Duration = Duration::from_secs(30);

/// An acknowledged create of a [`Load`].
#[derive(Debug, Clone)]
pub struct Acked {
    /// The request id, which is the payload too.
    pub request_id: String,
    /// How it went.
    pub created: Created,
}

/// What producers were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Acknowledged creates.
    pub acked: Vec<Acked>,
    /// Creates whose outcome was never learnt; they may exist.
    pub unknown: Vec<String>,
    /// Creates that were refused for good, with the reason. There should be
    /// none.
    pub refused: Vec<(String, Refused)>,
}

/// Producers at work. Each has one create in flight, with a request id of its
/// own, due at once, and retries it through all peers until it is acknowledged.
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    told: Arc<Mutex<Told>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `producers`, each with a pause between creates.
    #[must_use]
    pub fn start(clients: &[Client], namespace: &str, producers: usize, pause: Duration) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            count: Arc::default(),
            told: Arc::default(),
            threads: Vec::new(),
        };
        for producer in 0..producers {
            let clients = clients.to_vec();
            let namespace = namespace.to_owned();
            let stop = Arc::clone(&load.stop);
            let count = Arc::clone(&load.count);
            let told = Arc::clone(&load.told);
            load.threads.push(thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    let request_id = format!("{namespace}-{producer}-{n}");
                    let request = create(&namespace, request_id.as_bytes()).id(&request_id);
                    let outcome = create_anywhere(&clients, producer + n, &request, CREATE_LIMIT);
                    n += 1;
                    note(&told, &count, request_id, outcome);
                    if !pause.is_zero() {
                        thread::sleep(pause);
                    }
                }
            }));
        }
        load
    }

    /// How many creates were acknowledged.
    #[must_use]
    pub fn acked(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until `more` creates are acknowledged from now on.
    ///
    /// # Panics
    /// After `limit`.
    #[track_caller]
    pub fn wait_for_more(&self, more: usize, limit: Duration) {
        let before = self.acked();
        wait::until(
            &format!("{more} more creates are acknowledged"),
            limit,
            || {
                let have = self.acked() - before;
                wait::check(have >= more, || format!("{have} were"))
            },
        );
    }

    /// Waits for the first create that was sent after `since` and
    /// acknowledged; the create. Creates sent before may have been committed
    /// before what happened at `since`, and prove nothing.
    ///
    /// # Panics
    /// After `limit`.
    #[track_caller]
    pub fn wait_for_first_sent_after(&self, since: Instant, limit: Duration) -> Created {
        wait::until("a create is acknowledged", limit, || {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let after = told
                .acked
                .iter()
                .rev()
                .take_while(|a| a.created.acked_at > since);
            let sent = after.filter(|a| a.created.sent_at > since);
            sent.map(|a| &a.created)
                .min_by_key(|c| c.acked_at)
                .cloned()
                .ok_or_else(|| "none was".to_owned())
        })
    }

    /// Lets every producer finish the create it is at, and gives what they were
    /// told.
    #[must_use]
    pub fn finish(mut self) -> Told {
        self.end();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *told)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn note(
    told: &Mutex<Told>,
    count: &AtomicUsize,
    request_id: String,
    outcome: Result<Created, Refused>,
) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(created) => {
            count.fetch_add(1, Ordering::Relaxed);
            told.acked.push(Acked {
                request_id,
                created,
            });
        }
        Err(refused) if crate::client::may_retry(refused.code) => told.unknown.push(request_id),
        Err(refused) => told.refused.push((request_id, refused)),
    }
}
