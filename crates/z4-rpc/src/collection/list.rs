//! ListTasks.

use protobuf::Message;
use z4_core::inspect::{self, Bounds};
use z4_core::state::find_namespace;
use z4_core::View;
use z4_proto::generated::collection::{ListTasksRequest, ListTasksResponse};

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
            limits::LIST_BODY_BYTES_MAX
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
    let (mut next, mut bytes) = (page.next, 0);
    for listed in page.tasks {
        // Many small labels take more room on the wire than they count.
        if bytes >= limits::LIST_PAGE_BYTES {
            next = Some(listed.place);
            break;
        }
        let status = Some(listed.status);
        let task = convert::task_with_status(&ask.namespace, listed.id, listed.body, status);
        bytes += task.compute_size() as usize;
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
