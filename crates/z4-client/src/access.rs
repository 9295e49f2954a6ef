//! Calls about who may do what: principals, their grants and their tokens.

use std::fmt;
use std::time::{Duration, SystemTime};

use z4_proto::access::{
    self as wire, CreateTokenRequest, DeletePrincipalRequest, GetPrincipalRequest,
    ListPrincipalsRequest, PutPrincipalRequest, RevokeTokenRequest, WhoAmIRequest,
};

use crate::client::Client;
use crate::convert;
use crate::error::Error;
use crate::listing::Page;
use crate::retry::Repeat;

/// The rights that a grant gives a principal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Role {
    /// The peer is newer than this client. Peers refuse it in a grant.
    Other,
    /// Looks at tasks and counts of namespaces.
    Reader,
    /// Creates tasks, and cancels and reschedules them.
    Producer,
    /// Leases tasks, and acknowledges them.
    Consumer,
    /// Does all of these, and changes settings, deletes, and sees to dead letters.
    Operator,
    /// Does all of these everywhere, and sees to members of the cluster and to access.
    Admin,
}

impl Role {
    /// All roles that can be granted.
    pub const ALL: [Self; 5] = [
        Self::Reader,
        Self::Producer,
        Self::Consumer,
        Self::Operator,
        Self::Admin,
    ];

    /// The name: `reader`, `producer`, `consumer`, `operator`, `admin`; `other` for the role
    /// that is none of these.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Reader => "reader",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    fn of_wire(role: wire::Role) -> Self {
        match role {
            wire::Role::ROLE_UNSPECIFIED => Self::Other,
            wire::Role::ROLE_READER => Self::Reader,
            wire::Role::ROLE_PRODUCER => Self::Producer,
            wire::Role::ROLE_CONSUMER => Self::Consumer,
            wire::Role::ROLE_OPERATOR => Self::Operator,
            wire::Role::ROLE_ADMIN => Self::Admin,
        }
    }

    fn wire(self) -> wire::Role {
        match self {
            Self::Other => wire::Role::ROLE_UNSPECIFIED,
            Self::Reader => wire::Role::ROLE_READER,
            Self::Producer => wire::Role::ROLE_PRODUCER,
            Self::Consumer => wire::Role::ROLE_CONSUMER,
            Self::Operator => wire::Role::ROLE_OPERATOR,
            Self::Admin => wire::Role::ROLE_ADMIN,
        }
    }
}

/// A role in some namespaces.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// A namespace, a prefix of namespaces that ends with `*` (`mail.*`), or `*` for all. An
    /// admin is one in all.
    pub namespaces: String,
}

impl Grant {
    /// A role in these namespaces.
    #[must_use]
    pub fn new(role: Role, namespaces: impl Into<String>) -> Self {
        Self {
            role,
            namespaces: namespaces.into(),
        }
    }

    fn wire(&self) -> wire::Grant {
        let mut grant = wire::Grant::default();
        grant.set_role(self.role.wire());
        grant.set_namespaces(self.namespaces.clone());
        grant
    }
}

impl From<wire::Grant> for Grant {
    fn from(mut grant: wire::Grant) -> Self {
        Self::new(Role::of_wire(grant.get_role()), grant.take_namespaces())
    }
}

/// A token without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenInfo {
    /// The id, by which it is revoked.
    pub id: String,
    /// When it was made.
    pub created_at: Option<SystemTime>,
    /// When it runs out; `None`: it does not.
    pub expires_at: Option<SystemTime>,
}

impl From<wire::Token> for TokenInfo {
    fn from(mut token: wire::Token) -> Self {
        Self {
            id: token.take_id(),
            created_at: convert::time(&token.created_at),
            expires_at: convert::time(&token.expires_at),
        }
    }
}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// The facts that peers tell of the token later.
    pub info: TokenInfo,
    secret: String,
}

impl NewToken {
    #[cfg(test)]
    pub(crate) fn for_test(info: TokenInfo, secret: &str) -> Self {
        Self {
            info,
            secret: secret.into(),
        }
    }

    /// The whole token, `z4_ID_SECRET`: no peer keeps it, and nobody can show it again. It is
    /// what [`crate::Token::new`] takes.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// A program or a person that may do something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Principal {
    /// The name.
    pub name: String,
    /// The grants of the principal.
    pub grants: Vec<Grant>,
    /// URIs and DNS names in client certificates by which it is known.
    pub certificate_names: Vec<String>,
    /// Its tokens.
    pub tokens: Vec<TokenInfo>,
}

impl From<wire::Principal> for Principal {
    fn from(mut principal: wire::Principal) -> Self {
        let tokens = principal.take_tokens().into_iter();
        Self {
            tokens: tokens.map(TokenInfo::from).collect(),
            grants: grants(principal.take_grants()),
            certificate_names: principal.take_certificate_names().into_vec(),
            name: principal.take_name(),
        }
    }
}

/// A client as a peer sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The name of the principal; empty: the peer asks nobody who they are.
    pub principal: String,
    /// The grants of the client.
    pub grants: Vec<Grant>,
    /// The sign by which the client is known: `token ID`, `certificate NAME` or `root token`.
    pub known_by: String,
}

fn grants(grants: protobuf::RepeatedField<wire::Grant>) -> Vec<Grant> {
    grants.into_iter().map(Grant::from).collect()
}

impl Client {
    /// Makes a principal of this name (1 to 128 of `A-Z a-z 0-9 . _ -`), or gives the one of
    /// this name these grants and certificate names in place of those that it has. Its tokens
    /// stay.
    ///
    /// # Errors
    /// `InvalidArgument` for a name or a grant that is none, `AlreadyExists` when another
    /// principal has one of the certificate names.
    pub async fn put_principal(
        &self,
        name: &str,
        grants: &[Grant],
        certificate_names: &[String],
    ) -> Result<Principal, Error> {
        let mut request = PutPrincipalRequest::default();
        request.set_name(name.to_owned());
        request.set_grants(grants.iter().map(Grant::wire).collect());
        request.set_certificate_names(certificate_names.to_vec().into());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.access.put_principal_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// A principal, with its tokens but not their secrets.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_principal(&self, name: &str) -> Result<Principal, Error> {
        let mut request = GetPrincipalRequest::default();
        request.set_name(name.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.access.get_principal_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// A page of the principals, in the order of their names. `page_size` at most 1,000, 0
    /// for 100; `page_token` from the page before, empty for the first.
    ///
    /// # Errors
    /// `InvalidArgument` for a token that is none.
    pub async fn principals(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<Page<Principal>, Error> {
        let mut request = ListPrincipalsRequest::default();
        request.set_page_size(page_size);
        request.set_page_token(page_token.to_owned());
        let mut answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.access.list_principals_async_opt(&request, option)
            })
            .await?
            .value;
        let next = answer.take_next_page_token();
        let principals = answer.take_principals().into_iter();
        Ok(Page {
            items: principals.map(Principal::from).collect(),
            next: (!next.is_empty()).then_some(next),
        })
    }

    /// Removes a principal with its tokens. Streams that are open in its name end.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_principal(&self, name: &str) -> Result<(), Error> {
        let mut request = DeletePrincipalRequest::default();
        request.set_name(name.to_owned());
        self.peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.access.delete_principal_async_opt(&request, option)
            })
            .await?;
        Ok(())
    }

    /// Makes a token for a principal; `expires_in`: after which time it runs out, `None`:
    /// never. Not repeated, for each try would make one.
    ///
    /// # Errors
    /// `NotFound` when there is no such principal, `Exhausted` when it has as many tokens as
    /// it may. When [`Error::may_be_done`], look at the tokens of the principal, and revoke
    /// the one that nobody knows.
    pub async fn create_token(
        &self,
        principal: &str,
        expires_in: Option<Duration>,
    ) -> Result<NewToken, Error> {
        let mut request = CreateTokenRequest::default();
        request.set_principal(principal.to_owned());
        request.expires_in = expires_in.map(convert::wire_span).into();
        let mut answer = self
            .peers
            .ask(Repeat::Never, self.timeout(), |peer, option| {
                peer.access.create_token_async_opt(&request, option)
            })
            .await?
            .value;
        Ok(NewToken {
            secret: answer.take_secret(),
            info: convert::given(answer.token, "token")?.into(),
        })
    }

    /// Removes a token. Streams that were opened with it end.
    ///
    /// # Errors
    /// `NotFound` when there is no such principal, or when it has no such token.
    pub async fn revoke_token(&self, principal: &str, token_id: &str) -> Result<(), Error> {
        let mut request = RevokeTokenRequest::default();
        request.set_principal(principal.to_owned());
        request.set_token_id(token_id.to_owned());
        self.peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.access.revoke_token_async_opt(&request, option)
            })
            .await?;
        Ok(())
    }

    /// The identity of this client, as the peer that is asked sees it.
    ///
    /// # Errors
    /// `Unauthenticated` when the peer asks, and does not know the client.
    pub async fn who_am_i(&self) -> Result<Identity, Error> {
        let request = WhoAmIRequest::default();
        let mut answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.access.who_am_i_async_opt(&request, option)
            })
            .await?
            .value;
        Ok(Identity {
            grants: grants(answer.take_grants()),
            principal: answer.take_principal(),
            known_by: answer.take_known_by(),
        })
    }
}
