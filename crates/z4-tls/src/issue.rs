//! A small CA: what a cluster of a few peers needs to have TLS, and no more.
//!
//! Keys are of the curve P-256, certificates version 3 with the extensions that RFC 5280
//! asks for. There is no revocation: certificates are made for a year, and replaced.

use std::net::IpAddr;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509Builder, X509Name, X509NameBuilder, X509};

/// The role that a certificate is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A peer: it serves, and it dials other peers.
    Peer,
    /// A client: it dials.
    Client,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: Vec<u8>,
    /// Its key. Whoever reads it is who the certificate names.
    pub key_pem: Vec<u8>,
}

/// A CA with its key.
pub struct Authority {
    cert: X509,
    key: PKey<Private>,
}

/// Why there is no certificate, for a person.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct IssueError(String);

impl From<ErrorStack> for IssueError {
    fn from(error: ErrorStack) -> Self {
        Self(format!("OpenSSL: {error}"))
    }
}

/// A clock that is behind by so much takes a fresh certificate for a good one.
const BACKDATED_S: i64 = 3600;

impl Authority {
    /// Makes a CA of this name that is good for so many days from `now_s`, in seconds
    /// since 1970.
    ///
    /// # Errors
    /// OpenSSL's, mostly of a name that is too long (64 bytes).
    pub fn create(name: &str, days: u32, now_s: i64) -> Result<Self, IssueError> {
        let key = fresh_key()?;
        let mut builder = begin(name, days, now_s)?;
        builder.set_pubkey(&key)?;
        let subject = subject(name)?;
        builder.set_issuer_name(&subject)?;
        // The CA vouches for certificates alone, and for no other CA.
        builder.append_extension(BasicConstraints::new().critical().ca().pathlen(0).build()?)?;
        let usage = KeyUsage::new()
            .critical()
            .key_cert_sign()
            .crl_sign()
            .build()?;
        builder.append_extension(usage)?;
        let id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
        builder.append_extension(id)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let cert = builder.build();
        Ok(Self { cert, key })
    }

    /// The CA of these PEM texts.
    ///
    /// # Errors
    /// A text is none, or the key is another one's.
    pub fn load(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, IssueError> {
        let cert = X509::from_pem(cert_pem)?;
        let key = PKey::private_key_from_pem_callback(key_pem, |_| Ok(0))?;
        if !cert.public_key()?.public_eq(&key) {
            let why = "the key is not that of the certificate of the CA";
            return Err(IssueError(why.to_owned()));
        }
        Ok(Self { cert, key })
    }

    /// The certificate and the key, as PEM.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn to_pem(&self) -> Result<Issued, IssueError> {
        Ok(Issued {
            cert_pem: self.cert.to_pem()?,
            key_pem: self.key.private_key_to_pem_pkcs8()?,
        })
    }

    /// Makes a certificate for `name` that is good for so many days from `now_s`, with
    /// these names besides: IP addresses, URIs (with `://`), and DNS names.
    ///
    /// # Errors
    /// OpenSSL's, mostly of a name that none of these is.
    pub fn issue(
        &self,
        role: Role,
        name: &str,
        others: &[String],
        days: u32,
        now_s: i64,
    ) -> Result<Issued, IssueError> {
        let key = fresh_key()?;
        let mut builder = begin(name, days, now_s)?;
        builder.set_pubkey(&key)?;
        builder.set_issuer_name(self.cert.subject_name())?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        let mut usage = ExtendedKeyUsage::new();
        usage.client_auth();
        if role == Role::Peer {
            usage.server_auth();
        }
        builder.append_extension(usage.build()?)?;
        let mut names = SubjectAlternativeName::new();
        for one in std::iter::once(name).chain(others.iter().map(String::as_str)) {
            match one.parse::<IpAddr>() {
                Ok(_) => names.ip(one),
                Err(_) if one.contains("://") => names.uri(one),
                Err(_) => names.dns(one),
            };
        }
        let context = builder.x509v3_context(Some(&self.cert), None);
        let names = names.build(&context)?;
        let of_issuer = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        let id = SubjectKeyIdentifier::new().build(&context)?;
        for extension in [names, of_issuer, id] {
            builder.append_extension(extension)?;
        }
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(Issued {
            cert_pem: builder.build().to_pem()?,
            key_pem: key.private_key_to_pem_pkcs8()?,
        })
    }
}

fn fresh_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn subject(name: &str) -> Result<X509Name, ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(subject.build())
}

fn begin(name: &str, days: u32, now_s: i64) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509Builder::new()?;
    // Version 3, which is counted from 0.
    builder.set_version(2)?;
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let serial = serial.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    let from = Asn1Time::from_unix(now_s - BACKDATED_S)?;
    builder.set_not_before(&from)?;
    let until = Asn1Time::from_unix(now_s + i64::from(days) * 86_400)?;
    builder.set_not_after(&until)?;
    builder.set_subject_name(&*subject(name)?)?;
    Ok(builder)
}
