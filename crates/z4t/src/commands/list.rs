//! Lists of tasks, page by page.

use std::io::Write;

use futures::executor::block_on;
use z4_client::{Client, ListQuery, Task};

use super::connect;
use crate::error::Error;
use crate::options::{List, Output};
use crate::show::{self, Body};
use crate::zone;

/// Most tasks of a page.
const PAGE_LEN: u32 = 1_000;

pub(super) fn list(list: &List, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&list.target)?;
    let query = ListQuery {
        namespace: list.namespace.clone(),
        state: list.state.map(|state| state.0),
        from: zone::meant_if_given("--from", list.from)?,
        to: zone::meant_if_given("--to", list.to)?,
        with_body: list.body,
        ..ListQuery::default()
    };
    let body = body(list.body);
    let mut shown = false;
    pages(
        &client,
        query,
        list.limit,
        |_| true,
        |tasks| {
            let text = show::task_table(tasks, body);
            print(list.output, tasks, body, &text, &mut shown, out)
        },
    )
}

pub(super) fn body(is_asked_for: bool) -> Body {
    match is_asked_for {
        true => Body::Shown,
        false => Body::LeftOut,
    }
}

/// Prints a page: JSON lines, or a table, of which the first page has the header.
pub(super) fn print(
    output: Output,
    tasks: &[Task],
    body: Body,
    table: &str,
    shown: &mut bool,
    out: &mut impl Write,
) -> Result<(), Error> {
    match output {
        Output::Json => {
            for task in tasks {
                writeln!(out, "{}", show::task_json(task, body))?;
            }
        }
        Output::Text if *shown => {
            let rows = table.split_once('\n').map_or("", |(_, rows)| rows);
            write!(out, "{rows}")?;
        }
        Output::Text => write!(out, "{table}")?,
    }
    *shown = true;
    Ok(())
}

/// Hands over, page by page, the tasks that `is_wanted`, up to `limit` of them (0:
/// all). An empty list is one empty page.
pub(super) fn pages(
    client: &Client,
    mut query: ListQuery,
    limit: u64,
    is_wanted: impl Fn(&Task) -> bool,
    mut take: impl FnMut(&[Task]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = match limit {
        0 => u64::MAX,
        limit => limit,
    };
    let mut is_first = true;
    loop {
        query.page_size = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_LEN);
        let mut page = block_on(client.list(&query))?;
        page.items.retain(&is_wanted);
        page.items
            .truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= page.items.len() as u64;
        let is_last = page.next.is_none() || left == 0;
        if !page.items.is_empty() || (is_first && is_last) {
            take(&page.items)?;
            is_first = false;
        }
        match page.next {
            Some(next) if left > 0 => query.page_token = next,
            _ => return Ok(()),
        }
    }
}
