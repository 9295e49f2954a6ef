//! Where a handler asks whether its caller may do what it asks.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use grpcio::RpcStatus;
use z4_core::{Namespace, View};

use super::caller::Caller;
use super::table::Method;
use crate::errors::Error;
use crate::node::Node;
use crate::reading;

/// The subject of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum About<'a> {
    /// Nothing that has a name.
    Nothing,
    /// The namespace of this name, which nobody has checked yet.
    Namespace(&'a str),
    /// A member, a principal: for the log alone.
    Other(&'a str),
}

/// A call that was judged. To be made before the request is looked at any further.
pub(crate) struct Judged {
    pub(crate) method: Method,
    /// Why the call is refused.
    pub(crate) verdict: Result<(), Error>,
    /// The first admin: judged again once this peer knows all that was acknowledged, for one
    /// that lags does not know that there is an admin.
    pub(crate) root: Option<Caller>,
    /// The facts that the log is to tell of the call, if it tells something.
    pub(crate) audited: Option<Audited>,
}

/// The facts that are known of a call before it is done.
pub(crate) struct Audited {
    pub(super) caller: Option<Caller>,
    pub(super) about: String,
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Judges a call of the caller that this serves.
    pub(crate) fn judge(&self, method: Method, about: About<'_>) -> Judged {
        let text = match about {
            About::Nothing => "",
            About::Namespace(name) | About::Other(name) => name,
        };
        Judged {
            method,
            verdict: self.authorize(method, about),
            root: self.caller().filter(|caller| caller.is_root()).cloned(),
            audited: method.is_audited().then(|| Audited {
                caller: self.caller().cloned(),
                about: text.chars().take(ABOUT_LEN_MAX).collect(),
            }),
        }
    }

    /// Lets the caller that this serves call a method, or says why not.
    ///
    /// # Errors
    /// See [`Caller::check`]; and a name of a namespace that is none.
    pub(crate) fn authorize(&self, method: Method, about: About<'_>) -> Result<(), Error> {
        let Some(caller) = self.caller() else {
            return Ok(());
        };
        match about {
            About::Namespace(name) => caller.check(method, Some(&Namespace::new(name)?)),
            About::Nothing | About::Other(_) => caller.check(method, None),
        }
    }

    /// Judges the first admin by all that was acknowledged anywhere.
    pub(crate) async fn judge_root(&self, method: Method, root: &Caller) -> Result<(), Error> {
        if self.handle().status().raft_id == 0 {
            // A peer in no cluster has nothing that it could change.
            return Ok(());
        }
        reading::catch_up(self).await?;
        let refreshed = self.access().refresh(self.view());
        refreshed.map_err(|e| Error::Internal(format!("the principals cannot be read: {e}")))?;
        root.check(method, None)
    }

    /// Watches over a stream that was let in.
    pub(crate) fn guard(&self, method: Method, on: Option<Namespace>) -> Guard {
        let caller = self.caller().cloned();
        let watched = caller.map(|caller| caller.revoked(self.timer().clone(), method, on));
        Guard(watched.map(|watched| Box::pin(watched) as Watched))
    }

    /// Tells whether the caller that this serves may know that there is this namespace.
    pub(crate) fn sees(&self, namespace: &Namespace) -> bool {
        self.caller().is_none_or(|caller| caller.sees(namespace))
    }
}

type Watched = Pin<Box<dyn Future<Output = RpcStatus> + Send>>;

/// Watches over an open stream: that its caller is still known, and may still do what the
/// stream does.
pub(crate) struct Guard(Option<Watched>);

impl Guard {
    /// Ready when the stream has to end, with its status; who polls is woken then. Not to
    /// be asked again after that.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RpcStatus> {
        match &mut self.0 {
            Some(watched) => watched.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

/// Characters of a name in the log, which nobody has checked.
const ABOUT_LEN_MAX: usize = 128;
