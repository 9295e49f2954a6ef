//! The token that says who a client is, and the file that it may stand in.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use grpcio::{CallOption, MetadataBuilder};

use crate::error::{Error, ErrorKind};
use crate::limits;

/// The token that says who a [`crate::Client`] is: `z4_ID_SECRET`, as
/// [`crate::Client::create_token`] gives it, or the token of the first admin. It goes with
/// every call and every stream.
///
/// A token that stands in a file is read when the client connects. Later the file is looked
/// at every few seconds, by a call that is made then, and at once when a peer refuses the
/// token. So a token is exchanged without a restart: write the new one into the file, then
/// revoke the old one. Streams that end with the old one are opened again with the new one.
/// A file that is bad is left alone, and the token that was read before stays in use.
///
/// Without TLS a token is sent to loopback addresses alone (127.0.0.0/8, `::1` and
/// `localhost`), for others could read it on the way.
///
/// # Errors
/// [`crate::Client::connect`] gives `InvalidArgument` for a token that is none, for a file
/// that cannot be used, and for an address that a token is not sent to. No error holds a
/// token, and neither does the form for debugging.
///
/// # Examples
/// ```no_run
/// use z4_client::{Client, Options, Tls, Token};
///
/// # fn main() -> Result<(), z4_client::Error> {
/// # futures::executor::block_on(async {
/// let options = Options {
///     tls: Some(Tls::new("certs/ca.pem")),
///     token: Some(Token::from_file("/run/secrets/z4-token")),
///     ..Options::default()
/// };
/// let client = Client::connect(["10.0.0.1:6355"], options).await?;
/// println!("{}", client.who_am_i().await?.known_by);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    source: Source,
    name: &'static str,
}

#[derive(Clone, PartialEq, Eq)]
enum Source {
    Text(String),
    File(PathBuf),
}

impl Token {
    /// A token that stays the same. Blanks and the ends of lines around it are left out.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            source: Source::Text(text.into()),
            name: "token",
        }
    }

    /// The token in this file, followed as the file changes. Write the file anew under
    /// another name and rename it, so that nobody reads the half of it.
    #[must_use]
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self {
            source: Source::File(path.into()),
            name: "token",
        }
    }

    /// The name that errors give the token, such as that of the flag that it came by.
    /// Default: `token`.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// The value of the header, or why there is none, in words without the token.
    fn header(&self) -> Result<String, String> {
        let name = self.name;
        let (text, place) = match &self.source {
            Source::Text(text) => (text.clone(), name.to_owned()),
            Source::File(path) => {
                let place = format!("{name}: {}", path.display());
                let text = read(path).map_err(|why| format!("{place}: {why}"))?;
                (text, place)
            }
        };
        let token = text.trim();
        check(token).map_err(|why| format!("{place}: {why}"))?;
        Ok(format!("Bearer {token}"))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Text(_) => f.write_str("Token(not shown)"),
            Source::File(path) => f.debug_tuple("Token").field(path).finish(),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let max = limits::TOKEN_FILE_LEN_MAX;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
        .map_err(|e| format!("the file cannot be read: {e}; give a file with the token in it"))?;
    if bytes.len() as u64 > max {
        return Err(format!(
            "the file is longer than {max} bytes; give a file with the token and nothing else"
        ));
    }
    // A byte that is no text is none of a token either.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Checks that it can be sent at all. Which forms there are is the business of peers: the
/// token of the first admin may be any.
fn check(token: &str) -> Result<(), String> {
    const REMEDY: &str = "give the whole token as it was shown when it was made";
    let max = limits::TOKEN_LEN_MAX;
    let why = match token.len() {
        0 => "there is no token in it".to_owned(),
        len if len > max => format!("it is {len} bytes long, and a token {max} at most"),
        _ if !token.bytes().all(|b| b.is_ascii_graphic()) => {
            "it has a blank or another character that no token has".to_owned()
        }
        _ => return Ok(()),
    };
    Err(format!("{why}; {REMEDY}"))
}

/// The number of a token that a call was made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent(u64);

/// The header of all calls, followed as the file of the token changes. Without a token there
/// is none.
pub(crate) struct Followed {
    token: Option<Token>,
    state: Mutex<State>,
}

struct State {
    header: Arc<str>,
    /// The number of the token; it rises with each that is new.
    generation: u64,
    next_look: Instant,
    /// Why the last look at the file was of no use.
    trouble: Option<String>,
}

impl Followed {
    /// Reads the token. With `is_tls` it may go to any of `addresses`.
    pub(crate) fn open(
        token: Option<&Token>,
        addresses: &[String],
        is_tls: bool,
    ) -> Result<Self, Error> {
        let refuse = |message: String| Error::new(ErrorKind::InvalidArgument, message);
        let mut header = String::new();
        if let Some(token) = token {
            let open = addresses.iter().find(|address| !is_loopback(address));
            if let Some(address) = open.filter(|_| !is_tls) {
                return Err(refuse(format!(
                    "{}: {address} is not loopback, and without TLS others could read the token \
                     on the way there; give the CA of the peers, so that TLS is spoken, or give \
                     no token",
                    token.name
                )));
            }
            header = token.header().map_err(refuse)?;
        }
        Ok(Self {
            token: token.cloned(),
            state: Mutex::new(State {
                header: header.into(),
                generation: 1,
                next_look: Instant::now() + limits::TOKEN_LOOK_INTERVAL,
                trouble: None,
            }),
        })
    }

    /// The option that calls are made with now, and which token it holds.
    pub(crate) fn option(&self) -> (CallOption, Sent) {
        self.option_at(Instant::now())
    }

    fn option_at(&self, now: Instant) -> (CallOption, Sent) {
        let is_due = now >= self.state().next_look;
        if is_due {
            self.look(now);
        }
        let state = self.state();
        let sent = Sent(state.generation);
        let mut metadata = MetadataBuilder::with_capacity(1);
        // Without a token the header is empty; a checked one is always taken.
        let is_added =
            !state.header.is_empty() && metadata.add_str("authorization", &state.header).is_ok();
        match is_added {
            true => (CallOption::default().headers(metadata.build()), sent),
            false => (CallOption::default(), sent),
        }
    }

    /// The error as it is after a look at the file, when a peer does not know the token: with
    /// another one in the file the call may be made again.
    pub(crate) fn judge(&self, error: Error, sent: Sent) -> Error {
        if error.kind() != ErrorKind::Unauthenticated || self.token.is_none() {
            return error;
        }
        self.look(Instant::now());
        let state = self.state();
        match (&state.trouble, state.generation > sent.0) {
            (_, true) => error.with_other_token(),
            (Some(trouble), false) => error.with_trouble(trouble),
            (None, false) => error,
        }
    }

    fn look(&self, now: Instant) {
        let Some(token) = &self.token else { return };
        if matches!(token.source, Source::Text(_)) {
            return;
        }
        // Other calls do not wait for the file meanwhile.
        self.state().next_look = now + limits::TOKEN_LOOK_INTERVAL;
        let read = token.header();
        let mut state = self.state();
        match read {
            Ok(header) => {
                if *header != *state.header {
                    state.header = header.into();
                    state.generation += 1;
                }
                state.trouble = None;
            }
            Err(why) => state.trouble = Some(why),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether what is sent to `address` stays on this machine.
fn is_loopback(address: &str) -> bool {
    let Some((host, _)) = address.rsplit_once(':') else {
        return false;
    };
    let bare = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inner) => inner,
        // Without brackets the last part may belong to the address.
        None if host.contains(':') => return false,
        None => host,
    };
    let ip = bare.parse::<IpAddr>().map(|ip| ip.to_canonical());
    bare.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
