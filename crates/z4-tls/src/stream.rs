//! TLS on sockets that are z4's own: the lanes between peers, and the status port.
//!
//! A session is never resumed: connections here live long, and a resumed one would be let
//! in by a certificate that may have been replaced since.

use std::io::{self, Read, Write};

use openssl::error::ErrorStack;
use openssl::ssl::{
    HandshakeError, SslAcceptor, SslConnector, SslMethod, SslOptions, SslSessionCacheMode,
    SslStream, SslVerifyMode,
};
use openssl::stack::Stack;
use openssl::x509::X509Name;

use crate::files::FileError;
use crate::material::Material;
use crate::names::Names;

/// The certificate that a server asks of its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// No certificate.
    Off,
    /// One, if there is one: it must come from the CAs of the clients then.
    Optional,
    /// One that comes from the CAs of the clients.
    Require,
}

/// The end that is connected to.
#[derive(Clone)]
pub struct Server {
    acceptor: SslAcceptor,
}

impl Server {
    /// A server that shows this certificate.
    ///
    /// # Errors
    /// There is no certificate of its own in the material, or OpenSSL refuses it.
    pub fn new(material: &Material, auth: ClientAuth) -> Result<Self, FileError> {
        Self::build(material, auth).map_err(refused)
    }

    fn build(material: &Material, auth: ClientAuth) -> Result<Self, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        if let (Some(key), [own, behind @ ..]) = (&material.key, &material.chain[..]) {
            builder.set_private_key(key)?;
            builder.set_certificate(own)?;
            for one in behind {
                builder.add_extra_chain_cert(one.clone())?;
            }
        }
        builder.check_private_key()?;
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        builder.set_options(SslOptions::NO_TICKET);
        builder.set_num_tickets(0)?;
        let verify = match auth {
            ClientAuth::Off => SslVerifyMode::NONE,
            ClientAuth::Optional => SslVerifyMode::PEER,
            ClientAuth::Require => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        };
        builder.set_verify(verify);
        if auth != ClientAuth::Off {
            let mut names: Stack<X509Name> = Stack::new()?;
            for ca in &material.ca {
                names.push(ca.subject_name().to_owned()?)?;
            }
            builder.set_client_ca_list(names);
            builder.set_cert_store(material.store()?);
        }
        let acceptor = builder.build();
        Ok(Self { acceptor })
    }

    /// Does the handshake of a connection that was accepted. Blocks as long as the socket
    /// does.
    ///
    /// # Errors
    /// Why there is no connection, for a person.
    pub fn accept<S: Read + Write>(&self, socket: S) -> io::Result<Stream<S>> {
        match self.acceptor.accept(socket) {
            Ok(stream) => Ok(Stream(stream)),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The end that connects.
#[derive(Clone)]
pub struct Connector {
    connector: SslConnector,
    protocols: &'static [u8],
}

impl Connector {
    /// A client that trusts the CAs of this material alone, and shows its certificate if
    /// there is one.
    ///
    /// # Errors
    /// OpenSSL refuses the certificate.
    pub fn new(material: &Material) -> Result<Self, FileError> {
        Self::build(material).map_err(refused)
    }

    fn build(material: &Material) -> Result<Self, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_cert_store(material.store()?);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        if let (Some(key), [own, behind @ ..]) = (&material.key, &material.chain[..]) {
            builder.set_private_key(key)?;
            builder.set_certificate(own)?;
            for one in behind {
                builder.add_extra_chain_cert(one.clone())?;
            }
        }
        Ok(Self {
            connector: builder.build(),
            protocols: &[],
        })
    }

    /// This connector for HTTP/2, which is named in the handshake (ALPN, RFC 7301).
    #[must_use]
    pub fn for_http2(self) -> Self {
        Self {
            protocols: b"\x02h2",
            ..self
        }
    }

    /// Does the handshake of a connection that leads to `host`, a DNS name or an IP
    /// address, which the certificate of the other side must have among its names. Blocks
    /// as long as the socket does.
    ///
    /// # Errors
    /// Why there is no connection, for a person.
    pub fn connect<S: Read + Write>(&self, host: &str, socket: S) -> io::Result<Stream<S>> {
        let mut configured = self.connector.configure().map_err(io::Error::other)?;
        if !self.protocols.is_empty() {
            let named = configured.set_alpn_protos(self.protocols);
            named.map_err(io::Error::other)?;
        }
        match configured.connect(host, socket) {
            Ok(stream) => Ok(Stream(stream)),
            Err(error) => Err(failed(error)),
        }
    }
}

/// A connection behind its handshake. Reads give what the other side wrote, and writes
/// seal it; both block as the socket does.
pub struct Stream<S>(SslStream<S>);

impl<S: Read + Write> Stream<S> {
    /// The socket that carries the stream.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        self.0.get_ref()
    }

    /// The socket that carries the stream.
    pub fn get_mut(&mut self) -> &mut S {
        self.0.get_mut()
    }

    /// The names in the certificate of the other side; none where it showed none.
    #[must_use]
    pub fn names(&self) -> Names {
        let certificate = self.0.ssl().peer_certificate();
        certificate
            .map(|certificate| Names::of(&certificate))
            .unwrap_or_default()
    }

    /// Tells the other side that nothing more comes. Once it was told, nothing can be
    /// written.
    pub fn say_end(&mut self) {
        // The other side may be gone, and learns of the end by that of the socket.
        let _ = self.0.shutdown();
    }
}

impl<S: Read + Write> Read for Stream<S> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl<S: Read + Write> Write for Stream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn refused(error: ErrorStack) -> FileError {
    FileError(format!("OpenSSL refuses the certificate: {error}"))
}

fn failed<S>(error: HandshakeError<S>) -> io::Error {
    let error = match error {
        HandshakeError::SetupFailure(error) => return io::Error::other(error),
        HandshakeError::Failure(half) | HandshakeError::WouldBlock(half) => {
            let verified = half.ssl().verify_result().error_string();
            let is_verified = half.ssl().verify_result().as_raw() == 0;
            let error = half.into_error();
            if !is_verified {
                return io::Error::other(format!("the certificate of the other side: {verified}"));
            }
            error
        }
    };
    match error.into_io_error() {
        Ok(error) => error,
        Err(error) => io::Error::other(format!("no TLS handshake: {error}")),
    }
}
