//! How far long work is, on standard error, when somebody looks on.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use crate::limits::PROGRESS_INTERVAL;

pub(super) struct Progress {
    what: &'static str,
    total: Option<u64>,
    is_shown: bool,
    written_at: Option<Instant>,
}

impl Progress {
    /// `what` happened so often, of `total` as far as it is known.
    pub(super) fn new(what: &'static str, total: Option<u64>) -> Self {
        Self {
            what,
            total,
            is_shown: std::io::stderr().is_terminal(),
            written_at: None,
        }
    }

    /// There is so much in all.
    pub(super) fn of(&mut self, total: u64) {
        self.total = Some(total);
    }

    pub(super) fn at(&mut self, count: u64) {
        let now = Instant::now();
        let is_recent = self
            .written_at
            .is_some_and(|at| now - at < PROGRESS_INTERVAL);
        if !self.is_shown || is_recent {
            return;
        }
        self.written_at = Some(now);
        // With no standard error there is nobody to tell.
        let _ = write!(
            std::io::stderr(),
            "\r{}",
            line(self.what, count, self.total)
        );
    }

    /// Takes the line away.
    pub(super) fn end(&mut self) {
        if self.written_at.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, count: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total >= count => format!("{count} of {total} {what}"),
        _ => format!("{count} {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_shown_while_it_holds() {
        assert_eq!(line("purged", 3, Some(10)), "3 of 10 purged");
        assert_eq!(line("purged", 11, Some(10)), "11 purged");
        assert_eq!(line("created", 3, None), "3 created");
    }
}
