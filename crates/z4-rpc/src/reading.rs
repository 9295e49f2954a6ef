//! Linearizable reads of the task state, at every peer.

use futures::channel::oneshot;
use z4_consensus::ReadError;
use z4_core::state::StateError;
use z4_core::View;

use crate::delivery::wall_ns;
use crate::errors::Error;
use crate::leader::unconfirmed;
use crate::limits;
use crate::node::Node;

/// Waits until this peer has applied what was acknowledged anywhere before the
/// call; the log index of that.
pub(crate) async fn catch_up<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
) -> Result<u64, Error> {
    let (tx, rx) = oneshot::channel();
    let patience = node.patience(limits::UNARY_TIMEOUT);
    node.handle().read_index(patience, move |read| {
        // The asker may have left.
        let _ = tx.send(read);
    });
    let stopping = |_| Error::Unavailable("this peer is shutting down".into());
    match rx.await.map_err(stopping)? {
        Ok(index) => Ok(index),
        Err(ReadError::NoLeader { waited_ms }) => {
            Err(unconfirmed(&node.handle().status(), waited_ms))
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads what this peer has applied.
pub(crate) async fn here<V, T>(
    node: &Node<V>,
    read: impl FnOnce(&V) -> Result<T, StateError> + Send + 'static,
) -> Result<T, Error>
where
    V: View + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    let view = node.view().clone();
    let answer = node.readers().run(move || read(&view)).await?;
    answer.map_err(|e| Error::Internal(format!("the task state cannot be read: {e}")))
}

/// Reads what was acknowledged anywhere before the call.
pub(crate) async fn latest<V, T>(
    node: &Node<V>,
    read: impl FnOnce(&V) -> Result<T, StateError> + Send + 'static,
) -> Result<T, Error>
where
    V: View + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    catch_up(node).await?;
    here(node, read).await
}

/// Now, in machine nanoseconds, as far as a reader can tell.
pub(crate) fn now_ns(view: &impl View) -> Result<u64, StateError> {
    Ok(z4_core::state::machine_ns(view)?.max(wall_ns()))
}
