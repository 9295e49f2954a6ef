//! Peers that ask who calls, and the harness as their admin.
//!
//! With `Z4_E2E_TLS=1` all peers ask. The certificate that everything here shows is made a
//! principal that may do all, as soon as there is a leader. A peer that is in no cluster
//! knows no principals: it is asked with the token of the first admin.

use std::time::Duration;

use grpcio::{CallOption, MetadataBuilder, RpcStatusCode};
use tempfile::TempDir;
use z4_proto::generated::access::{Grant, PutPrincipalRequest, Role};
use z4_proto::generated::access_grpc::AccessClient;

use crate::client::{channel, environment, option, Refused};

use std::sync::OnceLock;

/// The token of the first admin of all peers of this process.
pub const ROOT_TOKEN: &str = "z4_root_0123456789abcdef0123456789abcdef";

/// The variables of a peer that asks.
///
/// # Panics
/// When there is no room for a small file.
#[must_use]
pub fn variables() -> [(String, String); 2] {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = TempDir::with_prefix("z4-e2e-root-").expect("a folder");
        std::fs::write(folder.path().join("token"), ROOT_TOKEN).expect("the folder is ours");
        folder
    });
    let file = folder.path().join("token").display().to_string();
    [
        ("Z4_AUTH".to_owned(), "on".to_owned()),
        ("Z4_AUTH_ROOT_TOKEN_FILE".to_owned(), file),
    ]
}

/// A call that shows a token.
///
/// # Panics
/// When the token has characters that no header has.
#[must_use]
pub fn with_token(option: CallOption, token: &str) -> CallOption {
    let mut headers = MetadataBuilder::new();
    let value = format!("Bearer {token}");
    let added = headers.add_str("authorization", &value).map(drop);
    added.expect("a token is text");
    option.headers(headers.build())
}

/// A call that shows the token of the first admin.
#[must_use]
pub fn as_root(limit: Duration) -> CallOption {
    with_token(option(limit), ROOT_TOKEN)
}

/// Makes the certificate that everything here shows a principal that may do all.
///
/// # Errors
/// There is no leader yet, at this peer.
pub fn admit_all(address: &str) -> Result<(), String> {
    let mut grant = Grant::new();
    grant.set_role(Role::ROLE_ADMIN);
    grant.set_namespaces("*".to_owned());
    let mut put = PutPrincipalRequest::new();
    put.set_name("z4-e2e".to_owned());
    put.set_grants(vec![grant].into());
    put.set_certificate_names(vec!["z4-e2e-client".to_owned()].into());
    let access = AccessClient::new(channel(environment(), address));
    let done = access.put_principal_opt(&put, as_root(Duration::from_secs(5)));
    match done.map_err(Refused::from) {
        Ok(_) => Ok(()),
        // The token of the first admin is worth nothing once there is one.
        Err(refused) if refused.code == RpcStatusCode::UNAUTHENTICATED => Ok(()),
        Err(refused) => Err(refused.to_string()),
    }
}
