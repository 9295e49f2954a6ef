//! The names in a certificate.

use std::net::IpAddr;

use openssl::x509::X509Ref;

/// The subject alternative names of a certificate. Its common name is never looked at:
/// RFC 6125 gave it up, and proxies put into it what they like.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Names {
    /// DNS names, in lower case.
    pub dns: Vec<String>,
    /// URIs, as they stand there.
    pub uris: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
}

impl Names {
    /// The names of a certificate.
    pub(crate) fn of(certificate: &X509Ref) -> Self {
        let mut names = Self::default();
        for name in certificate.subject_alt_names().into_iter().flatten() {
            if let Some(dns) = name.dnsname() {
                names.dns.push(dns.to_ascii_lowercase());
            }
            if let Some(uri) = name.uri() {
                names.uris.push(uri.to_owned());
            }
            if let Some(ip) = name.ipaddress() {
                names.ips.extend(read_ip(ip));
            }
        }
        names
    }

    /// Tells whether one of the names is `wanted`: a URI or an IP address as it is, a DNS
    /// name in any case, and `*.` for one label of any DNS name.
    #[must_use]
    pub fn has(&self, wanted: &str) -> bool {
        if let Ok(ip) = wanted.parse::<IpAddr>() {
            return self.ips.contains(&ip);
        }
        // A URI has a colon and a DNS name has none: one kind is never taken for the other.
        if wanted.contains(':') {
            return self.uris.iter().any(|uri| uri == wanted);
        }
        let wanted = wanted.to_ascii_lowercase();
        let fits = |dns: &String| match wanted.strip_prefix("*.") {
            Some(domain) => dns.split_once('.').is_some_and(|(_, rest)| rest == domain),
            None => *dns == wanted,
        };
        self.dns.iter().any(fits)
    }

    /// All of them, for a person.
    #[must_use]
    pub fn text(&self) -> String {
        let ips = self.ips.iter().map(ToString::to_string);
        let all = self.dns.iter().chain(&self.uris).cloned().chain(ips);
        let all: Vec<String> = all.collect();
        match all.is_empty() {
            true => "no name".to_owned(),
            false => all.join(", "),
        }
    }
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}
