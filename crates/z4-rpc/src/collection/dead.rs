//! RedriveTasks and PurgeTasks: which dead letters is found out here, in parts;
//! each part is one command, which the log orders with all others.

use std::time::Instant;

use z4_core::command::{RedriveTasks, TaskRefs, Unchanged};
use z4_core::inspect::{dead_letters, DeadFilter, DeadPage, Place};
use z4_core::limits::CHANGE_COUNT_MAX;
use z4_core::state::{find_namespace, machine_ns};
use z4_core::{Command, Namespace, Outcome, TaskId, View};
use z4_proto::generated::collection::{
    PurgeTasksRequest, PurgeTasksResponse, RedriveTasksRequest, RedriveTasksResponse,
};

use super::list::no_namespace;
use super::unchanged;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy};
use crate::reading;
use crate::validate::{self, DeadAsk};

/// What is done with dead letters.
#[derive(Clone, Copy)]
enum Work {
    Redrive { keep_attempts: bool },
    Purge,
}

/// How far it came.
#[derive(Default)]
struct Progress {
    count: u64,
    /// Some may be left.
    more: bool,
}

/// Dead letters wait again.
pub(super) async fn redrive<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &RedriveTasksRequest,
) -> Result<RedriveTasksResponse, Error> {
    let keep_attempts = request.get_keep_attempts();
    let ask = validate::redrive(request)?;
    let progress = work(node, Work::Redrive { keep_attempts }, ask).await?;
    let mut response = RedriveTasksResponse::default();
    response.set_redriven(progress.count);
    response.set_more(progress.more);
    Ok(response)
}

/// Dead letters go.
pub(super) async fn purge<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &PurgeTasksRequest,
) -> Result<PurgeTasksResponse, Error> {
    let ask = validate::purge(request)?;
    let progress = work(node, Work::Purge, ask).await?;
    let mut response = PurgeTasksResponse::default();
    response.set_purged(progress.count);
    response.set_more(progress.more);
    Ok(response)
}

async fn work<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    work: Work,
    ask: DeadAsk,
) -> Result<Progress, Error> {
    if ask.ids.is_empty() {
        by_filter(node, work, ask).await
    } else {
        by_ids(node, work, &ask).await
    }
}

async fn by_ids<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    work: Work,
    ask: &DeadAsk,
) -> Result<Progress, Error> {
    let started = Instant::now();
    let mut progress = Progress::default();
    let mut refused = None;
    for ids in ask.ids.chunks(CHANGE_COUNT_MAX) {
        if started.elapsed() >= limits::DEAD_WORK_TIME {
            progress.more = true;
            break;
        }
        let first = one_part(node, work, &ask.namespace, ids, &mut progress).await?;
        refused = refused.or(first);
        if progress.more {
            break;
        }
    }
    match refused {
        Some((id, why)) if progress.count == 0 => Err(unchanged::error(&ask.namespace, id, &why)),
        _ => Ok(progress),
    }
}

async fn by_filter<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    work: Work,
    ask: DeadAsk,
) -> Result<Progress, Error> {
    let started = Instant::now();
    let mut filter = ask.filter;
    let found = reading::latest(node, machine_ns).await?;
    // What dies from now on is not meant: a task that is tried again and fails
    // at once would keep this going.
    let now_ns = found.saturating_add(1);
    filter.to_ns = Some(filter.to_ns.map_or(now_ns, |to_ns| to_ns.min(now_ns)));
    let mut progress = Progress::default();
    let mut from = Some(Place::default());
    let mut left = ask.limit;
    while let Some(place) = from {
        if started.elapsed() >= limits::DEAD_WORK_TIME {
            progress.more = true;
            break;
        }
        let mut page = match part(node, &ask.namespace, filter, place).await {
            Ok(page) => page,
            // What was done before is told; the next call meets the same error.
            Err(_) if progress.count > 0 => {
                progress.more = true;
                break;
            }
            Err(error) => return Err(error),
        };
        from = page.next;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let cut = page.ids.len() > most;
        page.ids.truncate(most);
        let before = progress.count;
        if !page.ids.is_empty() {
            let refused = one_part(node, work, &ask.namespace, &page.ids, &mut progress).await?;
            if let (Some((id, why @ Unchanged::Full)), 0) = (&refused, progress.count) {
                return Err(unchanged::error(&ask.namespace, *id, why));
            }
        }
        if cut || progress.more {
            progress.more = true;
            break;
        }
        left -= progress.count - before;
        if left == 0 {
            progress.more = from.is_some();
            break;
        }
    }
    Ok(progress)
}

/// The dead letters that come next.
async fn part<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    filter: DeadFilter,
    from: Place,
) -> Result<DeadPage, Error> {
    let name = namespace.clone();
    let page = reading::here(node, move |view| match find_namespace(view, &name)? {
        Some(row) => dead_letters(view, &row, &filter, from, CHANGE_COUNT_MAX).map(Some),
        None => Ok(None),
    });
    page.await?.ok_or_else(|| no_namespace(namespace))
}

/// Does one command's worth. Gives the first task that was refused, and why;
/// there are more to do when the namespace has no room.
async fn one_part<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    work: Work,
    namespace: &Namespace,
    ids: &[TaskId],
    progress: &mut Progress,
) -> Result<Option<(TaskId, Unchanged)>, Error> {
    let namespace = namespace.clone();
    let command = match work {
        Work::Redrive { keep_attempts } => Command::RedriveTasks(RedriveTasks {
            namespace,
            ids: ids.to_vec(),
            keep_attempts,
        }),
        Work::Purge => Command::PurgeTasks(TaskRefs {
            namespace,
            ids: ids.to_vec(),
        }),
    };
    progress.more = false;
    let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
    let settled = match node.propose(&command, policy).await {
        Ok(settled) => settled,
        Err(Error::Unknown { .. }) => return Err(at_least(progress.count)),
        // What was done before is told; the next call meets the same error.
        Err(_) if progress.count > 0 => {
            progress.more = true;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let results = match &settled.outcome {
        Outcome::Changed(results) => results,
        other => return Err(unexpected(other)),
    };
    progress.count += results.iter().filter(|result| result.is_ok()).count() as u64;
    let mut refused = ids.iter().zip(results).filter_map(|(id, result)| {
        let why = result.as_ref().err()?;
        Some((*id, why.clone()))
    });
    let first = refused.next();
    // What was done by a try whose outcome was lost is counted by nobody.
    if settled.maybe_before && first.is_some() {
        return Err(at_least(progress.count));
    }
    progress.more = results.contains(&Err(Unchanged::Full));
    Ok(first)
}

fn at_least(count: u64) -> Error {
    Error::Uncertain(format!(
        "{count} dead letters or more were dealt with; call again for the rest"
    ))
}
