//! Dead letters: list, redrive, purge.

use std::io::Write;

use futures::executor::block_on;
use serde_json::json;
use z4_client::{Client, DeadChange as Changed, DeadFilter, ListQuery, TaskState};

use super::progress::Progress;
use super::{connect, list};
use crate::error::Error;
use crate::limits::DEAD_CHANGE_MAX;
use crate::options::{each_key_once, Dead, DeadChange, DeadList, Output};
use crate::{show, zone};

pub(super) fn run(command: &Dead, out: &mut impl Write) -> Result<(), Error> {
    match command {
        Dead::List(which) => list_dead(which, out),
        Dead::Redrive(change) => {
            let keep = change.keep_attempts;
            all(change, "redriven", out, |client, filter| {
                block_on(client.redrive(&change.namespace, filter, keep))
            })
        }
        Dead::Purge(change) if change.keep_attempts => Err(Error::Usage(
            "--keep-attempts is for dead redrive; see z4t dead purge --help".to_owned(),
        )),
        Dead::Purge(change) => all(change, "purged", out, |client, filter| {
            block_on(client.purge(&change.namespace, filter))
        }),
    }
}

fn list_dead(which: &DeadList, out: &mut impl Write) -> Result<(), Error> {
    let pick = &which.pick;
    each_key_once("--where", &pick.wanted)?;
    let query = ListQuery {
        namespace: which.namespace.clone(),
        state: Some(TaskState::Dead),
        from: zone::meant_if_given("--from", pick.from)?,
        to: zone::meant_if_given("--to", pick.to)?,
        with_body: pick.needs_body(),
        page_token: which.page_token.clone().unwrap_or_default(),
        ..ListQuery::default()
    };
    let client = connect(&which.target)?;
    let reason = which.reason.map(|reason| reason.0);
    let is_wanted = |task: &z4_client::Task| reason.is_none() || task.death_reason == reason;
    let body = list::body(pick);
    let mut shown = false;
    list::pages(&client, query, pick, is_wanted, |tasks| {
        let text = show::dead_table(tasks, body);
        list::print(pick.output, tasks, body, &text, &mut shown, out)
    })
}

/// Changes those that are named, or all that the flags take.
fn all(
    change: &DeadChange,
    what: &'static str,
    out: &mut impl Write,
    step: impl FnMut(&Client, &DeadFilter) -> Result<Changed, z4_client::Error>,
) -> Result<(), Error> {
    let client = connect(&change.target)?;
    let filter = DeadFilter {
        task_ids: change.task_ids.clone(),
        from: zone::meant_if_given("--from", change.from)?,
        to: zone::meant_if_given("--to", change.to)?,
        reason: change.reason.map(|reason| reason.0),
        limit: change.limit,
    };
    let done = match change.task_ids.is_empty() {
        true => by_filter(&client, &change.namespace, filter, what, step)?,
        false => by_ids(&client, &filter, what, step)?,
    };
    match change.output {
        Output::Text => writeln!(out, "{done} {what}")?,
        Output::Json => writeln!(out, "{:#}", json!({ what: done }))?,
    }
    Ok(())
}

/// Those that are dealt with are passed over by the next call.
fn by_ids(
    client: &Client,
    filter: &DeadFilter,
    what: &str,
    mut step: impl FnMut(&Client, &DeadFilter) -> Result<Changed, z4_client::Error>,
) -> Result<u64, Error> {
    let mut done = 0;
    loop {
        let changed = step(client, filter).map_err(|error| part(done, what, error))?;
        done = changed.count.saturating_add(done);
        if !changed.more {
            return Ok(done);
        }
    }
}

/// Step by step until none is left, or the limit is reached.
fn by_filter(
    client: &Client,
    namespace: &str,
    mut filter: DeadFilter,
    what: &'static str,
    mut step: impl FnMut(&Client, &DeadFilter) -> Result<Changed, z4_client::Error>,
) -> Result<u64, Error> {
    // No more than there are now: one that is redriven may die again meanwhile.
    let there = block_on(client.namespace_stats(namespace))?.counts.dead;
    let most = match filter.limit {
        0 => there,
        limit => limit.min(there),
    };
    let mut progress = Progress::new(what, Some(most));
    let mut done = 0;
    while done < most {
        filter.limit = DEAD_CHANGE_MAX.min(most - done);
        let changed = step(client, &filter).map_err(|error| part(done, what, error))?;
        done = changed.count.saturating_add(done);
        progress.at(done);
        if !changed.more {
            break;
        }
        // The next call would look at the same ones, and no further.
        if changed.count == 0 {
            let why = "so many other dead letters are in the way that not all were looked at";
            let then = "narrow it with --from and --to";
            return Err(Error::Input(format!("{why}; {done} {what}; {then}")));
        }
    }
    progress.end();
    Ok(done)
}

/// What was done before it failed is worth knowing.
fn part(done: u64, what: &str, error: z4_client::Error) -> Error {
    match done {
        0 => error.into(),
        done => Error::Input(format!("{error}; {done} {what} before; run it again")),
    }
}
