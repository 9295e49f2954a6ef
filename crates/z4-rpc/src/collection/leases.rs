//! AckTasks, NackTasks, ExtendLeases, ReleaseTasks: a batch each, answered one by
//! one in the order of the request.

use z4_core::limits::ACK_COUNT_MAX;
use z4_core::{Namespace, View};
use z4_delivery::endings::{Item, Kind};
use z4_proto::generated::collection::LeaseResult;

use crate::delivery::endings;
use crate::delivery::lease_asks::Asked;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

/// Does what is asked for the leases of a batch. `field` is what the request
/// calls them.
pub(super) async fn end<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &str,
    kind: Kind,
    field: &str,
    asked: impl ExactSizeIterator<Item = Asked>,
) -> Result<Vec<LeaseResult>, Error> {
    let namespace = Namespace::new(namespace)?;
    if !(1..=ACK_COUNT_MAX).contains(&asked.len()) {
        let rule = format!(
            "has {} elements; it must have 1 to {ACK_COUNT_MAX}",
            asked.len()
        );
        return Err(Error::invalid(field, rule));
    }
    let (mut places, mut items): (Vec<Option<LeaseResult>>, Vec<Item>) = Default::default();
    for asked in asked {
        match asked {
            Ok(item) => {
                places.push(None);
                items.push(item);
            }
            Err(result) => {
                endings::count(node, kind, &result);
                places.push(Some(result));
            }
        }
    }
    let mut endings = Vec::new();
    if !items.is_empty() {
        let patience = node.patience(limits::UNARY_TIMEOUT);
        endings = endings::end(node, namespace, kind, items, patience).await?;
    }
    let mut endings = endings.into_iter();
    let fill = |place: Option<LeaseResult>| place.or_else(|| endings.next());
    Ok(places.into_iter().filter_map(fill).collect())
}
