//! Lists of tasks, page by page.

use std::io::Write;
use std::time::SystemTime;

use futures::executor::block_on;
use z4_client::{Client, ListQuery, Task};

use super::connect;
use crate::error::Error;
use crate::limits::{PAGE_GROWTH, PAGE_LEN_MAX, SORT_BYTES_MAX, SORT_COUNT_MAX};
use crate::options::{each_key_once, List, Output, Pick, Sort};
use crate::show::{self, Body};
use crate::zone;

pub(super) fn list(list: &List, out: &mut impl Write) -> Result<(), Error> {
    let pick = &list.pick;
    each_key_once("--where", &pick.wanted)?;
    let query = ListQuery {
        namespace: list.namespace.clone(),
        state: list.state.map(|state| state.0),
        from: zone::meant_if_given("--from", pick.from)?,
        to: zone::meant_if_given("--to", pick.to)?,
        with_body: pick.needs_body(),
        page_token: list.page_token.clone().unwrap_or_default(),
        ..ListQuery::default()
    };
    let client = connect(&list.target)?;
    let body = body(pick);
    let mut shown = false;
    let mut print = |tasks: &[Task]| {
        let text = show::task_table(tasks, body);
        print(pick.output, tasks, body, &text, &mut shown, out)
    };
    match list.sort {
        None => pages(&client, query, pick, |_| true, print),
        Some(Sort::Due) => print(&soonest(&client, query, pick)?),
    }
}

pub(super) fn body(pick: &Pick) -> Body {
    match (pick.body, pick.metadata) {
        (true, _) => Body::Shown,
        (false, true) => Body::Metadata,
        (false, false) => Body::LeftOut,
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

/// Hands over, page by page, the tasks that are picked and `is_wanted`, up to the
/// limit. An empty list is one empty page. Says on standard error when there are
/// more, and how many were looked at when not all of them were picked.
pub(super) fn pages(
    client: &Client,
    mut query: ListQuery,
    pick: &Pick,
    is_wanted: impl Fn(&Task) -> bool,
    mut take: impl FnMut(&[Task]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = match pick.limit {
        0 => u64::MAX,
        limit => limit,
    };
    let mut is_first = true;
    let (mut looked_at, mut found) = (0, 0);
    let is_picked = |task: &Task| is_wanted(task) && pick.takes(task);
    let wanted = |left: u64| u32::try_from(left).unwrap_or(u32::MAX).min(PAGE_LEN_MAX);
    query.page_size = wanted(left);
    loop {
        let mut page = block_on(client.list(&query))?;
        let len = len_of_all_wanted(&page.items, left, is_picked);
        if let Some(len) = len.filter(|len| *len < query.page_size) {
            // The token of a page is behind all of it, so that the last page must
            // end with the last task that is shown: it is fetched once more.
            query.page_size = len;
            continue;
        }
        let count = page.items.len();
        looked_at += count as u64;
        page.items.retain(is_picked);
        found += page.items.len() as u64;
        left = left.saturating_sub(page.items.len() as u64);
        query.page_size = match page.items.len() == count {
            true => wanted(left),
            // A page as long as what is left would be a call for each few tasks
            // that are not picked.
            false => query
                .page_size
                .saturating_mul(PAGE_GROWTH)
                .min(PAGE_LEN_MAX),
        };
        let is_last = page.next.is_none() || left == 0;
        if !page.items.is_empty() || (is_first && is_last) {
            take(&page.items)?;
            is_first = false;
        }
        match page.next {
            Some(next) if left > 0 => query.page_token = next,
            next => {
                if pick.is_filter() {
                    note(&format!(
                        "{found} of {looked_at} tasks that were looked at match --where"
                    ));
                }
                return match next {
                    Some(next) => say_more(client, query, next, found, is_picked),
                    None => Ok(()),
                };
            }
        }
    }
}

/// How long a page is that ends with the last of `left` picked tasks; `None`: this
/// one holds no more of them.
fn len_of_all_wanted(tasks: &[Task], left: u64, is_picked: impl Fn(&Task) -> bool) -> Option<u32> {
    let left = usize::try_from(left).ok()?;
    let mut picked = (1..).zip(tasks).filter(|(_, task)| is_picked(task));
    let (len, _) = picked.by_ref().nth(left.checked_sub(1)?)?;
    picked.next().map(|_| len)
}

/// Says that there is more behind the limit, if there is.
fn say_more(
    client: &Client,
    mut query: ListQuery,
    next: String,
    found: u64,
    is_picked: impl Fn(&Task) -> bool,
) -> Result<(), Error> {
    query.page_token = next.clone();
    query.page_size = 1;
    let page = block_on(client.list(&query))?;
    let are = match (page.items.first(), page.next) {
        (None, None) => return Ok(()),
        (Some(task), _) if is_picked(task) => "are",
        _ => "may be",
    };
    note(&format!(
        "there {are} more than these {found}: --limit 0 lists all, --page-token {next} goes on from here"
    ));
    Ok(())
}

/// The tasks that are picked and fall due first, in that order.
fn soonest(client: &Client, query: ListQuery, pick: &Pick) -> Result<Vec<Task>, Error> {
    let most = match usize::try_from(pick.limit) {
        Ok(limit) if limit > 0 => limit.min(SORT_COUNT_MAX),
        _ => SORT_COUNT_MAX,
    };
    let mut kept: Vec<Task> = Vec::new();
    let mut count: u64 = 0;
    let all = Pick {
        limit: 0,
        ..pick.clone()
    };
    pages(
        client,
        query,
        &all,
        |_| true,
        |tasks| {
            count += tasks.len() as u64;
            kept.extend_from_slice(tasks);
            // Twice as many as are shown, so that one in so many pages is sorted.
            if kept.len() > 2 * most {
                kept.sort_by(|a, b| due(a).cmp(&due(b)));
                kept.truncate(most);
            }
            let bytes: u64 = kept.iter().map(held_bytes).sum();
            match bytes > SORT_BYTES_MAX {
            true => Err(Error::Input(format!(
                "the tasks to sort have more than {SORT_BYTES_MAX} bytes of payload and metadata; give a smaller --limit, narrow the list with --from and --to, or leave out --body, --metadata and --where"
            ))),
            false => Ok(()),
        }
        },
    )?;
    kept.sort_by(|a, b| due(a).cmp(&due(b)));
    let is_cut = count > most as u64;
    if is_cut && pick.limit == 0 {
        return Err(Error::Input(format!(
            "there are {count} tasks, and --sort sorts at most {SORT_COUNT_MAX}; narrow the list with --state, --from and --to, or give a --limit"
        )));
    }
    kept.truncate(most);
    if is_cut {
        note(&format!(
            "these are the first {most} of {count} tasks; --limit shows more, --from those due later"
        ));
    }
    Ok(kept)
}

/// When a task is, or was, due; then in the order of creation.
fn due(task: &Task) -> (Option<SystemTime>, &str) {
    (task.due_at.or(task.deliver_at), &task.id)
}

fn held_bytes(task: &Task) -> u64 {
    let metadata = task.metadata.iter().map(|(k, v)| k.len() + v.len());
    (task.payload.len() + metadata.sum::<usize>()) as u64
}

/// A line on standard error, beside the list itself.
fn note(text: &str) {
    // With no standard error there is nobody to tell. The token came from a peer,
    // and must not command the terminal.
    let _ = writeln!(std::io::stderr(), "z4t: {}", show::escape(text));
}
