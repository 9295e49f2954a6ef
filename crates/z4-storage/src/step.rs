//! Marks between durable steps, for crash tests.
//!
//! A crash test runs a child process that dies at one mark, then opens what it
//! left behind. Each mark but those of the tests themselves is a fail point too.
//! In any other build a mark is nothing.

/// Dies here, as by kill -9, when `Z4_TEST_ABORT_AT` names this mark. With
/// `second:` before it, only once the file `ready` is in `Z4_TEST_ROOT`.
#[cfg(test)]
pub(crate) fn step(mark: &str) {
    let Ok(at) = std::env::var("Z4_TEST_ABORT_AT") else {
        return;
    };
    let ready = || {
        std::env::var("Z4_TEST_ROOT").is_ok_and(|r| std::path::Path::new(&r).join("ready").exists())
    };
    let here = match at.strip_prefix("second:") {
        Some(later) => later == mark && ready(),
        None => at == mark,
    };
    if here {
        std::process::abort();
    }
}

/// A fail point; nothing without them.
#[cfg(not(test))]
#[inline]
pub(crate) fn step(mark: &'static str) {
    z4_consensus::fault::mark(mark);
}
