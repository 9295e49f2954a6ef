//! Certificates and keys of the ports, and who may go without.

use std::net::IpAddr;
use std::path::PathBuf;

use structopt::StructOpt;
use z4_tls::{ClientAuth, Files, NamedFile, Use};

use super::switch;

/// TLS of all ports.
#[derive(StructOpt, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct TlsOptions {
    /// Certificate of the service and the status port, and those behind it: a PEM file
    #[structopt(long, env = "Z4_TLS_CERT", value_name = "FILE", parse(from_os_str))]
    pub tls_cert: Option<PathBuf>,

    /// Key of that certificate: a PEM file
    #[structopt(long, env = "Z4_TLS_KEY", value_name = "FILE", parse(from_os_str))]
    pub tls_key: Option<PathBuf>,

    /// CAs of the certificates of clients: a PEM file
    #[structopt(
        long,
        env = "Z4_TLS_CLIENT_CA",
        value_name = "FILE",
        parse(from_os_str)
    )]
    pub tls_client_ca: Option<PathBuf>,

    /// Certificates of clients: off, optional or require
    /// [default: require with Z4_TLS_CLIENT_CA, else off]
    #[structopt(
        long,
        env = "Z4_TLS_CLIENT_AUTH",
        value_name = "MODE",
        parse(try_from_str = client_auth)
    )]
    pub tls_client_auth: Option<ClientAuth>,

    /// Certificate of this peer for other peers: a PEM file
    #[structopt(
        long,
        env = "Z4_PEER_TLS_CERT",
        value_name = "FILE",
        parse(from_os_str)
    )]
    pub peer_tls_cert: Option<PathBuf>,

    /// Key of that certificate: a PEM file
    #[structopt(long, env = "Z4_PEER_TLS_KEY", value_name = "FILE", parse(from_os_str))]
    pub peer_tls_key: Option<PathBuf>,

    /// CA of the certificates of all peers: a PEM file
    #[structopt(long, env = "Z4_PEER_TLS_CA", value_name = "FILE", parse(from_os_str))]
    pub peer_tls_ca: Option<PathBuf>,

    /// Names that certificates of peers have, with commas between; *. is one label
    /// [default: each has its own Z4_PEER_ID]
    #[structopt(
        long,
        env = "Z4_PEER_TLS_NAMES",
        value_name = "NAMES",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_tls_names: String,

    /// Open ports without TLS on other addresses than loopback
    #[structopt(
        long,
        env = "Z4_INSECURE",
        value_name = "BOOL",
        default_value = "false",
        parse(try_from_str = switch)
    )]
    pub insecure: bool,
}

fn client_auth(text: &str) -> Result<ClientAuth, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "off" => Ok(ClientAuth::Off),
        "optional" => Ok(ClientAuth::Optional),
        "require" => Ok(ClientAuth::Require),
        _ => Err("give off, optional or require"),
    }
}

impl TlsOptions {
    /// Checks what the argument library does not.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, file) in [
            ("Z4_TLS_CERT", &self.tls_cert),
            ("Z4_TLS_KEY", &self.tls_key),
            ("Z4_TLS_CLIENT_CA", &self.tls_client_ca),
            ("Z4_PEER_TLS_CERT", &self.peer_tls_cert),
            ("Z4_PEER_TLS_KEY", &self.peer_tls_key),
            ("Z4_PEER_TLS_CA", &self.peer_tls_ca),
        ] {
            if file
                .as_ref()
                .is_some_and(|file| file.as_os_str().is_empty())
            {
                return Err(format!(
                    "{name} is set to nothing: give a file, or do not set it to have no TLS there"
                ));
            }
        }
        let (cert, key) = (&self.tls_cert, &self.tls_key);
        let (peer_cert, peer_key) = (&self.peer_tls_cert, &self.peer_tls_key);
        let (client_ca, peer_ca) = (&self.tls_client_ca, &self.peer_tls_ca);
        for (name, given, needed_name, needed, what) in [
            ("Z4_TLS_CERT", cert, "Z4_TLS_KEY", key, "its key"),
            ("Z4_TLS_KEY", key, "Z4_TLS_CERT", cert, "its certificate"),
            (
                "Z4_TLS_CLIENT_CA",
                client_ca,
                "Z4_TLS_CERT",
                cert,
                "the certificate of the port",
            ),
            (
                "Z4_PEER_TLS_CERT",
                peer_cert,
                "Z4_PEER_TLS_KEY",
                peer_key,
                "its key",
            ),
            (
                "Z4_PEER_TLS_CERT",
                peer_cert,
                "Z4_PEER_TLS_CA",
                peer_ca,
                "the CA of all peers",
            ),
            (
                "Z4_PEER_TLS_KEY",
                peer_key,
                "Z4_PEER_TLS_CERT",
                peer_cert,
                "its certificate",
            ),
            (
                "Z4_PEER_TLS_CA",
                peer_ca,
                "Z4_PEER_TLS_CERT",
                peer_cert,
                "a certificate of it",
            ),
        ] {
            if given.is_some() && needed.is_none() {
                return Err(format!(
                    "{name} is set and {needed_name} is not: give {what} too"
                ));
            }
        }
        if self.auth() != ClientAuth::Off && self.tls_client_ca.is_none() {
            return Err(
                "Z4_TLS_CLIENT_AUTH asks clients for certificates, and Z4_TLS_CLIENT_CA is not \
                 set: give the file of the CA that they come from"
                    .to_owned(),
            );
        }
        if !self.peer_tls_names.is_empty() && self.peer_tls_ca.is_none() {
            return Err(
                "Z4_PEER_TLS_NAMES is set and Z4_PEER_TLS_CA is not: names count with TLS \
                 between peers alone"
                    .to_owned(),
            );
        }
        if self.tls_cert.is_none() && self.tls_client_auth.is_some_and(|a| a != ClientAuth::Off) {
            return Err("Z4_TLS_CLIENT_AUTH is set and Z4_TLS_CERT is not".to_owned());
        }
        match self.names().iter().any(String::is_empty) {
            true => Err(format!(
                "Z4_PEER_TLS_NAMES is {:?}: give names with one comma between each two",
                self.peer_tls_names
            )),
            false => Ok(()),
        }
    }

    /// The certificate that is asked of clients.
    pub(crate) fn auth(&self) -> ClientAuth {
        let default = match self.tls_client_ca {
            Some(_) => ClientAuth::Require,
            None => ClientAuth::Off,
        };
        self.tls_client_auth.unwrap_or(default)
    }

    /// The names that certificates of peers have; none: each has its peer id.
    pub(crate) fn names(&self) -> Vec<String> {
        if self.peer_tls_names.is_empty() {
            return Vec::new();
        }
        let names = self.peer_tls_names.split(',');
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// The files of the service and the status port, where they have TLS.
    pub(crate) fn files(&self) -> Option<Files> {
        let own = (self.tls_cert.as_ref()?, self.tls_key.as_ref()?);
        let ca = self.tls_client_ca.as_ref();
        Some(Files {
            usage: Use::Server,
            own: Some((
                NamedFile::new("Z4_TLS_CERT", own.0),
                NamedFile::new("Z4_TLS_KEY", own.1),
            )),
            ca: ca.map(|ca| NamedFile::new("Z4_TLS_CLIENT_CA", ca)),
        })
    }

    /// The files of the peer port and of lanes, where they have TLS.
    pub(crate) fn peer_files(&self) -> Option<Files> {
        let own = (self.peer_tls_cert.as_ref()?, self.peer_tls_key.as_ref()?);
        let ca = self.peer_tls_ca.as_ref()?;
        Some(Files {
            usage: Use::Peer,
            own: Some((
                NamedFile::new("Z4_PEER_TLS_CERT", own.0),
                NamedFile::new("Z4_PEER_TLS_KEY", own.1),
            )),
            ca: Some(NamedFile::new("Z4_PEER_TLS_CA", ca)),
        })
    }

    /// The settings that are missed where a port has no TLS; `None` where all have.
    fn missed(&self) -> Option<&'static str> {
        match (self.files(), self.peer_files()) {
            (Some(_), Some(_)) => None,
            (Some(_), None) => {
                Some("the peer port has no TLS (Z4_PEER_TLS_CERT, Z4_PEER_TLS_KEY, Z4_PEER_TLS_CA)")
            }
            (None, Some(_)) => Some("the service port has no TLS (Z4_TLS_CERT, Z4_TLS_KEY)"),
            (None, None) => Some(
                "no port has TLS (Z4_TLS_CERT, Z4_TLS_KEY, Z4_PEER_TLS_CERT, Z4_PEER_TLS_KEY, \
                 Z4_PEER_TLS_CA)",
            ),
        }
    }

    /// Where the ports are opened when no address is given: ports without TLS stay on
    /// loopback, unless somebody has said that they may leave it.
    pub(super) fn bind_default(&self) -> IpAddr {
        match self.missed() {
            Some(_) if !self.insecure => [127, 0, 0, 1].into(),
            _ => [0, 0, 0, 0].into(),
        }
    }

    /// Refuses to open ports without TLS where strangers may reach them.
    pub(super) fn check_bind(&self, bind: IpAddr) -> Result<(), String> {
        match self.missed() {
            Some(missed) if !self.insecure && !is_loopback(bind) => Err(format!(
                "Z4_BIND_ADDR is {bind}, and {missed}: whoever reaches the ports would own the \
                 cluster; give certificates (z4t certs makes them), or listen on loopback, or set \
                 Z4_INSECURE=true where nobody else reaches the ports"
            )),
            _ => Ok(()),
        }
    }

    /// Tells whether ports that are opened on this address are reached from elsewhere.
    pub(crate) fn is_beyond_loopback(bind: IpAddr) -> bool {
        !is_loopback(bind)
    }

    /// The warning at each start of a peer whose ports strangers may reach.
    pub(crate) fn warning(&self, bind: IpAddr) -> Option<String> {
        let missed = self.missed().filter(|_| !is_loopback(bind))?;
        Some(format!(
            "whoever reaches the ports owns the cluster: {missed}"
        ))
    }
}

fn is_loopback(bind: IpAddr) -> bool {
    bind.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn options(service: bool, peer: bool, insecure: bool) -> TlsOptions {
        let file = |is_set: bool| is_set.then(|| PathBuf::from("f"));
        TlsOptions {
            tls_cert: file(service),
            tls_key: file(service),
            peer_tls_cert: file(peer),
            peer_tls_key: file(peer),
            peer_tls_ca: file(peer),
            insecure,
            ..TlsOptions::default()
        }
    }

    #[test]
    fn ports_without_tls_stay_on_loopback_unless_somebody_says_otherwise() {
        let all: IpAddr = [0, 0, 0, 0].into();
        for (service, peer) in [(false, false), (true, false), (false, true)] {
            let closed = options(service, peer, false);
            assert!(closed.bind_default().is_loopback());
            let said = closed.check_bind(all).unwrap_err();
            assert!(
                said.contains("Z4_INSECURE=true") && said.contains("Z4_BIND_ADDR"),
                "{said}"
            );
            assert!(said.contains("Z4_PEER_TLS_CERT") != peer, "{said}");
            assert!(said.contains("Z4_TLS_CERT") != service, "{said}");
            for address in ["127.0.0.9", "::1", "::ffff:127.0.0.1"] {
                closed.check_bind(address.parse().unwrap()).unwrap();
                assert_eq!(closed.warning(address.parse().unwrap()), None);
            }
            let open = options(service, peer, true);
            assert_eq!(open.bind_default(), all);
            open.check_bind(all).unwrap();
            assert!(open.warning(all).unwrap().contains("owns the cluster"));
        }
        let sealed = options(true, true, false);
        assert_eq!(sealed.bind_default(), all);
        sealed.check_bind(all).unwrap();
        assert_eq!(sealed.warning(all), None);
    }

    #[test]
    fn a_ca_of_clients_asks_for_their_certificates() {
        let mut given = options(true, false, false);
        assert_eq!(given.auth(), ClientAuth::Off);
        given.tls_client_ca = Some("ca".into());
        assert_eq!(given.auth(), ClientAuth::Require);
        given.tls_client_auth = Some(ClientAuth::Optional);
        assert_eq!(given.auth(), ClientAuth::Optional);
        given.tls_client_ca = None;
        assert!(given.check().unwrap_err().contains("Z4_TLS_CLIENT_CA"));
    }
}
