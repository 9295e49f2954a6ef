//! Principals: who may do what, as the log knows it.
//!
//! A principal has grants, each a [`Role`] in the namespaces of a [`Scope`], and is known by
//! tokens or by the names in its client certificates. All of it is replicated state that
//! [`ChangePrincipal`](crate::command::ChangePrincipal) changes. The machine decides nothing by
//! it: who asks at a port is judged there, before a command is proposed.

use std::fmt;

use crate::error::Refusal;
use crate::limits;
pub use crate::state::{find_principal, principals};
use crate::task::{check_name, Namespace};

/// The name of a principal: 1 to 128 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalName(Box<str>);

impl PrincipalName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field `principal` and the limit.
    pub fn new(name: &str) -> Result<Self, Refusal> {
        check_name("principal", name)?;
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The least of all names, where a scan of them begins.
    pub(crate) fn least() -> Self {
        Self("-".into())
    }
}

impl fmt::Display for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PrincipalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The rights that a grant gives a principal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Role {
    /// Reads tasks and settings.
    Reader = 1,
    /// Creates tasks.
    Producer = 2,
    /// Takes tasks and ends them.
    Consumer = 3,
    /// Does all that a namespace knows: the three above, and settings and repairs.
    Operator = 4,
    /// Does everything, in all namespaces and to the cluster.
    Admin = 5,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::Reader,
        Self::Producer,
        Self::Consumer,
        Self::Operator,
        Self::Admin,
    ];

    /// The name, as requests and answers have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a number, as stored and sent.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| *role as u8 == number)
    }

    /// Tells whether this role is enough where `needed` is asked for.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => needed != Self::Admin,
            role => role == needed,
        }
    }
}

/// A pattern of namespaces: one name, a prefix followed by `*`, or `*` alone for all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// Checks and takes a pattern.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field `scope` and the rule.
    pub fn new(pattern: &str) -> Result<Self, Refusal> {
        let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
        if prefix.contains('*') {
            let rule = "has a * elsewhere than at its end; a scope is one namespace, a prefix \
                        and *, or * alone: give one grant for each prefix";
            return Err(Refusal::invalid("scope", rule));
        }
        if pattern != "*" {
            check_name("scope", prefix).map_err(|refusal| {
                let message = format!("{}, and may end with *", refusal.message);
                Refusal::new(refusal.code, message)
            })?;
        }
        Ok(Self(pattern.into()))
    }

    /// The scope of all namespaces, `*`.
    #[must_use]
    pub fn all() -> Self {
        Self("*".into())
    }

    /// Tells whether it is the scope of all namespaces.
    #[must_use]
    pub fn is_all(&self) -> bool {
        &*self.0 == "*"
    }

    /// Tells whether a namespace is in it.
    #[must_use]
    pub fn covers(&self, namespace: &Namespace) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => namespace.as_str().starts_with(prefix),
            None => namespace.as_str() == &*self.0,
        }
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A role in the namespaces of a scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The namespaces; all of them for [`Role::Admin`].
    pub scope: Scope,
}

impl Grant {
    /// Checks and makes a grant.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid`: see [`Grant::check`].
    pub fn new(role: Role, scope: Scope) -> Result<Self, Refusal> {
        let grant = Self { role, scope };
        grant.check()?;
        Ok(grant)
    }

    /// Checks that an admin is one everywhere.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field `scope` and the remedy.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.role != Role::Admin || self.scope.is_all() {
            return Ok(());
        }
        let rule = format!(
            "is {} for the role admin, which acts on the whole cluster; it must be *, or the role operator",
            self.scope
        );
        Err(Refusal::invalid("scope", rule))
    }
}

/// A secret that proves to be a principal. The secret itself is nowhere in the cluster.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// The number by which it is found and revoked. No two tokens of a cluster share one.
    pub id: u64,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// When it was added, in machine nanoseconds.
    pub created_at_ns: u64,
    /// When it ends, in machine nanoseconds; 0: never. Nothing removes it then: who reads it
    /// compares.
    pub expires_at_ns: u64,
}

impl Token {
    /// Tells whether it has ended by this time, in nanoseconds since the epoch.
    #[must_use]
    pub fn is_expired(&self, now_ns: u64) -> bool {
        self.expires_at_ns != 0 && self.expires_at_ns <= now_ns
    }
}

impl fmt::Debug for Token {
    /// Writes all but the hash, which has no place in logs and reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("created_at_ns", &self.created_at_ns)
            .field("expires_at_ns", &self.expires_at_ns)
            .finish_non_exhaustive()
    }
}

/// Somebody who may do something.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Principal {
    /// The grants of the principal, at most [`GRANTS_MAX`](limits::GRANTS_MAX), no grant twice.
    pub grants: Vec<Grant>,
    /// The names that its client certificates have among their subject alternative names of
    /// kind URI or DNS, at most [`NAMES_MAX`](limits::NAMES_MAX). They are compared byte for
    /// byte, and no two principals share one.
    pub names: Vec<String>,
    /// Its tokens, expired ones too, in the order in which they were added, at most
    /// [`TOKENS_MAX`](limits::TOKENS_MAX).
    pub tokens: Vec<Token>,
}

impl Principal {
    /// Tells whether it may do what needs this role on a namespace. Without a namespace the
    /// whole cluster is meant, which needs [`Role::Admin`] whatever `needed` says.
    #[must_use]
    pub fn allows(&self, needed: Role, on: Option<&Namespace>) -> bool {
        let Some(namespace) = on else {
            return self.is_admin();
        };
        let mut grants = self.grants.iter();
        grants.any(|grant| grant.role.covers(needed) && grant.scope.covers(namespace))
    }

    /// Tells whether it may know that a namespace is there: any grant covers it.
    #[must_use]
    pub fn sees(&self, namespace: &Namespace) -> bool {
        self.grants
            .iter()
            .any(|grant| grant.scope.covers(namespace))
    }

    /// Tells whether it may do everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        let admin = |grant: &Grant| grant.role == Role::Admin && grant.scope.is_all();
        self.grants.iter().any(admin)
    }
}

/// Checks the name of a client certificate.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field `names` and the limit.
pub fn check_certificate_name(name: &str) -> Result<(), Refusal> {
    let fits = (1..=limits::NAME_LEN_MAX).contains(&name.len());
    let is_ip = name.parse::<std::net::IpAddr>().is_ok();
    if fits && !is_ip && name.bytes().all(|c| c.is_ascii_graphic()) {
        return Ok(());
    }
    let rule = format!(
        "must each be a URI or a DNS name of 1 to {} visible ASCII characters, and no IP address",
        limits::NAME_LEN_MAX
    );
    Err(Refusal::invalid("names", rule))
}

#[cfg(test)]
mod tests;
