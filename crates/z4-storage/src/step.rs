//! Marks between durable steps, for crash tests.
//!
//! A crash test runs a child process that dies at one mark, then opens what it
//! left behind. In any other build a mark is nothing.

/// Dies here, as by kill -9, when `Z4_TEST_ABORT_AT` names this mark.
#[cfg(test)]
pub(crate) fn step(mark: &str) {
    if std::env::var("Z4_TEST_ABORT_AT").is_ok_and(|at| at == mark) {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(test))]
#[inline]
pub(crate) fn step(_mark: &str) {}
