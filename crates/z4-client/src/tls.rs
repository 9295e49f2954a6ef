//! TLS to peers: whom a client trusts, who it is, and the files that say so.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use grpcio::{ChannelBuilder, ChannelCredentialsBuilder};
use z4_tls::{FileError, Files, Looked, NamedFile, Use, Watched};

use crate::error::{Error, ErrorKind};
use crate::limits;

/// The TLS settings of a [`crate::Client`]: the CA of the peers, and, where they ask for one,
/// a certificate of its own. All files are PEM.
///
/// The address that the client dials has to be among the names of the peer's certificate,
/// unless [`Tls::server_name`] says which name has to be there.
///
/// The files are read when the client connects. Later they are looked at every few
/// seconds, by a call that is made then and that waits for the reads. When they have
/// changed, the next call of each address uses a new connection; streams that are open go
/// on over the old one. Files that are bad are left alone, and what was read before stays
/// in use.
///
/// gRPC writes a line to standard error for each handshake that fails. `GRPC_VERBOSITY=NONE`
/// in the environment keeps it silent; errors of the client say what is wrong all the same.
///
/// # Errors
/// [`crate::Client::connect`] gives `InvalidArgument` for a file that cannot be used, and
/// says which file, the line, and what to do.
///
/// # Examples
/// ```no_run
/// use z4_client::{Client, Options, Tls};
///
/// # fn main() -> Result<(), z4_client::Error> {
/// # futures::executor::block_on(async {
/// let tls = Tls::new("certs/ca.pem").certificate("certs/mailer.pem", "certs/mailer-key.pem");
/// let options = Options {
///     tls: Some(tls),
///     ..Options::default()
/// };
/// let client = Client::connect(["10.0.0.1:6355"], options).await?;
/// # client.health().await
/// # })
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    ca: PathBuf,
    own: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
    names: [&'static str; 3],
}

impl Tls {
    /// TLS with peers whose certificates come from one of the CAs in this file. The CAs of
    /// the system are not trusted beside them.
    #[must_use]
    pub fn new(ca: impl Into<PathBuf>) -> Self {
        Self {
            ca: ca.into(),
            own: None,
            server_name: None,
            names: ["ca", "cert", "key"],
        }
    }

    /// The certificate that the client shows to peers that ask for one, with those that
    /// lead to its CA behind it, and the file of its key.
    #[must_use]
    pub fn certificate(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.own = Some((cert.into(), key.into()));
        self
    }

    /// The name that the certificate of every peer must have, in place of the address that
    /// is dialled: a DNS name or an IP address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The names that errors give the three files, such as those of the flags that they
    /// came by. Default: `ca`, `cert` and `key`.
    #[must_use]
    pub fn named(mut self, ca: &'static str, cert: &'static str, key: &'static str) -> Self {
        self.names = [ca, cert, key];
        self
    }

    fn files(&self) -> Files {
        let [ca, cert, key] = self.names;
        let own = |(c, k): &(PathBuf, PathBuf)| (NamedFile::new(cert, c), NamedFile::new(key, k));
        Files {
            usage: Use::Client,
            own: self.own.as_ref().map(own),
            ca: Some(NamedFile::new(ca, &self.ca)),
        }
    }

    fn check_server_name(&self) -> Result<(), Error> {
        let Some(name) = &self.server_name else {
            return Ok(());
        };
        let max = limits::SERVER_NAME_LEN_MAX;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if name.is_empty() || name.len() > max || !name.chars().all(is_plain) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "server_name is {name:?}; give a DNS name or an IP address of 1 to {max} \
                     characters that the certificates of the peers have"
                ),
            ));
        }
        Ok(())
    }
}

/// The parts that channels with TLS are made of, followed as its files change.
pub(crate) struct Followed {
    watched: Watched,
    server_name: Option<String>,
    state: Mutex<State>,
}

struct State {
    next_look: Instant,
    /// The trouble with the files at the last look.
    trouble: Option<FileError>,
}

impl Followed {
    /// Reads the files.
    pub(crate) fn open(tls: &Tls) -> Result<Self, Error> {
        tls.check_server_name()?;
        let watched = Watched::open(tls.files())
            .map_err(|e| Error::new(ErrorKind::InvalidArgument, e.to_string()))?;
        Ok(Self {
            watched,
            server_name: tls.server_name.clone(),
            state: Mutex::new(State {
                next_look: Instant::now() + limits::TLS_LOOK_INTERVAL,
                trouble: None,
            }),
        })
    }

    /// The number of the material that is in use at `now`. Looks at the files first, unless
    /// that was done a moment ago.
    pub(crate) fn generation(&self, now: Instant) -> u64 {
        let is_due = {
            let mut state = self.state();
            let is_due = now >= state.next_look;
            if is_due {
                state.next_look = now + limits::TLS_LOOK_INTERVAL;
            }
            is_due
        };
        // Other calls do not wait for the files meanwhile.
        if is_due {
            let trouble = match self.watched.look() {
                Looked::Bad(error) => Some(error),
                Looked::Same | Looked::New(_) => None,
            };
            self.state().trouble = trouble;
        }
        self.watched.current().0
    }

    /// The trouble with the files at the last look; `None`: there was none.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.state().trouble.as_ref().map(ToString::to_string)
    }

    /// A builder of channels that have the material in use, and the number of that.
    pub(crate) fn arm(&self, builder: ChannelBuilder) -> (ChannelBuilder, u64) {
        let (generation, material) = self.watched.current();
        let mut credentials = ChannelCredentialsBuilder::new().root_cert(material.ca_pem().into());
        if let Some((cert, key)) = material.own_pem() {
            credentials = credentials.cert(cert.into(), key.into());
        }
        let mut builder = builder.set_credentials(credentials.build());
        if let Some(name) = &self.server_name {
            builder = builder.override_ssl_target(name.as_str());
        }
        (builder, generation)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
