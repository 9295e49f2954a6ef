//! What becomes of the tasks of a consumer, told one by one and counted.

use std::cell::Cell;
use std::io::Write;

use z4_client::{Ending, LeaseOutcome};

use crate::error::Error;
use crate::show;

/// A line on standard error, beside the answer of the command.
pub(super) fn say(line: &str) {
    // With no standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "z4t: {}", show::escape(line));
}

/// Endings that were not as they should be.
#[derive(Default)]
pub(super) struct Endings {
    refused: Cell<u64>,
    uncertain: Cell<u64>,
}

impl Endings {
    /// Tells on standard error what was refused and what failed. What it is, in
    /// short, for the line of the task in the answer.
    pub(super) fn tell(&self, ending: &Ending, attempt: u32) -> String {
        let answer = &ending.answer;
        let task = format!("task {} attempt {attempt}", answer.lease.task_id);
        let was = match &ending.result {
            Ok(()) => "done".to_owned(),
            Err(failure) if failure.is_release() => "given back".to_owned(),
            Err(failure) => format!("failed: {}", failure.error()),
        };
        let refused = match answer.outcome {
            LeaseOutcome::Uncertain => {
                self.uncertain.set(self.uncertain.get() + 1);
                let why = &answer.message;
                say(&format!(
                    "{task} {was}, but whether that was taken is not known: {why}"
                ));
                return format!("uncertain: {was}");
            }
            outcome if outcome.is_done() => {
                if ending.result.as_ref().is_err_and(|f| !f.is_release()) {
                    say(&format!("{task} {was}; {}", show::next_try(answer)));
                }
                return was;
            }
            outcome => show::outcome(outcome),
        };
        self.refused.set(self.refused.get() + 1);
        say(&format!(
            "{task} {was}, but its answer was refused ({refused}): {}",
            answer.message
        ));
        format!("refused: {refused}")
    }

    /// What is to be said of all of them at the end.
    ///
    /// # Errors
    /// `Refused` when an answer was.
    pub(super) fn sum(&self) -> Result<(), Error> {
        let (refused, uncertain) = (self.refused.get(), self.uncertain.get());
        if uncertain > 0 {
            say(&format!(
                "{uncertain} answers may not have been taken; if so, their tasks come again"
            ));
        }
        match refused {
            0 => Ok(()),
            count => Err(Error::Refused(format!(
                "{count} answers were refused because their leases had ended: those tasks \
                 run again, or ran elsewhere; see above which"
            ))),
        }
    }
}
