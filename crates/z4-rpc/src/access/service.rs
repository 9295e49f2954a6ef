//! `z4.Access` at one peer. Changes are committed as all others are.

use grpcio::{RpcContext, UnarySink};
use z4_core::access::{
    find_principal, principals, Grant, Principal, PrincipalName, Role, Scope, Token,
};
use z4_core::command::{ChangePrincipal, PrincipalChange};
use z4_core::{Command, Outcome, View};
use z4_proto::generated::access::{
    self as wire, CreateTokenRequest, CreateTokenResponse, DeletePrincipalRequest,
    DeletePrincipalResponse, GetPrincipalRequest, ListPrincipalsRequest, ListPrincipalsResponse,
    PutPrincipalRequest, RevokeTokenRequest, RevokeTokenResponse, WhoAmIRequest, WhoAmIResponse,
};
use z4_proto::generated::access_grpc::Access;

use super::credentials::{fresh, id_text, read_id};
use super::{About, Method};
use crate::collection::respond;
use crate::convert;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy};
use crate::reading;
use crate::validate::{page_size, span_ms, Token as PageToken};

/// See the [module](self).
pub(crate) struct AccessService<V> {
    node: Node<V>,
}

impl<V> Clone for AccessService<V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> AccessService<V> {
    /// The service of this peer.
    pub(crate) fn new(node: Node<V>) -> Self {
        Self { node }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Access for AccessService<V> {
    fn put_principal(
        &mut self,
        ctx: RpcContext<'_>,
        request: PutPrincipalRequest,
        sink: UnarySink<wire::Principal>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::PutPrincipal, About::Other(request.get_name()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            put(&node, request).await
        });
    }

    fn get_principal(
        &mut self,
        ctx: RpcContext<'_>,
        request: GetPrincipalRequest,
        sink: UnarySink<wire::Principal>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::GetPrincipal, About::Other(request.get_name()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            let name = PrincipalName::new(request.get_name())?;
            let found = {
                let name = name.clone();
                reading::latest(&node, move |view: &V| find_principal(view, &name)).await?
            };
            let found = found.ok_or_else(|| no_principal(&name))?;
            Ok(shown(&name, &found))
        });
    }

    fn list_principals(
        &mut self,
        ctx: RpcContext<'_>,
        request: ListPrincipalsRequest,
        sink: UnarySink<ListPrincipalsResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::ListPrincipals, About::Nothing);
        respond(&ctx, self.node.clone(), call, sink, async move {
            list(&node, &request).await
        });
    }

    fn delete_principal(
        &mut self,
        ctx: RpcContext<'_>,
        request: DeletePrincipalRequest,
        sink: UnarySink<DeletePrincipalResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::DeletePrincipal, About::Other(request.get_name()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            let name = PrincipalName::new(request.get_name())?;
            change(&node, &name, PrincipalChange::Delete).await?;
            Ok(DeletePrincipalResponse::default())
        });
    }

    fn create_token(
        &mut self,
        ctx: RpcContext<'_>,
        request: CreateTokenRequest,
        sink: UnarySink<CreateTokenResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::CreateToken, About::Other(request.get_principal()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            create_token(&node, &request).await
        });
    }

    fn revoke_token(
        &mut self,
        ctx: RpcContext<'_>,
        request: RevokeTokenRequest,
        sink: UnarySink<RevokeTokenResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::RevokeToken, About::Other(request.get_principal()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            let name = PrincipalName::new(request.get_principal())?;
            let rule = "must be the id of a token, 16 of 0-9 a-f, as z4t access get shows it";
            let id = read_id(request.get_token_id());
            let id = id.ok_or_else(|| Error::invalid("token_id", rule))?;
            change(&node, &name, PrincipalChange::RevokeToken { id }).await?;
            Ok(RevokeTokenResponse::default())
        });
    }

    fn who_am_i(&mut self, ctx: RpcContext<'_>, _: WhoAmIRequest, sink: UnarySink<WhoAmIResponse>) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::WhoAmI, About::Nothing);
        respond(&ctx, self.node.clone(), call, sink, async move {
            let mut response = WhoAmIResponse::default();
            if let Some(caller) = node.caller() {
                response.set_principal(caller.name().to_owned());
                response.set_known_by(caller.known_by());
                let grants = caller.grants()?;
                response.set_grants(grants.iter().map(shown_grant).collect::<Vec<_>>().into());
            }
            Ok(response)
        });
    }
}

async fn put<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: PutPrincipalRequest,
) -> Result<wire::Principal, Error> {
    let name = PrincipalName::new(request.get_name())?;
    let grants = request.get_grants().iter().map(read_grant);
    let put = PrincipalChange::Put {
        grants: grants.collect::<Result<_, Error>>()?,
        names: request
            .certificate_names
            .iter()
            .map(|n| folded(n))
            .collect(),
    };
    let principal = change(node, &name, put).await?;
    let principal = principal.ok_or_else(|| no_principal(&name))?;
    Ok(shown(&name, &principal))
}

/// The name of a certificate as it is looked for: DNS names are the same in any case, and a
/// URI, which has a colon, is taken as it is.
fn folded(name: &str) -> String {
    match name.contains(':') {
        true => name.to_owned(),
        false => name.to_ascii_lowercase(),
    }
}

async fn list<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &ListPrincipalsRequest,
) -> Result<ListPrincipalsResponse, Error> {
    let size = page_size(request.get_page_size())?;
    let token = PageToken::of(&[b"principals"]);
    let from = match token.read(request.get_page_token())? {
        None => String::new(),
        Some(place) => String::from_utf8(place.to_vec())
            .map_err(|_| Error::invalid("page_token", "must be as the answer before gave it"))?,
    };
    // They are few: all are read for each page.
    let all = reading::latest(node, |view: &V| principals(view)).await?;
    let mut rest = all.into_iter().filter(|(name, _)| name.as_str() >= &*from);
    let mut response = ListPrincipalsResponse::default();
    let page = rest
        .by_ref()
        .take(size)
        .map(|(name, one)| shown(&name, &one));
    response.set_principals(page.collect::<Vec<_>>().into());
    if let Some((next, _)) = rest.next() {
        response.set_next_page_token(token.write(next.as_str().as_bytes()));
    }
    Ok(response)
}

async fn create_token<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &CreateTokenRequest,
) -> Result<CreateTokenResponse, Error> {
    let name = PrincipalName::new(request.get_principal())?;
    let expires_in_ms = match request.expires_in.as_ref() {
        None => 0,
        Some(span) => span_ms("expires_in", span, 0, limits::TOKEN_LIFE_MAX_MS)?,
    };
    let (id, secret_hash, secret) = fresh();
    let add = PrincipalChange::AddToken {
        id,
        secret_hash,
        expires_in_ms,
    };
    let principal = change(node, &name, add).await?;
    let tokens = principal.as_ref().map_or(&[][..], |one| &one.tokens);
    let token = tokens.iter().find(|token| token.id == id);
    let token = token.ok_or_else(|| no_principal(&name))?;
    let mut response = CreateTokenResponse::default();
    response.set_secret(secret);
    response.set_token(shown_token(token));
    Ok(response)
}

/// Commits a change of a principal; the principal behind it, unless it was deleted.
async fn change<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    name: &PrincipalName,
    change: PrincipalChange,
) -> Result<Option<Principal>, Error> {
    let command = Command::ChangePrincipal(ChangePrincipal {
        name: name.clone(),
        change,
    });
    let doubt = || {
        Error::Uncertain(format!(
            "look with z4t access get {name} what it has now, then repeat what is missing"
        ))
    };
    let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
    let settled = node.propose(&command, policy).await;
    match settled.map_err(|error| error.in_doubt(doubt))?.outcome {
        Outcome::PrincipalChanged(principal) => Ok(principal),
        other => Err(unexpected(other)),
    }
}

fn no_principal(name: &PrincipalName) -> Error {
    Error::not_found(format!(
        "there is no principal {name}; z4t access list shows all"
    ))
}

fn read_grant(grant: &wire::Grant) -> Result<Grant, Error> {
    let role = match grant.get_role() {
        wire::Role::ROLE_READER => Role::Reader,
        wire::Role::ROLE_PRODUCER => Role::Producer,
        wire::Role::ROLE_CONSUMER => Role::Consumer,
        wire::Role::ROLE_OPERATOR => Role::Operator,
        wire::Role::ROLE_ADMIN => Role::Admin,
        wire::Role::ROLE_UNSPECIFIED => {
            let rule = "must be reader, producer, consumer, operator or admin";
            return Err(Error::invalid("grants.role", rule));
        }
    };
    let scope = match (grant.get_namespaces(), role) {
        ("", Role::Admin) => Scope::all(),
        (pattern, _) => Scope::new(pattern)?,
    };
    Ok(Grant::new(role, scope)?)
}

fn shown(name: &PrincipalName, principal: &Principal) -> wire::Principal {
    let mut shown = wire::Principal::default();
    shown.set_name(name.as_str().to_owned());
    let grants = principal.grants.iter().map(shown_grant);
    shown.set_grants(grants.collect::<Vec<_>>().into());
    shown.set_certificate_names(principal.names.clone().into());
    let tokens = principal.tokens.iter().map(shown_token);
    shown.set_tokens(tokens.collect::<Vec<_>>().into());
    shown
}

fn shown_grant(grant: &Grant) -> wire::Grant {
    let mut shown = wire::Grant::default();
    shown.set_role(match grant.role {
        Role::Reader => wire::Role::ROLE_READER,
        Role::Producer => wire::Role::ROLE_PRODUCER,
        Role::Consumer => wire::Role::ROLE_CONSUMER,
        Role::Operator => wire::Role::ROLE_OPERATOR,
        Role::Admin => wire::Role::ROLE_ADMIN,
    });
    shown.set_namespaces(grant.scope.as_str().to_owned());
    shown
}

fn shown_token(token: &Token) -> wire::Token {
    let mut shown = wire::Token::default();
    shown.set_id(id_text(token.id));
    shown.set_created_at(convert::timestamp_of_ns(token.created_at_ns));
    if token.expires_at_ns != 0 {
        shown.set_expires_at(convert::timestamp_of_ns(token.expires_at_ns));
    }
    shown
}
