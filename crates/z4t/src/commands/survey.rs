//! Looks at a whole cluster, for `doctor` and `top`.

use z4_client::{Client, Error, Namespace};

use crate::limits;

/// Namespaces in the order of their names, and whether there are more: what is read in one
/// look has a bound.
pub(super) async fn namespaces(client: &Client) -> Result<(Vec<Namespace>, bool), Error> {
    let mut all = Vec::new();
    let mut token = String::new();
    for _ in 0..limits::NAMESPACE_PAGES_MAX {
        let page = client.list_namespaces(limits::PAGE_LEN_MAX, &token).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => token = next,
            None => return Ok((all, false)),
        }
    }
    Ok((all, true))
}
