//! Looks at a whole cluster, for `doctor` and `top`.

use futures::join;
use z4_client::{Client, ClusterInfo, Error, Namespace, PeerStatus};

use crate::limits;

/// The things that were seen of a cluster.
pub(super) struct Survey {
    /// The cluster, as the peer that was asked knows it.
    pub info: ClusterInfo,
    /// The members, as each tells of itself.
    pub peers: Vec<PeerStatus>,
    /// Namespaces in the order of their names, or why they cannot be read.
    pub namespaces: Result<Vec<Namespace>, String>,
    /// There are more of them: what is read in one look has a bound.
    pub has_more_namespaces: bool,
}

/// Asks for all of it.
pub(super) async fn survey(client: &Client) -> Result<Survey, Error> {
    let (info, peers) = join!(client.cluster_info(), client.peer_status(None));
    let (info, peers) = (info?, peers?);
    // Without a leader the read would be tried for as long as the call may take.
    let read = match info.leader_id.as_str() {
        "" => Err("no leader is known".to_owned()),
        _ => namespaces(client).await.map_err(|e| e.to_string()),
    };
    let (namespaces, has_more_namespaces) = match read {
        Ok((namespaces, has_more)) => (Ok(namespaces), has_more),
        Err(error) => (Err(error), false),
    };
    Ok(Survey {
        info,
        peers,
        namespaces,
        has_more_namespaces,
    })
}

async fn namespaces(client: &Client) -> Result<(Vec<Namespace>, bool), Error> {
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
