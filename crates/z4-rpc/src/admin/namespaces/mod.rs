//! Namespaces: seeing them, their settings, pausing, deleting.

pub(crate) mod settings;
mod show;
mod stats;

use z4_core::command::{NamespacePatch, SetNamespace};
use z4_core::limits::NAMESPACE_LEN_MAX;
use z4_core::state::{find_namespace, NamespaceRow, Row, RowKey, StateError};
use z4_core::{Command, Namespace, Outcome, View};
use z4_proto::generated::admin::{
    self as wire, DeleteNamespaceResponse, ListNamespacesRequest, ListNamespacesResponse,
    UpdateNamespaceRequest,
};

use crate::collection::no_namespace;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy};
use crate::reading;
use crate::validate::{page_size, Token};

pub(super) use self::stats::stats;

/// One page of namespaces, in the order of their names.
pub(super) async fn list<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &ListNamespacesRequest,
) -> Result<ListNamespacesResponse, Error> {
    let size = page_size(request.get_page_size())?;
    let token = Token::of(&[b"namespaces"]);
    let from = match token.read(request.get_page_token())? {
        None => None,
        Some(place) => Some(read_place(&place)?),
    };
    // A caller is shown what it may see, and is not told of the rest.
    let of_caller = node.clone();
    let sees = move |name: &Namespace| of_caller.sees(name);
    let read = move |view: &V| some_namespaces(view, from.as_ref(), size, &sees);
    let (found, next) = reading::latest(node, read).await?;
    let mut response = ListNamespacesResponse::default();
    for (name, row) in &found {
        response.mut_namespaces().push(show::namespace(name, row));
    }
    if let Some(name) = next {
        response.set_next_page_token(token.write(name.as_str().as_bytes()));
    }
    Ok(response)
}

/// The name at which a page begins.
fn read_place(place: &[u8]) -> Result<Namespace, Error> {
    let bad = || Error::invalid("page_token", "must be as the answer before gave it");
    if place.len() > NAMESPACE_LEN_MAX {
        return Err(bad());
    }
    let name = std::str::from_utf8(place).map_err(|_| bad())?;
    Namespace::new(name).map_err(|_| bad())
}

type Found = (Vec<(Namespace, NamespaceRow)>, Option<Namespace>);

/// `size` namespaces that are to be seen, from a name on, and the name that comes next.
fn some_namespaces(
    view: &impl View,
    from: Option<&Namespace>,
    size: usize,
    sees: &dyn Fn(&Namespace) -> bool,
) -> Result<Found, StateError> {
    let (first, end) = RowKey::namespaces();
    let first = from.map_or(first, |name| RowKey::Namespace(name.clone()));
    let (mut found, mut next) = (Vec::new(), None);
    view.scan(&first, &end, &mut |key, row| {
        let (RowKey::Namespace(name), Row::Namespace(row)) = (key, row) else {
            return true;
        };
        if !sees(&name) {
            return true;
        }
        if found.len() == size {
            next = Some(name);
            return false;
        }
        found.push((name, *row));
        true
    })?;
    Ok((found, next))
}

/// A namespace that must be there.
pub(super) async fn get<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: &str,
) -> Result<wire::Namespace, Error> {
    let name = named(name)?;
    let row = existing(node, &name).await?;
    Ok(show::namespace(&name, &row))
}

/// Changes settings; the namespace appears if it is new.
pub(super) async fn update<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &UpdateNamespaceRequest,
) -> Result<wire::Namespace, Error> {
    let name = named(request.get_name())?;
    let patch = settings::patch(request.get_settings(), request.get_update_mask())?;
    set(node, name, patch).await
}

/// Stops deliveries of a namespace that is there, or lets them go on.
pub(super) async fn pause<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: &str,
    paused: bool,
) -> Result<wire::Namespace, Error> {
    let name = named(name)?;
    // A name that was mistyped must not pause a namespace that nobody uses.
    existing(node, &name).await?;
    let patch = NamespacePatch {
        paused: Some(paused),
        ..NamespacePatch::default()
    };
    set(node, name, patch).await
}

async fn set<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: Namespace,
    patch: NamespacePatch,
) -> Result<wire::Namespace, Error> {
    let command = Command::SetNamespace(SetNamespace {
        namespace: name.clone(),
        patch,
    });
    let doubt = || uncertain(&name, "its settings are what was asked for");
    let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
    let settled = node.propose(&command, policy).await;
    match settled.map_err(|error| error.in_doubt(doubt))?.outcome {
        Outcome::NamespaceSet { .. } => {}
        other => return Err(unexpected(other)),
    }
    let row = existing(node, &name).await;
    let row = row.map_err(|error| error.after_change(doubt))?;
    Ok(show::namespace(&name, &row))
}

/// Begins to remove a namespace.
pub(super) async fn delete<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: &str,
) -> Result<DeleteNamespaceResponse, Error> {
    let name = named(name)?;
    existing(node, &name).await?;
    let command = Command::DeleteNamespace(name.clone());
    let doubt = || uncertain(&name, "it is deleting or gone");
    let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
    let settled = node.propose(&command, policy).await;
    match settled.map_err(|error| error.in_doubt(doubt))?.outcome {
        Outcome::NamespaceDeleting => {}
        other => return Err(unexpected(other)),
    }
    let gone = name.clone();
    let row = reading::latest(node, move |view| find_namespace(view, &gone)).await;
    let row = row.map_err(|error| error.after_change(doubt))?;
    let mut response = DeleteNamespaceResponse::default();
    // A new one of this name has not been deleted.
    if let Some(row) = row.filter(|row| row.deleting.is_some()) {
        let counts = &row.counts;
        response.set_remaining(counts.pending + counts.leased + counts.dead);
    }
    Ok(response)
}

/// A change of a namespace may have been made, or may yet be. A peer does not
/// make it a second time: somebody else may have made another since.
fn uncertain(name: &Namespace, done: &str) -> Error {
    Error::Uncertain(format!(
        "see with GetNamespace {name} whether {done}, and try again if not"
    ))
}

/// A name, as these requests call it.
pub(super) fn named(name: &str) -> Result<Namespace, Error> {
    Namespace::new(name).map_err(|refusal| {
        let rule = refusal.message.trim_start_matches("namespace ");
        Error::invalid("name", rule)
    })
}

/// The row of a namespace that must be there.
async fn existing<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: &Namespace,
) -> Result<NamespaceRow, Error> {
    let wanted = name.clone();
    let row = reading::latest(node, move |view| find_namespace(view, &wanted)).await?;
    row.ok_or_else(|| no_namespace(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// UNAVAILABLE would have clients repeat it by themselves.
    #[test]
    fn an_uncertain_change_says_unknown_and_what_to_do() {
        let name = Namespace::new("mails").unwrap();
        let error = uncertain(&name, "it is deleting or gone");
        assert_eq!(error.code(), grpcio::RpcStatusCode::UNKNOWN);
        let message = error.to_string();
        assert!(message.contains("GetNamespace mails"), "{message}");
    }
}
