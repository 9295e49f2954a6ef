//! One task: get, cancel, reschedule, run now, explain; and streams of them.

use std::io::{IsTerminal, Write};

use futures::executor::block_on;
use z4_client::{Due, Task};

use super::connect;
use super::notice::on_wait;
use crate::error::Error;
use crate::options::{Get, OneTask, Output, Reschedule, Stream};
use crate::show::{self, Body};
use crate::zone;

pub(super) fn get(get: &Get, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&get.target)?;
    let task = block_on(client.get(&get.namespace, &get.task_id))?;
    match get.output {
        Output::Text => write!(out, "{}", show::task_text(&task))?,
        Output::Json => writeln!(out, "{:#}", show::task_json(&task, Body::Shown))?,
    }
    Ok(())
}

pub(super) fn stream(stream: &Stream, out: &mut impl Write) -> Result<(), Error> {
    let mut left = stream.limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let tasks = connect(&stream.target)?.stream(&stream.namespace);
    let mut tasks = tasks
        .give_up_after(stream.target.timeout)
        .on_wait(on_wait());
    say_that_it_takes(&stream.namespace);
    while left > 0 {
        let task = block_on(tasks.next())?;
        match stream.output {
            Output::Text => writeln!(out, "{}", show::task_line(&task))?,
            Output::Json => writeln!(out, "{}", show::task_json(&task, Body::Shown))?,
        }
        // The task is done for the cluster: nobody may wait for a buffer.
        out.flush()?;
        left -= 1;
    }
    Ok(())
}

/// Says, to somebody who looks on, that this is no mere look at the tasks.
pub(super) fn say_that_it_takes(namespace: &str) {
    if std::io::stderr().is_terminal() {
        // With no standard error there is nobody to tell.
        let _ = writeln!(
            std::io::stderr(),
            "z4t: takes the tasks of {namespace:?} that are due and acks each one that it prints: it is done then and gone; z4t list looks at tasks without taking them"
        );
    }
}

pub(super) fn cancel(which: &OneTask, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let task = block_on(client.cancel(&which.namespace, &which.task_id))?;
    print(which.output, &task, "cancelled", out)
}

pub(super) fn reschedule(reschedule: &Reschedule, out: &mut impl Write) -> Result<(), Error> {
    let due = match (reschedule.at, reschedule.delay) {
        (Some(time), _) => Due::At(zone::meant("--at", time)?),
        (None, delay) => Due::After(delay.unwrap_or_default()),
    };
    let client = connect(&reschedule.target)?;
    let task = block_on(client.reschedule(&reschedule.namespace, &reschedule.task_id, due))?;
    print(reschedule.output, &task, "rescheduled", out)
}

pub(super) fn run_now(which: &OneTask, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let task = block_on(client.run_now(&which.namespace, &which.task_id))?;
    print(which.output, &task, "due now", out)
}

fn print(output: Output, task: &Task, what: &str, out: &mut impl Write) -> Result<(), Error> {
    match output {
        Output::Text => writeln!(out, "{} {what}", show::escape(&task.id))?,
        Output::Json => writeln!(out, "{:#}", show::task_json(task, Body::LeftOut))?,
    }
    Ok(())
}

pub(super) fn explain(which: &OneTask, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let explanation = block_on(client.explain(&which.namespace, &which.task_id))?;
    match which.output {
        Output::Text => write!(out, "{}", show::explanation_text(&explanation))?,
        Output::Json => writeln!(out, "{:#}", show::explanation_json(&explanation))?,
    }
    Ok(())
}
