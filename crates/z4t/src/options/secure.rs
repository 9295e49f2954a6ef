//! TLS to the cluster and the token, as flags.

use std::path::PathBuf;

use structopt::StructOpt;
use z4_client::Tls;

use crate::error::Error;

/// The flags that secure connections.
#[derive(StructOpt, Debug)]
pub(crate) struct Secure {
    /// Speak TLS, with peers whose certificates come from a CA in this PEM file
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub ca: Option<PathBuf>,
    /// The certificate to show to peers that ask for one, as PEM
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub cert: Option<PathBuf>,
    /// The key of --cert, as PEM
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub key: Option<PathBuf>,
    /// The name that the certificates of the peers must have, in place of the host of -t
    #[structopt(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// The file with the token that says who you are; else Z4_TOKEN may hold the token itself
    #[structopt(long, value_name = "FILE", parse(from_os_str))]
    pub token_file: Option<PathBuf>,
}

impl Secure {
    /// TLS as the flags say; `None`: in the clear.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Error> {
        let usage = |text: &str| Err(Error::Usage(text.to_owned()));
        let own = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (Some(_), None) => return usage("--cert needs the key of the certificate: give --key"),
            (None, Some(_)) => return usage("--key needs the certificate of the key: give --cert"),
            (None, None) => None,
        };
        let Some(ca) = &self.ca else {
            return match (own, &self.server_name) {
                (Some(_), _) => usage(
                    "--cert is shown to peers of a CA that is trusted alone: give the CA of the \
                     peers by --ca",
                ),
                (None, Some(_)) => usage(
                    "--server-name is looked for in certificates: give the CA of the peers by --ca",
                ),
                (None, None) => Ok(None),
            };
        };
        let mut tls = Tls::new(ca).named("--ca", "--cert", "--key");
        if let Some((cert, key)) = own {
            tls = tls.certificate(cert, key);
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        Ok(Some(tls))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tls(flags: &str) -> Result<Option<Tls>, String> {
        let words = std::iter::once("z4t").chain(flags.split_whitespace());
        let secure = Secure::from_iter_safe(words).unwrap();
        secure.tls().map_err(|error| {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        })
    }

    #[test]
    fn flags_that_miss_another_one_name_it() {
        for (flags, remedy) in [
            ("--cert c --ca a", "give --key"),
            ("--key k --ca a", "give --cert"),
            ("--cert c --key k", "by --ca"),
            ("--server-name n", "by --ca"),
            ("--cert c", "give --key"),
        ] {
            let said = tls(flags).unwrap_err();
            assert!(said.contains(remedy), "{flags}: {said}");
        }
    }

    #[test]
    fn flags_become_the_options_of_the_client() {
        assert_eq!(tls("").unwrap(), None);
        let named = |tls: Tls| Some(tls.named("--ca", "--cert", "--key"));
        assert_eq!(tls("--ca a").unwrap(), named(Tls::new("a")));
        let all = Tls::new("a").certificate("c", "k").server_name("n");
        let flags = "--ca a --cert=c --key k --server-name n";
        assert_eq!(tls(flags).unwrap(), named(all));
    }
}
