//! Takes tasks, prints each or runs a command for it.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::thread;

use futures::executor::block_on;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use z4_client::{Consumer, Delivery, Failure, Shutdown};

use super::connect;
use super::exec::Exec;
use super::notice::on_wait;
use super::tasks::say_that_it_takes;
use crate::error::Error;
use crate::options::{Consume, Output};
use crate::show;

pub(super) fn consume(consume: &Consume, out: &mut impl Write) -> Result<(), Error> {
    let most = consume.count.unwrap_or(u64::MAX);
    if most == 0 {
        return Ok(());
    }
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
    drain_on_signals(consumer.shutdown())?;
    let worker = Worker {
        consume,
        out: RefCell::new(out),
        wrong: RefCell::new(None),
        left: Cell::new(most),
        shutdown: consumer.shutdown(),
    };
    block_on(consumer.run(|delivery| worker.handle(delivery)))?;
    match worker.wrong.into_inner() {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

struct Worker<'a, W> {
    consume: &'a Consume,
    out: RefCell<&'a mut W>,
    /// Why nothing more can be written.
    wrong: RefCell<Option<std::io::Error>>,
    /// Deliveries that are still wanted.
    left: Cell<u64>,
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
        let output = self.consume.output;
        let Some(command) = &self.consume.exec else {
            return match output {
                Some(Output::Text) => self.print(show::delivery_line(&delivery)),
                _ => self.print(show::delivery_json(&delivery).to_string()),
            };
        };
        let exec = Exec {
            command: command.clone(),
            output_to_error: output.is_some(),
        };
        let (id, attempt) = (delivery.task.id.clone(), delivery.attempt);
        let result = exec.run(delivery).await;
        let outcome = outcome(&result);
        match output {
            None => {}
            Some(Output::Text) => self.print(format!("{id} attempt {attempt} {outcome}"))?,
            Some(Output::Json) => {
                let line = json!({"id": id, "attempt": attempt, "outcome": outcome});
                self.print(line.to_string())?;
            }
        }
        result
    }

    /// A line that cannot be written is nobody's: its task is given back, and the
    /// consumer ends.
    fn print(&self, line: String) -> Result<(), Failure> {
        let mut out = self.out.borrow_mut();
        let written = writeln!(out, "{line}").and_then(|()| out.flush());
        written.map_err(|error| {
            self.shutdown.begin();
            self.wrong.borrow_mut().get_or_insert(error);
            Failure::release()
        })
    }
}

fn outcome(result: &Result<(), Failure>) -> String {
    match result {
        Ok(()) => "done".to_owned(),
        Err(failure) => format!("failed: {}", failure.error()),
    }
}

/// The first signal drains; a second one ends the process at once.
fn drain_on_signals(shutdown: Shutdown) -> Result<(), Error> {
    let refuse = |e| Error::Input(format!("signals cannot be caught: {e}"));
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, stopping.clone())
            .map_err(refuse)?;
        signal_hook::flag::register(signal, stopping.clone()).map_err(refuse)?;
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(refuse)?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            shutdown.begin();
        }
    });
    Ok(())
}
