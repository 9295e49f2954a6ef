//! ListTasks.

use z4_core::inspect::{self, Bounds};
use z4_core::state::find_namespace;
use z4_core::View;
use z4_proto::generated::collection::{ListTasksRequest, ListTasksResponse};

use crate::answer::{bytes_max, field_len, AnswerBudget};
use crate::convert;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::reading;
use crate::validate;

/// One page, linearizable: it shows what was acknowledged before the call. Later
/// pages show what came since.
pub(super) async fn list<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &ListTasksRequest,
) -> Result<ListTasksResponse, Error> {
    let ask = validate::list(request)?;
    let bounds = Bounds {
        tasks: ask.size,
        rows: limits::LIST_ROW_COUNT_MAX,
        bytes: if ask.with_body {
            // What is not sent need not be read: a body is smaller as it is stored.
            bytes_max(ask.bytes_max) as u64
        } else {
            limits::LIST_READ_BYTES_MAX
        },
        with_body: ask.with_body,
    };
    let (name, filter, from) = (ask.namespace.clone(), ask.filter, ask.from);
    let page = reading::latest(node, move |view| match find_namespace(view, &name)? {
        Some(row) => inspect::list(view, &row, &filter, from, bounds).map(Some),
        None => Ok(None),
    });
    let page = page.await?.ok_or_else(|| no_namespace(&ask.namespace))?;
    let mut response = ListTasksResponse::default();
    let mut next = page.next;
    let mut budget = AnswerBudget::new(ask.bytes_max, field_len(limits::PAGE_TOKEN_LEN_MAX as u32));
    for listed in page.tasks {
        let status = Some(listed.status);
        let task = convert::task_with_status(&ask.namespace, listed.id, listed.body, status);
        if !budget.take(&task) {
            next = Some(listed.place);
            break;
        }
        response.mut_tasks().push(task);
    }
    if let Some(place) = next {
        response.set_next_page_token(ask.token(place));
    }
    Ok(response)
}

/// What is said of a namespace that is not there.
pub(crate) fn no_namespace(namespace: &z4_core::Namespace) -> Error {
    Error::not_found(format!(
        "there is no namespace {namespace}; it appears with its first task, or with UpdateNamespace"
    ))
}
