//! TLS at the ports of gRPC and between peers: what is shown, and who is let in.
//!
//! gRPC does handshakes by itself. It asks for the certificate of the other side and has
//! it verified; whose it is, is looked at here, with each call that another peer makes.

use std::sync::Arc;

use grpcio::{
    CertificateRequestType, ChannelCredentials, ChannelCredentialsBuilder, RpcContext, RpcStatus,
    RpcStatusCode, ServerCredentials, ServerCredentialsBuilder,
};
use z4_tls::{ClientAuth, Connector, FileError, Material, Names, Server, Watched};

use crate::limits;

/// TLS of a port of gRPC.
#[derive(Clone)]
pub struct PortTls {
    /// The certificate that is shown, and the CAs of those who connect.
    pub watched: Arc<Watched>,
    /// The certificate that is asked of those who connect.
    pub auth: ClientAuth,
}

/// TLS between peers: each shows its certificate to the other.
#[derive(Clone)]
pub struct PeerTls {
    /// The certificate that this peer shows, and the CA of all peers.
    pub watched: Arc<Watched>,
    /// Names of which a certificate must have one to be that of a peer. With none, it must
    /// have the id of the peer that it opens a stream for.
    pub names: Vec<String>,
}

impl PeerTls {
    /// The peer port's.
    #[must_use]
    pub fn port(&self) -> PortTls {
        PortTls {
            watched: Arc::clone(&self.watched),
            auth: ClientAuth::Require,
        }
    }

    /// The end of a lane that is connected to.
    pub(crate) fn server(&self) -> Result<Server, FileError> {
        Server::new(&self.watched.current().1, ClientAuth::Require)
    }

    /// The end of a lane that connects.
    pub(crate) fn connector(&self) -> Result<Connector, FileError> {
        Connector::new(&self.watched.current().1)
    }

    /// The credentials that a connection to another peer shows.
    pub(crate) fn channel(&self) -> ChannelCredentials {
        channel_credentials(&self.watched.current().1)
    }

    /// Lets a certificate with these names in as that of some peer, or says why not.
    pub(crate) fn check(&self, names: &Names) -> Result<(), String> {
        if self.names.is_empty() || self.names.iter().any(|name| names.has(name)) {
            return Ok(());
        }
        Err(format!(
            "a certificate for {} is not that of a peer: Z4_PEER_TLS_NAMES lists {}",
            shown(names),
            self.names.join(", ")
        ))
    }

    /// Lets a certificate with these names open a stream for this peer, or says why not.
    pub(crate) fn check_peer_id(&self, names: &Names, peer_id: &str) -> Result<(), String> {
        if !self.names.is_empty() || names.has(peer_id) {
            return Ok(());
        }
        Err(format!(
            "a certificate for {} is not that of {peer_id}: give {peer_id} a certificate with its \
             peer id among the names, or list in Z4_PEER_TLS_NAMES what peers are called",
            shown(names)
        ))
    }
}

/// The names of a certificate for an error. What the other side wrote is bounded there.
fn shown(names: &Names) -> String {
    let text = names.text();
    text.chars()
        .take(limits::CERTIFICATE_NAMES_LEN_MAX)
        .collect()
}

/// The caller of a method of the peer port: the names of its certificate, where TLS is on.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    tls: Option<(PeerTls, Names)>,
}

impl Caller {
    /// The caller of this call, if its certificate is that of a peer.
    pub(crate) fn of(tls: Option<&PeerTls>, ctx: &RpcContext<'_>) -> Result<Self, RpcStatus> {
        let Some(tls) = tls else {
            return Ok(Self::default());
        };
        let names = names_of(ctx).unwrap_or_default();
        tls.check(&names).map_err(refuse)?;
        let tls = Some((tls.clone(), names));
        Ok(Self { tls })
    }

    /// Lets the caller open a stream for this peer, or says why not.
    pub(crate) fn check_peer_id(&self, peer_id: &str) -> Result<(), RpcStatus> {
        match &self.tls {
            Some((tls, names)) => tls.check_peer_id(names, peer_id).map_err(refuse),
            None => Ok(()),
        }
    }
}

fn refuse(why: String) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::PERMISSION_DENIED, why)
}

/// The names in the certificate of the caller, as gRPC has verified it: no names where it
/// showed none, and `None` where it came in the clear.
pub(crate) fn names_of(ctx: &RpcContext<'_>) -> Option<Names> {
    let mut shown = Shown::default();
    for property in &ctx.auth_context()? {
        // A name that is not text is nobody's.
        if let Ok(value) = property.value_str() {
            shown.add(property.name(), value);
        }
    }
    shown.names()
}

/// The facts that gRPC tells of the other end of a connection.
#[derive(Default)]
struct Shown {
    names: Names,
    is_sealed: bool,
    is_resumed: bool,
    /// The certificate as a PEM text.
    certificate: Option<String>,
}

impl Shown {
    fn add(&mut self, property: &str, value: &str) {
        let names = &mut self.names;
        match property {
            "peer_dns" => names.dns.push(value.to_ascii_lowercase()),
            "peer_uri" => names.uris.push(value.to_owned()),
            "peer_ip" => names.ips.extend(value.parse::<std::net::IpAddr>().ok()),
            "transport_security_type" => self.is_sealed = value == "ssl",
            "ssl_session_reused" => self.is_resumed = value == "true",
            "x509_pem_cert" => self.certificate = Some(value.to_owned()),
            _ => {}
        }
    }

    fn names(self) -> Option<Names> {
        // Whoever resumes a session is not asked for its certificate again.
        let is_over = |pem: String| z4_tls::is_over(pem.as_bytes());
        let names = match self.is_resumed && self.certificate.is_none_or(is_over) {
            true => Names::default(),
            false => self.names,
        };
        self.is_sealed.then_some(names)
    }
}

/// The credentials that a server of gRPC shows, and those that it asks for.
pub(crate) fn server_credentials(tls: Option<&PortTls>) -> ServerCredentials {
    let Some(tls) = tls else {
        return ServerCredentials::insecure();
    };
    let (_, material) = tls.watched.current();
    let request = match tls.auth {
        ClientAuth::Off => CertificateRequestType::DontRequestClientCertificate,
        ClientAuth::Optional => CertificateRequestType::RequestClientCertificateAndVerify,
        ClientAuth::Require => CertificateRequestType::RequestAndRequireClientCertificateAndVerify,
    };
    let mut builder = ServerCredentialsBuilder::new();
    if tls.auth != ClientAuth::Off {
        builder = builder.root_cert(material.ca_pem(), request);
    }
    if let Some((cert, key)) = material.own_pem() {
        builder = builder.add_cert(cert.to_vec(), key.to_vec());
    }
    builder.build()
}

fn channel_credentials(material: &Material) -> ChannelCredentials {
    let mut builder = ChannelCredentialsBuilder::new().root_cert(material.ca_pem().to_vec());
    if let Some((cert, key)) = material.own_pem() {
        builder = builder.cert(cert.to_vec(), key.to_vec());
    }
    builder.build()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::{SystemTime, UNIX_EPOCH};

    use z4_tls::{Authority, Files, NamedFile, Role, Use};

    use super::*;

    fn now_s() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since.as_secs() as i64
    }

    /// TLS of `peer1`, which takes certificates with these names.
    pub(crate) fn tls(names: &[&str]) -> PeerTls {
        let dir = tempfile::tempdir().unwrap();
        let now_s = now_s();
        let ca = Authority::create("ca", 1, now_s).unwrap();
        let own = ca.issue(Role::Peer, "peer1", &[], 1, now_s).unwrap();
        let put = |name: &str, text: &[u8]| {
            std::fs::write(dir.path().join(name), text).unwrap();
            NamedFile::new("a file", dir.path().join(name))
        };
        let watched = Watched::open(Files {
            usage: Use::Peer,
            own: Some((put("cert", &own.cert_pem), put("key", &own.key_pem))),
            ca: Some(put("ca", &ca.to_pem().unwrap().cert_pem)),
        });
        PeerTls {
            watched: Arc::new(watched.unwrap()),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn dns(name: &str) -> Names {
        Names {
            dns: vec![name.to_owned()],
            ..Names::default()
        }
    }

    #[test]
    fn without_a_list_a_certificate_opens_streams_for_the_peer_that_it_names() {
        let tls = tls(&[]);
        tls.check(&dns("anybody")).unwrap();
        tls.check_peer_id(&dns("peer1"), "peer1").unwrap();
        let said = tls.check_peer_id(&dns("peer2"), "peer1").unwrap_err();
        assert!(said.contains("not that of peer1"), "{said}");
        let said = tls.check_peer_id(&Names::default(), "peer1").unwrap_err();
        assert!(said.contains("no name"), "{said}");
    }

    #[test]
    fn a_list_says_which_certificates_are_those_of_peers() {
        let tls = tls(&["*.peers.example", "10.0.0.7"]);
        tls.check(&dns("z4-0.peers.example")).unwrap();
        let any = tls.check_peer_id(&dns("z4-0.peers.example"), "peer1");
        assert_eq!(any, Ok(()));
        for names in [dns("peers.example"), dns("web.example"), Names::default()] {
            let said = tls.check(&names).unwrap_err();
            assert!(said.contains("Z4_PEER_TLS_NAMES"), "{said}");
        }
    }

    /// The names of who shows this certificate, as gRPC tells of it.
    fn shown(is_sealed: bool, is_resumed: bool, certificate: Option<&str>) -> Option<Names> {
        let mut shown = Shown::default();
        if is_sealed {
            shown.add("transport_security_type", "ssl");
        }
        shown.add("ssl_session_reused", &is_resumed.to_string());
        if let Some(pem) = certificate {
            shown.add("peer_dns", "Peer1");
            shown.add("x509_pem_cert", pem);
        }
        shown.names()
    }

    #[test]
    fn a_certificate_that_ran_out_names_nobody_in_a_resumed_session() {
        const DAY_S: i64 = 86_400;
        let pem = |from_s: i64| {
            let ca = Authority::create("ca", 30, from_s).unwrap();
            let own = ca.issue(Role::Peer, "peer1", &[], 30, from_s).unwrap();
            String::from_utf8(own.cert_pem).unwrap()
        };
        let (good, over) = (pem(now_s()), pem(now_s() - 31 * DAY_S));
        let named = Some(dns("peer1"));
        let nobody = Some(Names::default());
        assert_eq!(shown(true, true, Some(&good)), named);
        assert_eq!(shown(true, true, Some(&over)), nobody);
        assert_eq!(shown(true, true, None), nobody);
        assert_eq!(shown(true, true, Some("no certificate")), nobody);
        // gRPC has verified it in the handshake of this very connection.
        assert_eq!(shown(true, false, Some(&over)), named);
        assert_eq!(shown(false, false, Some(&good)), None);
    }

    #[test]
    fn what_a_stranger_wrote_into_its_certificate_is_bounded_in_errors() {
        let said = tls(&["a"]).check(&dns(&"x".repeat(100_000))).unwrap_err();
        assert!(said.len() < 1_000, "{}", said.len());
    }
}
