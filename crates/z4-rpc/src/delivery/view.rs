//! The leader's view of a namespace's consumers, at any peer.

use std::time::Instant;

use futures::channel::oneshot;
use z4_core::dispatch::ConsumersView;
use z4_core::{Namespace, View};
use z4_proto::generated::peer::{
    self, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask,
};

use crate::errors::Error;
use crate::leader::no_leader_to_read;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// How many consumers a namespace has in the cluster and how many tasks they
    /// would take now, as the leader knows.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no leader, or it does not answer in
    /// time.
    pub async fn consumers_view(&self, namespace: &Namespace) -> Result<ConsumersView, Error> {
        let asked = Box::pin(self.ask_consumers(namespace));
        match self.timer().within(limits::VIEW_TIMEOUT, asked).await {
            Some(view) => view,
            None => Err(Error::Unavailable(
                "the leader did not tell of its consumers in time; retry".into(),
            )),
        }
    }

    async fn ask_consumers(&self, namespace: &Namespace) -> Result<ConsumersView, Error> {
        loop {
            let status = self.handle().status();
            let address = self.network().address(&status.membership, status.leader);
            let view = match address {
                _ if status.leader == 0 => return Err(no_leader_to_read(&status)),
                _ if status.leader == status.raft_id => self.consumers_here(namespace).await?,
                Some(address) => {
                    self.consumers_there(namespace, status.leader, &address)
                        .await?
                }
                None => None,
            };
            match view {
                Some(view) => return Ok(view),
                // Who was asked does not lead, or not yet.
                None => {
                    let give_up = Instant::now() + limits::VIEW_TIMEOUT;
                    self.another_leader(&status, give_up).await;
                }
            }
        }
    }

    async fn consumers_here(&self, namespace: &Namespace) -> Result<Option<ConsumersView>, Error> {
        let (tx, rx) = oneshot::channel();
        self.delivery().consumers(namespace.clone(), move |view| {
            // The asker may have left.
            let _ = tx.send(view);
        });
        rx.await
            .map_err(|_| Error::Unavailable("this peer is shutting down".into()))
    }

    async fn consumers_there(
        &self,
        namespace: &Namespace,
        leader: u64,
        address: &str,
    ) -> Result<Option<ConsumersView>, Error> {
        let mut ask = peer::ConsumersView::default();
        ask.set_namespace(namespace.as_str().to_owned());
        let forwarder = self.forwarder();
        let answer = forwarder
            .ask(leader, address, Ask::consumers_view(ask))
            .await;
        match answer {
            Ok(Answer::consumers(view)) => Ok(Some(ConsumersView {
                consumers: view.get_consumers(),
                room: view.get_room(),
            })),
            // To ask again harms nothing.
            _ => Ok(None),
        }
    }
}
