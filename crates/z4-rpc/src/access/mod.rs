//! The rules of who may do what: callers are known by tokens or certificates, and judged by
//! one table.
//!
//! | module | what lives there |
//! |---|---|
//! | `table` | every method, and what it takes to call it |
//! | `caller` | who makes a call, and what it may do |
//! | `known` | the principals as this peer has applied them |
//! | `credentials` | tokens |
//! | `admit` | where handlers ask |
//! | `front` | the check that every call passes before its handler |
//! | `service` | `z4.Access` |
//! | `audit` | what admins did, in the log of the peer |

mod admit;
mod audit;
mod caller;
pub(crate) mod credentials;
mod front;
mod known;
mod service;
pub(crate) mod table;

use std::sync::{Arc, PoisonError, RwLock};

use event_listener::{Event, EventListener};
use grpcio::RpcContext;
use z4_core::access::principals;
use z4_core::state::StateError;
use z4_core::View;

pub(crate) use self::admit::{About, Guard, Judged};
pub(crate) use self::audit::{note, Done};
pub(crate) use self::caller::Caller;
pub(crate) use self::front::Front;
use self::known::Known;
pub(crate) use self::service::AccessService;
pub(crate) use self::table::Method;
use crate::delivery::wall_ns;

/// The rules of who may do what at this peer. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

struct Inner {
    is_on: bool,
    /// The hash of the token of the first admin.
    root_hash: Option<[u8; 32]>,
    known: RwLock<Arc<Known>>,
    changed: Event,
}

impl Access {
    /// Everybody may do everything.
    #[must_use]
    pub fn off() -> Self {
        Self::new(false, None)
    }

    /// Callers are asked who they are. `root_token` is that of the first admin: it counts
    /// while no admin can be known by a token or a certificate.
    #[must_use]
    pub fn on(root_token: Option<&str>) -> Self {
        Self::new(true, root_token.map(credentials::root_hash))
    }

    fn new(is_on: bool, root_hash: Option<[u8; 32]>) -> Self {
        Self {
            inner: Arc::new(Inner {
                is_on,
                root_hash,
                known: RwLock::default(),
                changed: Event::new(),
            }),
        }
    }

    /// Callers are asked who they are.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.inner.is_on
    }

    /// Takes over the principals as they are applied now. To be called at the start, and
    /// whenever they have changed; open streams are judged anew.
    ///
    /// # Errors
    /// [`StateError`]: the store fails, and the process must end.
    pub fn refresh(&self, view: &impl View) -> Result<(), StateError> {
        let known = Arc::new(Known::of(principals(view)?));
        let inner = &self.inner;
        *inner.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        inner.changed.notify(usize::MAX);
        Ok(())
    }

    /// The caller of this call; `None`: nobody is asked who they are.
    pub(crate) fn caller(&self, ctx: &RpcContext<'_>) -> Option<Caller> {
        self.is_on().then(|| Caller::of(self, ctx))
    }

    fn known(&self) -> Arc<Known> {
        let known = self.inner.known.read();
        Arc::clone(&known.unwrap_or_else(PoisonError::into_inner))
    }

    /// Ready when principals have changed.
    fn listen(&self) -> EventListener {
        self.inner.changed.listen()
    }

    /// Tells whether this is the token of the first admin, and there is no admin yet.
    fn is_root(&self, token: &str) -> bool {
        let hash = credentials::root_hash(token);
        let is_it = |root: &[u8; 32]| credentials::is_same(root, &hash);
        self.inner.root_hash.as_ref().is_some_and(is_it) && self.is_root_needed()
    }

    fn is_root_needed(&self) -> bool {
        !self.known().has_admin(wall_ns())
    }
}

#[cfg(test)]
mod tests;
