//! TLS of the peers under test: one CA of this process, and who speaks it.
//!
//! `Z4_E2E_TLS=1` has all peers show certificates on every port and ask for those of
//! their clients; tests of TLS ask for it themselves ([`PeerSpec::sealed`]). Everything
//! that connects looks the address up here, so that a test is the same text both ways.
//!
//! [`PeerSpec::sealed`]: crate::PeerSpec::sealed

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use grpcio::{ChannelCredentials, ChannelCredentialsBuilder};
use tempfile::TempDir;
use z4_tls::{Authority, Connector, Files, Issued, Material, NamedFile, Role, Use};

/// Tells whether all peers are to speak TLS.
#[must_use]
pub fn is_switched_on() -> bool {
    std::env::var("Z4_E2E_TLS").is_ok_and(|value| value == "1")
}

/// Certificates of one CA, in a folder.
pub struct Pki {
    folder: TempDir,
    ca: Authority,
}

/// A certificate and its key, as files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Own {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Own {
    fn written(folder: &Path, name: &str, issued: &Issued) -> Self {
        let own = Self {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}-key.pem")),
        };
        own.overwrite(issued);
        own
    }

    /// Puts another certificate and its key into the files, each at once.
    pub fn overwrite(&self, issued: &Issued) {
        overwrite(&self.cert, &issued.cert_pem);
        overwrite(&self.key, &issued.key_pem);
    }
}

/// Puts other contents into a file, at once: a reader has the old ones or the new ones.
pub fn overwrite(path: &Path, contents: &[u8]) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, contents).expect("the folder is ours");
    std::fs::rename(&fresh, path).expect("the folder is ours");
}

/// Peers warn of a certificate that runs out within 14 days, and `z4t doctor` names it.
const MONTH_DAYS: u32 = 30;

/// Seconds since 1970.
#[must_use]
pub fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is behind 1970").as_secs() as i64
}

impl Pki {
    /// A CA of this name, good for a month.
    ///
    /// # Panics
    /// When it cannot be made or written.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let pki = Self {
            folder: TempDir::with_prefix("z4-e2e-tls-").expect("a folder for certificates"),
            ca: Authority::create(name, MONTH_DAYS, now_s()).expect("OpenSSL makes a CA"),
        };
        overwrite(&pki.ca_file(), &pki.ca_pem());
        pki
    }

    /// The file of the CA.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The certificate of the CA.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        self.ca.to_pem().expect("OpenSSL writes a CA").cert_pem
    }

    /// A certificate for `name`, for its host name in tests, and for loopback, made now and
    /// good for a month.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issue(&self, role: Role, name: &str) -> Issued {
        self.issue_for(MONTH_DAYS, role, name, now_s())
    }

    /// A certificate like that of [`Self::issue`], good for a day from `from_s` on.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issue_at(&self, role: Role, name: &str, from_s: i64) -> Issued {
        self.issue_for(1, role, name, from_s)
    }

    fn issue_for(&self, days: u32, role: Role, name: &str, from_s: i64) -> Issued {
        let mut others = ["localhost", "::1"].map(str::to_owned).to_vec();
        others.push(format!("{name}.z4.test"));
        others.extend((1..50).flat_map(|n| [format!("127.0.0.{n}"), format!("127.0.7.{n}")]));
        let issued = self.ca.issue(role, name, &others, days, from_s);
        issued.expect("OpenSSL makes a certificate")
    }

    /// A certificate for `name` as files of that name, which are there until this is dropped.
    #[must_use]
    pub fn files(&self, role: Role, name: &str) -> Own {
        self.files_of(role, name, name)
    }

    /// A certificate for `name` as files of another name.
    #[must_use]
    pub fn files_of(&self, role: Role, name: &str, file: &str) -> Own {
        Own::written(self.folder.path(), file, &self.issue(role, name))
    }

    /// The variables of a server that shows this certificate on every port, and lets in
    /// who comes from this CA.
    #[must_use]
    pub fn variables(&self, own: &Own) -> Vec<(String, String)> {
        let ca = self.ca_file();
        [
            ("Z4_TLS_CERT", &own.cert),
            ("Z4_TLS_KEY", &own.key),
            ("Z4_TLS_CLIENT_CA", &ca),
            ("Z4_PEER_TLS_CERT", &own.cert),
            ("Z4_PEER_TLS_KEY", &own.key),
            ("Z4_PEER_TLS_CA", &ca),
        ]
        .map(|(name, path)| (name.to_owned(), path.display().to_string()))
        .to_vec()
    }

    /// The credentials of a client that trusts this CA alone.
    #[must_use]
    pub fn credentials(&self, shown: Option<&Issued>) -> ChannelCredentials {
        let builder = ChannelCredentialsBuilder::new().root_cert(self.ca_pem());
        match shown {
            Some(own) => builder.cert(own.cert_pem.clone(), own.key_pem.clone()),
            None => builder,
        }
        .build()
    }
}

/// The CA of all peers under test, and the certificate that all clients here show. It
/// names peers too, because tests play them.
pub struct Shared {
    /// The CA.
    pub pki: Pki,
    /// The certificate of clients.
    pub client: Issued,
    /// The certificate of clients as files.
    pub client_files: Own,
    connector: Connector,
}

/// The certificates that all peers and clients of this process share.
///
/// # Panics
/// When there is no room for a few files.
pub fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let pki = Pki::new("z4-e2e");
        let mut names = vec!["z4-e2e-client".to_owned()];
        names.extend((1..10).map(|n| format!("peer{n}")));
        let issued = pki
            .ca
            .issue(Role::Peer, &names[0], &names[1..], MONTH_DAYS, now_s());
        let issued = issued.expect("OpenSSL makes a certificate");
        let client_files = Own::written(pki.folder.path(), "client", &issued);
        let own = (
            NamedFile::new("cert", &client_files.cert),
            NamedFile::new("key", &client_files.key),
        );
        let files = Files {
            usage: Use::Client,
            own: Some(own),
            ca: Some(NamedFile::new("ca", pki.ca_file())),
        };
        let material = Material::read(&files).expect("the files are good");
        Shared {
            connector: Connector::new(&material).expect("the certificate is good"),
            client: issued,
            client_files,
            pki,
        }
    })
}

/// Ports, for a peer is reached by several names and addresses of loopback.
fn sealed() -> MutexGuard<'static, HashSet<u16>> {
    static SEALED: OnceLock<Mutex<HashSet<u16>>> = OnceLock::new();
    let sealed = SEALED.get_or_init(Mutex::default).lock();
    sealed.unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a peer speaks TLS at this port from now on.
pub fn seal(port: u16) {
    sealed().insert(port);
}

/// Tells whether a peer speaks TLS there.
#[must_use]
pub fn is_sealed(address: &str) -> bool {
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    port.is_some_and(|port| sealed().contains(&port))
}

/// The credentials that a client shows at this address; `None` where no TLS is spoken.
#[must_use]
pub fn credentials(address: &str) -> Option<ChannelCredentials> {
    let shared = is_sealed(address).then(shared)?;
    Some(shared.pki.credentials(Some(&shared.client)))
}

/// The options with which a client of the crate reaches these addresses.
#[must_use]
pub fn options(addresses: &[String]) -> z4_client::Options {
    let is_sealed = addresses.iter().any(|address| is_sealed(address));
    let tls = is_sealed.then(|| {
        let shared = shared();
        let own = &shared.client_files;
        z4_client::Tls::new(shared.pki.ca_file()).certificate(&own.cert, &own.key)
    });
    z4_client::Options {
        tls,
        ..z4_client::Options::default()
    }
}

/// Has a command of z4t, which has no words yet, speak TLS, if one of those that it will
/// have is an address where it is spoken.
pub fn prepare<'a>(command: &mut Command, words: impl IntoIterator<Item = &'a str>) {
    if words.into_iter().any(is_sealed) {
        let shared = shared();
        command
            .arg("--ca")
            .arg(shared.pki.ca_file())
            .arg("--cert")
            .arg(&shared.client_files.cert)
            .arg("--key")
            .arg(&shared.client_files.key);
    }
}

/// A connection for HTTP/2, sealed where TLS is spoken: a server of gRPC wants to be told of
/// HTTP/2 in the handshake.
///
/// # Errors
/// Why there is no handshake.
pub fn http2(address: &str, socket: TcpStream) -> std::io::Result<Box<dyn Wire>> {
    if !is_sealed(address) {
        return Ok(Box::new(socket));
    }
    let connector = shared().connector.clone().for_http2();
    let stream = connector.connect("127.0.0.1", socket)?;
    Ok(Box::new(stream))
}

/// A connection, sealed where TLS is spoken.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

/// The connection of a socket that leads to this address.
///
/// # Errors
/// Why there is no handshake.
pub fn wire(address: &str, socket: TcpStream) -> std::io::Result<Box<dyn Wire>> {
    if !is_sealed(address) {
        return Ok(Box::new(socket));
    }
    let stream = shared().connector.connect("127.0.0.1", socket)?;
    Ok(Box::new(stream))
}
