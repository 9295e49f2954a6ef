//! The caller of a method, and what it may do.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{Metadata, RpcContext, RpcStatus};
use z4_core::access::{Grant, Principal, PrincipalName, Role, Scope};
use z4_core::Namespace;

use super::credentials::{id_text, Shown};
use super::table::{Method, Need};
use super::Access;
use crate::delivery::wall_ns;
use crate::errors::Error;
use crate::timer::Timer;
use crate::tls;
use z4_tls::Names;

/// The caller of a method, at a peer that asks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Caller {
    access: Access,
    who: Who,
}

/// The ways in which a caller is known.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Who {
    /// The caller has shown nothing that is good.
    Stranger,
    /// The first admin, by the token of the file, while there is no other.
    Root,
    /// A principal, by a token.
    Token(PrincipalName, u64),
    /// A principal, by a name in its certificate.
    Certificate(PrincipalName, Arc<str>),
}

/// The rights that a caller has now.
enum Allowed {
    All,
    Some(Arc<Principal>),
}

impl Caller {
    /// The caller of this call.
    pub(super) fn of(access: &Access, ctx: &RpcContext<'_>) -> Self {
        Self {
            who: who(access, ctx),
            access: access.clone(),
        }
    }

    /// Tells whether the caller has shown something that is good.
    pub(super) fn is_known(&self) -> bool {
        self.allowed().is_ok()
    }

    /// Lets the caller call a method on the namespace that its request names, or says why
    /// not.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], which says nothing more, and [`Error::Denied`], which
    /// names the grant that is missing.
    pub(crate) fn check(&self, method: Method, on: Option<&Namespace>) -> Result<(), Error> {
        let need = method.need();
        if need == Need::Nothing {
            return Ok(());
        }
        let Allowed::Some(principal) = self.allowed()? else {
            return match need {
                // The root token is there to make the first admin, and holds no stream.
                Need::On(_) => Err(Error::Denied(format!(
                    "the root token is for making the first admin, and not for {}; make a \
                     principal with z4t access put, and use its token",
                    method.name()
                ))),
                _ => Ok(()),
            };
        };
        let is_allowed = match need {
            Need::Nothing | Need::Known => true,
            Need::On(role) => on.is_some() && principal.allows(role, on),
            Need::AnyOn => on.is_some_and(|on| principal.sees(on)),
            Need::Admin => principal.allows(Role::Admin, None),
        };
        match is_allowed {
            true => Ok(()),
            false => Err(self.denied(method, on)),
        }
    }

    /// Tells whether the caller may know that there is this namespace.
    pub(crate) fn sees(&self, namespace: &Namespace) -> bool {
        match self.allowed() {
            Ok(Allowed::All) => true,
            Ok(Allowed::Some(principal)) => principal.sees(namespace),
            Err(_) => false,
        }
    }

    /// The name of the caller, for the log: that of a principal, or what stands for one.
    pub(crate) fn name(&self) -> &str {
        match &self.who {
            Who::Stranger => "a stranger",
            Who::Root => "root",
            Who::Token(name, _) | Who::Certificate(name, _) => name.as_str(),
        }
    }

    /// The grants of the caller, for the caller itself.
    pub(super) fn grants(&self) -> Result<Vec<Grant>, Error> {
        match self.allowed()? {
            Allowed::All => Ok(Grant::new(Role::Admin, Scope::all()).into_iter().collect()),
            Allowed::Some(principal) => Ok(principal.grants.clone()),
        }
    }

    /// The way in which the caller is known, for the caller itself.
    pub(super) fn known_by(&self) -> String {
        match &self.who {
            Who::Stranger => String::new(),
            Who::Root => "root token".to_owned(),
            Who::Token(_, id) => format!("token {}", id_text(*id)),
            Who::Certificate(_, name) => format!("certificate {name}"),
        }
    }

    fn allowed(&self) -> Result<Allowed, Error> {
        let known = self.access.known();
        let (name, found) = match &self.who {
            Who::Stranger => return Err(Error::Unauthenticated),
            Who::Root if self.access.is_root_needed() => return Ok(Allowed::All),
            Who::Root => return Err(Error::Unauthenticated),
            Who::Token(name, id) => (name, known.by_token(*id, wall_ns())),
            Who::Certificate(name, shown) => (name, known.by_name(shown)),
        };
        match found {
            Some((of, principal)) if of == name => Ok(Allowed::Some(Arc::clone(principal))),
            _ => Err(Error::Unauthenticated),
        }
    }

    fn denied(&self, method: Method, on: Option<&Namespace>) -> Error {
        let grant = match (method.need(), on) {
            (Need::On(role), Some(on)) => format!("{} on namespace {on}", role.name()),
            (Need::AnyOn, Some(on)) => format!("any role on namespace {on}"),
            _ => "admin".to_owned(),
        };
        Error::Denied(format!(
            "principal {} may not call {}: it lacks the grant {grant}; an admin can give it with \
             z4t access put",
            self.name(),
            method.name()
        ))
    }

    /// Tells whether time alone ends what the caller is known by.
    fn runs_out(&self) -> bool {
        match &self.who {
            Who::Token(_, id) => self.access.known().runs_out(*id),
            Who::Stranger | Who::Root | Who::Certificate(..) => false,
        }
    }

    /// Tells whether it is the first admin, by the token of the file.
    pub(crate) fn is_root(&self) -> bool {
        self.who == Who::Root
    }

    /// Ready when the caller may not call the method on this namespace any more, with what
    /// its stream is to end with.
    pub(crate) async fn revoked(
        self,
        timer: Timer,
        method: Method,
        on: Option<Namespace>,
    ) -> RpcStatus {
        loop {
            // Before the look, so that no change falls between.
            let changed = self.access.listen();
            if let Err(error) = self.check(method, on.as_ref()) {
                return error.status();
            }
            // A token that runs out changes nothing in the state.
            match self.runs_out() {
                true => drop(timer.within(EXPIRY_LOOK, changed).await),
                false => changed.await,
            }
        }
    }
}

/// Between two looks at tokens that run out while a stream is open.
const EXPIRY_LOOK: Duration = Duration::from_millis(500);

/// Tells who has shown what came with this call.
fn who(access: &Access, ctx: &RpcContext<'_>) -> Who {
    let known = access.known();
    let names = tls::names_of(ctx);
    let is_sealed = names.is_some();
    if let Some(text) = bearer(ctx.request_headers()) {
        // Whoever is on the way could read it.
        if !is_sealed && !is_loopback(&ctx.peer()) {
            return Who::Stranger;
        }
        if access.is_root(text) {
            return Who::Root;
        }
        let of_token = Shown::read(text).and_then(|shown| known.shown(&shown, wall_ns()));
        return match of_token {
            Some((name, id)) => Who::Token(name, id),
            None => Who::Stranger,
        };
    }
    // A URI has a colon and a DNS name has none: one kind is never taken for the other.
    let of_kind = |names: &Names| {
        let uris = names.uris.iter().filter(|uri| uri.contains(':'));
        let dns = names.dns.iter().filter(|dns| !dns.contains(':'));
        uris.chain(dns).cloned().collect::<Vec<String>>()
    };
    for name in names.as_ref().map(of_kind).unwrap_or_default() {
        if let Some((principal, _)) = known.by_name(&name) {
            return Who::Certificate(principal.clone(), name.into());
        }
    }
    Who::Stranger
}

/// The token in the headers of a call.
fn bearer(headers: &Metadata) -> Option<&str> {
    let value = headers.iter().find(|(name, _)| *name == "authorization")?.1;
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Tells whether a connection comes from this machine, by what gRPC calls its other end:
/// `ipv4:127.0.0.1:4711`, `ipv6:%5B::1%5D:4711`.
fn is_loopback(peer: &str) -> bool {
    let Some((family, rest)) = peer.split_once(':') else {
        return false;
    };
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    let host = host.replace("%5B", "").replace("%5D", "");
    let host = host.trim_start_matches('[').trim_end_matches(']');
    matches!(family, "ipv4" | "ipv6")
        && host
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn loopback_is_known_by_what_grpc_calls_it() {
        for peer in [
            "ipv4:127.0.0.1:4711",
            "ipv4:127.0.7.3:1",
            "ipv6:%5B::1%5D:4711",
            "ipv6:[::1]:4711",
            "ipv6:%5B::ffff:127.0.0.1%5D:1",
        ] {
            assert!(is_loopback(peer), "{peer}");
        }
        for peer in [
            "ipv4:10.0.0.1:4711",
            "ipv6:%5B2001:db8::1%5D:1",
            "fd:12",
            "",
            "unix:/x",
        ] {
            assert!(!is_loopback(peer), "{peer}");
        }
    }
}
