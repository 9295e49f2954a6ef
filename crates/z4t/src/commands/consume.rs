//! Takes tasks, prints each or runs a command for it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use futures::executor::block_on;
use serde_json::json;
use z4_client::{Consumer, Delivery, Ending, Failure, Shutdown};

use super::connect;
use super::endings::{say, Endings};
use super::exec::{self, Exec, Outcome, Running};
use super::notice::on_wait;
use super::signals::Signals;
use super::tasks::say_that_it_takes;
use crate::error::Error;
use crate::options::{Consume, Output};
use crate::show;

pub(super) fn consume(consume: &Consume, out: &mut impl Write) -> Result<(), Error> {
    let most = consume.count.unwrap_or(u64::MAX);
    if most == 0 {
        return Ok(());
    }
    let exec = match &consume.exec {
        Some(command) => Some(prepared(command, consume.output)?),
        None => None,
    };
    let client = connect(&consume.target)?;
    let in_flight = u32::try_from(most).unwrap_or(u32::MAX);
    let mut builder = Consumer::builder(&consume.namespace)
        .max_in_flight(consume.max_in_flight.min(in_flight))
        .on_wait(on_wait());
    // A consumer serves for as long as it is wanted: it outlives every outage.
    if let Some(timeout) = consume.target.timeout {
        builder = builder.give_up_after(timeout);
    }
    if let Some(id) = &consume.consumer_id {
        builder = builder.consumer_id(id);
    }
    if let Some(lease) = consume.lease {
        builder = builder.lease(lease);
    }
    let consumer = builder.build(&client);
    if consume.exec.is_none() {
        say_that_it_takes(&consume.namespace);
    }
    let running = exec.as_ref().map(|exec| Arc::clone(&exec.running));
    let signals = Signals::catch(consumer.shutdown(), running.clone())?;
    let worker = Worker {
        output: consume.output,
        exec,
        out: RefCell::new(out),
        wrong: RefCell::new(None),
        left: Cell::new(most),
        attempts: RefCell::default(),
        endings: Endings::default(),
        shutdown: consumer.shutdown(),
    };
    let run = consumer.run_and_tell(|delivery| worker.handle(delivery), |e| worker.tell(&e));
    let ended = block_on(run);
    if let (Err(_), Some(running)) = (&ended, running.filter(|running| running.count() > 0)) {
        // Their tasks come again, here or elsewhere: two of each would run.
        say(&format!("{} commands are ended", running.count()));
        running.end();
    }
    let interrupted = signals.ended_by().map(|signal| {
        let line = "ended by a second signal; the tasks of commands that ran were given back";
        Error::Interrupted(signal, line.to_owned())
    });
    let wrong = worker.wrong.into_inner().or(interrupted);
    let wrong = wrong.or(ended.err().map(Error::from));
    match (wrong, worker.endings.sum()) {
        (None, summed) => summed,
        (Some(wrong), Ok(())) => Err(wrong),
        (Some(wrong), Err(refused)) => {
            say(&refused.to_string());
            Err(wrong)
        }
    }
}

/// The command, when it can be run as far as is known.
fn prepared(command: &str, output: Option<Output>) -> Result<Exec, Error> {
    exec::check(command)
        .map_err(|why| Error::NotRun(format!("the command cannot be run: {why}; mend --exec")))?;
    Ok(Exec {
        command: command.to_owned(),
        output_to_error: output.is_some(),
        running: Arc::new(Running::default()),
    })
}

struct Worker<'a, W> {
    output: Option<Output>,
    exec: Option<Exec>,
    out: RefCell<&'a mut W>,
    /// Why it ends before all is done.
    wrong: RefCell<Option<Error>>,
    /// Deliveries that are still wanted.
    left: Cell<u64>,
    /// Which attempt each task in hand is at; bounded by the tasks in flight.
    attempts: RefCell<HashMap<String, u32>>,
    endings: Endings,
    shutdown: Shutdown,
}

impl<W: Write> Worker<'_, W> {
    async fn handle(&self, delivery: Delivery) -> Result<(), Failure> {
        let left = self.left.get();
        if left == 0 {
            return Err(Failure::release());
        }
        self.left.set(left - 1);
        if left == 1 {
            self.shutdown.begin();
        }
        let id = delivery.task.id.clone();
        self.attempts.borrow_mut().insert(id, delivery.attempt);
        let Some(exec) = &self.exec else {
            return match self.output {
                Some(Output::Text) => self.print(&show::delivery_line(&delivery)),
                _ => self.print(&show::delivery_json(&delivery).to_string()),
            };
        };
        match exec.run(delivery).await {
            Outcome::Done => Ok(()),
            Outcome::Failed(failure) => Err(failure),
            Outcome::NotRun(why) => {
                let line = format!(
                    "the command cannot be run: {why}; no more tasks are taken, and the task \
                     was given back without a failure"
                );
                self.give_up(Error::NotRun(line));
                Err(Failure::release())
            }
            Outcome::Ended => Err(Failure::release()),
        }
    }

    /// What became of a task whose handler has ended.
    fn tell(&self, ending: &Ending) {
        let id = &ending.answer.lease.task_id;
        // Others were given back before they were begun.
        let Some(attempt) = self.attempts.borrow_mut().remove(id) else {
            return;
        };
        let outcome = self.endings.tell(ending, attempt);
        if self.exec.is_none() {
            return;
        }
        // A line that cannot be written ends the consumer; the task has ended.
        let _ = match self.output {
            None => Ok(()),
            Some(Output::Text) => {
                let line = format!("{id} attempt {attempt} {outcome}");
                self.print(&show::escape(&line))
            }
            Some(Output::Json) => {
                let line = json!({"id": id, "attempt": attempt, "outcome": outcome});
                self.print(&line.to_string())
            }
        };
    }

    /// A delivery whose line cannot be written is nobody's: it is given back, and
    /// the consumer ends.
    fn print(&self, line: &str) -> Result<(), Failure> {
        let mut out = self.out.borrow_mut();
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        written.map_err(|error| {
            self.give_up(error.into());
            Failure::release()
        })
    }

    fn give_up(&self, error: Error) {
        self.shutdown.begin();
        self.wrong.borrow_mut().get_or_insert(error);
    }
}
