//! The way of a command to its cluster: what its flags say, then the environment, then its
//! context.

use std::ffi::OsString;

use z4_client::{Tls, Token};

use crate::contexts::{self, Context, Contexts};
use crate::error::Error;
use crate::options::{Secure, Target};

/// The environment variable that may hold the token.
const TOKEN: &str = "Z4_TOKEN";
const TARGET_DEFAULT: &str = "localhost:6355";

/// Addresses, TLS and the token.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Reach {
    pub targets: Vec<String>,
    pub tls: Option<Tls>,
    pub token: Option<Token>,
}

/// Settles how the cluster is reached, by the flags, the environment and the file of contexts.
pub(crate) fn settle(target: &Target) -> Result<Reach, Error> {
    let contexts = match contexts::path() {
        Some(path) => Contexts::load(&path)?,
        None => Contexts::default(),
    };
    by(target, &contexts, std::env::var_os(TOKEN))
}

fn by(target: &Target, contexts: &Contexts, token: Option<OsString>) -> Result<Reach, Error> {
    let none = Context::default();
    let context = match &target.context {
        Some(name) => contexts.named(name)?,
        // The settings of the current context are for its cluster, and this may be another one.
        None if !target.targets.is_empty() || target.secure.ca.is_some() => &none,
        None => contexts.current().unwrap_or(&none),
    };
    let targets = [&target.targets, &context.targets];
    let targets = targets.into_iter().find(|targets| !targets.is_empty());
    Ok(Reach {
        targets: targets.map_or_else(|| vec![TARGET_DEFAULT.to_owned()], Clone::clone),
        tls: merged(&target.secure, context).tls()?,
        token: token_of(target, context, token)?,
    })
}

/// The flags, and the context where they say nothing. A certificate and its key come from the
/// same place.
fn merged(flags: &Secure, context: &Context) -> Secure {
    let has_own = flags.cert.is_some() || flags.key.is_some();
    let (cert, key) = match has_own {
        true => (&flags.cert, &flags.key),
        false => (&context.cert, &context.key),
    };
    Secure {
        ca: flags.ca.clone().or_else(|| context.ca.clone()),
        cert: cert.clone(),
        key: key.clone(),
        server_name: flags
            .server_name
            .clone()
            .or_else(|| context.server_name.clone()),
        token_file: None,
    }
}

/// The token of the flag. Then that of a context that the command names, so that the token of
/// the environment does not go to a cluster that it is not for; then the one of the
/// environment; then that of the current context.
fn token_of(
    target: &Target,
    context: &Context,
    of_environment: Option<OsString>,
) -> Result<Option<Token>, Error> {
    if let Some(path) = &target.secure.token_file {
        return Ok(Some(Token::from_file(path).named("--token-file")));
    }
    let of_context = context.token_file.as_ref();
    let of_context = of_context.map(|path| Token::from_file(path).named("token_file"));
    let of_environment = of_environment.filter(|token| !token.is_empty());
    match of_environment {
        Some(_) if target.context.is_some() && of_context.is_some() => Ok(of_context),
        None => Ok(of_context),
        Some(token) => match token.into_string() {
            Ok(token) => Ok(Some(Token::new(token).named(TOKEN))),
            Err(_) => Err(Error::Usage(format!(
                "{TOKEN} is not UTF-8; set it to a token, z4_ID_SECRET, or use --token-file"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::ffi::OsStringExt;

    use structopt::StructOpt;

    use super::*;

    fn contexts() -> Contexts {
        let context = |name: &str| Context {
            targets: vec![format!("{name}:1")],
            ca: Some(format!("/{name}/ca").into()),
            cert: Some(format!("/{name}/cert").into()),
            key: Some(format!("/{name}/key").into()),
            server_name: Some(name.into()),
            token_file: Some(format!("/{name}/token").into()),
        };
        let mut contexts = Contexts::default();
        for name in ["prod", "test"] {
            contexts.all.insert(name.into(), context(name));
        }
        contexts.all.insert("bare".into(), Context::default());
        contexts.current = Some("prod".into());
        contexts
    }

    fn reach(flags: &str, contexts: &Contexts, token: &str) -> Result<Reach, String> {
        let words = std::iter::once("z4t").chain(flags.split_whitespace());
        let target = Target::from_iter_safe(words).unwrap();
        by(&target, contexts, Some(token.into())).map_err(|e| {
            assert_eq!(e.exit_code(), 2, "{e}");
            e.to_string()
        })
    }

    fn tls(ca: &str, own: &str, name: &str) -> Option<Tls> {
        let own = own.to_owned();
        let tls = Tls::new(format!("{ca}/ca")).named("--ca", "--cert", "--key");
        let tls = tls.certificate(own.clone() + "/cert", own + "/key");
        Some(tls.server_name(name))
    }

    fn file(path: &str, name: &'static str) -> Option<Token> {
        Some(Token::from_file(path).named(name))
    }

    #[test]
    fn without_a_context_all_is_as_the_flags_say() {
        let none = Contexts::default();
        let bare = reach("", &none, "").unwrap();
        assert_eq!(bare.targets, ["localhost:6355"]);
        assert_eq!((bare.tls, bare.token), (None, None));
        let given = reach("-t a:1 --token-file f", &none, "z4_1_x").unwrap();
        assert_eq!(given.targets, ["a:1"]);
        assert_eq!(given.token, file("f", "--token-file"));
        let token = reach("", &none, "z4_1_x").unwrap().token;
        assert_eq!(token, Some(Token::new("z4_1_x").named("Z4_TOKEN")));
    }

    #[test]
    fn a_context_says_what_flags_do_not() {
        let contexts = contexts();
        let of_current = reach("", &contexts, "").unwrap();
        assert_eq!(of_current.targets, ["prod:1"]);
        assert_eq!(of_current.tls, tls("/prod", "/prod", "prod"));
        assert_eq!(of_current.token, file("/prod/token", "token_file"));
        let mixed = reach(
            "--context prod -t a:1 --ca /x/ca --server-name n --token-file f",
            &contexts,
            "",
        );
        let mixed = mixed.unwrap();
        assert_eq!(mixed.targets, ["a:1"]);
        assert_eq!(mixed.tls, tls("/x", "/prod", "n"));
        assert_eq!(mixed.token, file("f", "--token-file"));
        // Another cluster, named by the command alone, gets nothing of the current context.
        let other = reach("-t a:1", &contexts, "").unwrap();
        assert_eq!((other.tls, other.token), (None, None));
        let own = reach("--cert /x/cert --key /x/key", &contexts, "").unwrap();
        assert_eq!(own.tls, tls("/prod", "/x", "prod"));
        let said = reach("--cert /x/cert", &contexts, "").unwrap_err();
        assert!(said.contains("give --key"), "{said}");
        let bare = reach("--context bare", &contexts, "").unwrap();
        assert_eq!((bare.targets.len(), bare.tls, bare.token), (1, None, None));
    }

    #[test]
    fn the_token_of_the_environment_does_not_go_to_a_context_with_its_own() {
        let contexts = contexts();
        let of_environment = Some(Token::new("z4_1_x").named("Z4_TOKEN"));
        let token = |flags: &str| reach(flags, &contexts, "z4_1_x").unwrap().token;
        assert_eq!(token(""), of_environment);
        assert_eq!(token("--context test"), file("/test/token", "token_file"));
        assert_eq!(token("--context bare"), of_environment);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let said = reach("--context none", &contexts(), "").unwrap_err();
        assert!(
            said.contains("\"none\"") && said.contains("bare, prod, test"),
            "{said}"
        );
        let said = reach("--context none", &Contexts::default(), "").unwrap_err();
        assert!(said.contains("z4t context set"), "{said}");
        let target = Target::from_iter_safe(["z4t"]).unwrap();
        let odd = Some(OsString::from_vec(vec![0xff]));
        let said = by(&target, &contexts(), odd).unwrap_err().to_string();
        assert!(said.contains("Z4_TOKEN is not UTF-8"), "{said}");
    }
}
