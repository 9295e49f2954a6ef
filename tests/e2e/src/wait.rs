//! Waiting for something that a process of its own brings about, within a
//! bound.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it gives a value; the value.
///
/// # Panics
/// After `limit`, with `what` and the last reason that `probe` gave.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Result<T, String>) -> T {
    match within(limit, probe) {
        Ok(value) => value,
        Err(why) => panic!("{what}: not within {limit:?}: {why}"),
    }
}

/// Asks `probe` until it gives a value.
///
/// # Errors
/// The last reason of `probe` when `limit` has passed.
pub fn within<T>(
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(why) if Instant::now() >= end => return Err(why),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// `Ok` when `holds`, else `why`: for probes.
///
/// # Errors
/// `why`, when `holds` is false.
pub fn check(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(why())
    }
}
