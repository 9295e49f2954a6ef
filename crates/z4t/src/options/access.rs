//! Flags of the commands about who may do what.

use std::path::PathBuf;
use std::time::Duration;

use structopt::StructOpt;
use z4_client::{Grant, Role};
use z4_core::access::{PrincipalName, Scope};

use super::{Output, Target};
use crate::moment;

#[derive(StructOpt, Debug)]
pub(crate) enum AccessCommand {
    /// Make a principal, or give one other grants and certificate names; its tokens stay
    ///
    /// The grants and names that are given take the place of all that it has. A grant is a
    /// role, and the namespaces that it is for: a name, a prefix and *, or all when nothing
    /// is said. Roles: reader looks at tasks and counts; producer creates tasks, and cancels
    /// and reschedules them; consumer leases tasks and acks them; operator does all of these,
    /// and changes settings, deletes, and sees to dead letters; admin does everything
    /// everywhere.
    Put(AccessPut),
    /// Print a principal
    Get(AccessName),
    /// List the principals
    List(AccessList),
    /// Remove a principal with its tokens
    Delete(AccessName),
    /// Make a token for a principal, and print it: it is shown this once
    CreateToken(CreateToken),
    /// Remove a token
    RevokeToken(RevokeToken),
    /// Print who the peer takes you for, and what you may do
    Whoami(Whoami),
    /// Make a token for the first admin, in a file; no cluster is asked
    ///
    /// Give the file to every peer by Z4_AUTH_ROOT_TOKEN_FILE, and to z4t by --token-file.
    NewRootToken(NewRootToken),
}

#[derive(StructOpt, Debug)]
pub(crate) struct AccessPut {
    #[structopt(parse(try_from_str = principal))]
    pub name: String,
    /// A role and where it holds, such as producer:mail.* or admin
    #[structopt(
        long = "grant",
        value_name = "ROLE[:NAMESPACES]",
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = grant)
    )]
    pub grants: Vec<Grant>,
    /// A URI or a DNS name in the client certificate by which it is known
    #[structopt(
        long = "certificate-name",
        value_name = "NAME",
        number_of_values = 1,
        multiple = true
    )]
    pub certificate_names: Vec<String>,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct AccessName {
    #[structopt(parse(try_from_str = principal))]
    pub name: String,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct AccessList {
    /// text or json (a line of JSON for each principal)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct CreateToken {
    #[structopt(parse(try_from_str = principal))]
    pub name: String,
    /// After how long it runs out: it does not unless given
    #[structopt(long, value_name = "TIME", parse(try_from_str = life))]
    pub expires_in: Option<Duration>,
    /// Write the token to this file, for its owner alone, in place of standard output
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub out: Option<PathBuf>,
    /// text (the token and nothing else) or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct RevokeToken {
    #[structopt(parse(try_from_str = principal))]
    pub name: String,
    /// Its id, as get and create-token print it
    #[structopt(value_name = "ID")]
    pub token_id: String,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Whoami {
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct NewRootToken {
    /// The file, for its owner alone; one that is there already stays
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub out: PathBuf,
}

fn principal(text: &str) -> Result<String, String> {
    let name = PrincipalName::new(text).map_err(|refusal| refusal.message)?;
    Ok(name.as_str().to_owned())
}

/// `ROLE[:NAMESPACES]`.
fn grant(text: &str) -> Result<Grant, String> {
    let (role, namespaces) = text.split_once(':').unwrap_or((text, "*"));
    let found = Role::ALL.into_iter().find(|known| known.name() == role);
    let role = found.ok_or_else(|| {
        let roles = Role::ALL.map(Role::name).join(", ");
        format!("give ROLE or ROLE:NAMESPACES, with one of the roles {roles}")
    })?;
    let scope = Scope::new(namespaces).map_err(|refusal| refusal.message)?;
    if role == Role::Admin && !scope.is_all() {
        return Err(format!(
            "an admin is one everywhere; give admin alone, or operator:{namespaces}"
        ));
    }
    Ok(Grant::new(role, namespaces))
}

fn life(text: &str) -> Result<Duration, String> {
    match moment::span(text)? {
        Duration::ZERO => Err("give more than 0s; a token without it does not run out".to_owned()),
        span => Ok(span),
    }
}
