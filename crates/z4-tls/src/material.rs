//! A certificate with its key and the CAs, checked.

use std::fs::File;
use std::io::Read;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::{X509PurposeId, X509StoreContext, X509};

use crate::files::{FileError, Files, NamedFile, Use};
use crate::names::Names;
use crate::pem::{self, Block};
use crate::stream::{ClientAuth, Connector, Server};

/// The material that TLS needs: everything in it was read, understood and checked.
#[derive(Clone)]
pub struct Material {
    pub(crate) chain: Vec<X509>,
    pub(crate) key: Option<PKey<Private>>,
    pub(crate) ca: Vec<X509>,
    pem: Pem,
}

/// The material as texts, made from what was understood: whatever else stood in the files is
/// not in them.
#[derive(Clone, PartialEq, Eq, Default)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

/// The part of a certificate in the material.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The one that is shown.
    Own,
    /// One of the CAs: the one that runs out first.
    Ca,
}

impl Part {
    /// Its name in metrics and log: `own`, `ca`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Ca => "ca",
        }
    }
}

/// When a certificate runs out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// The part of the certificate.
    pub part: Part,
    /// Seconds since 1970.
    pub at_s: i64,
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        self.pem == other.pem
    }
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays where it is.
        f.debug_struct("Material")
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

impl Material {
    /// Reads the files and checks what is in them. Blocks for the reads.
    ///
    /// # Errors
    /// [`FileError`]: one cannot be read or understood, the key is not that of the
    /// certificate, something has run out, or the certificate of a peer does not come
    /// from the CA of peers or is not for both ends of a connection.
    pub fn read(files: &Files) -> Result<Self, FileError> {
        let mut material = Self {
            chain: Vec::new(),
            key: None,
            ca: Vec::new(),
            pem: Pem::default(),
        };
        if let Some((cert, key)) = &files.own {
            material.chain = certificates(cert, Part::Own)?;
            let private = private_key(key)?;
            if !is_pair(&material.chain[0], &private) {
                return Err(key.refuse(format_args!(
                    "this is not the key of the certificate in {} ({}); give the two that were \
                     made together",
                    cert.path.display(),
                    cert.setting
                )));
            }
            material.key = Some(private);
            if files.usage != Use::Client && material.names() == Names::default() {
                return Err(cert.refuse(
                    "it names neither a host nor an address (subject alternative names), and \
                     nobody could tell whose it is; make one with names (z4t certs create-peer)",
                ));
            }
        }
        if let Some(ca) = &files.ca {
            material.ca = certificates(ca, Part::Ca)?;
        }
        if let (Use::Peer, Some((cert, _)), Some(ca)) = (files.usage, &files.own, &files.ca) {
            material.check_peer(cert, ca)?;
        }
        material.check_usable(files)?;
        material.pem = material.written().map_err(|e| {
            let file = files.own.as_ref().map(|(cert, _)| cert);
            let why = format!("OpenSSL cannot write what it has read: {e}");
            match file.or(files.ca.as_ref()) {
                Some(file) => file.refuse(why),
                None => FileError(why),
            }
        })?;
        Ok(material)
    }

    /// The certificate that is shown and those behind it, as PEM; `None` where none is.
    #[must_use]
    pub fn own_pem(&self) -> Option<(&[u8], &[u8])> {
        self.key.as_ref()?;
        Some((&self.pem.cert, &self.pem.key))
    }

    /// The CAs that the other side is measured by, as PEM; empty where there are none.
    #[must_use]
    pub fn ca_pem(&self) -> &[u8] {
        &self.pem.ca
    }

    /// The names in the certificate that is shown; none where none is.
    #[must_use]
    pub fn names(&self) -> Names {
        let own = self.chain.first();
        own.map(|own| Names::of(own)).unwrap_or_default()
    }

    /// When the certificate that is shown runs out, and when the first of the CAs does.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        let of = |part, certificates: &[X509]| {
            let all = certificates.iter();
            let at_s = all.filter_map(|one| unix_s(one.not_after())).min()?;
            Some(Expiry { part, at_s })
        };
        let own = of(Part::Own, &self.chain[..self.chain.len().min(1)]);
        own.into_iter().chain(of(Part::Ca, &self.ca)).collect()
    }

    /// The CAs, as OpenSSL looks chains up in them.
    pub(crate) fn store(&self) -> Result<X509Store, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for ca in &self.ca {
            store.add_cert(ca.clone())?;
        }
        Ok(store.build())
    }

    /// OpenSSL has rules of its own, such as for keys that are too short: what it refuses
    /// must not take the place of what is in use.
    fn check_usable(&self, files: &Files) -> Result<(), FileError> {
        let Some((cert, _)) = &files.own else {
            return Ok(());
        };
        Server::new(self, ClientAuth::Off).map_err(|error| cert.refuse(error))?;
        Connector::new(self).map_err(|error| cert.refuse(error))?;
        Ok(())
    }

    fn check_peer(&self, cert: &NamedFile, ca: &NamedFile) -> Result<(), FileError> {
        for (purpose, end) in [
            (X509PurposeId::SSL_SERVER, "serverAuth"),
            (X509PurposeId::SSL_CLIENT, "clientAuth"),
        ] {
            let failed = |why: String| {
                cert.refuse(format_args!(
                    "the CA of peers, {} ({}), does not vouch for it as {end}: {why}; a peer \
                     needs a certificate of that CA for both ends of a connection (z4t certs \
                     create-peer makes one)",
                    ca.path.display(),
                    ca.setting
                ))
            };
            match self.is_vouched(purpose) {
                Ok(None) => {}
                Ok(Some(why)) => return Err(failed(why)),
                Err(error) => return Err(failed(error.to_string())),
            }
        }
        Ok(())
    }

    /// `None`: the CAs vouch for the certificate that is shown; else why not.
    fn is_vouched(&self, purpose: X509PurposeId) -> Result<Option<String>, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for ca in &self.ca {
            store.add_cert(ca.clone())?;
        }
        store.set_purpose(purpose)?;
        let store = store.build();
        let mut behind = Stack::new()?;
        for one in &self.chain[1..] {
            behind.push(one.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        context.init(&store, &self.chain[0], &behind, |context| {
            let is_good = context.verify_cert()?;
            let why = context.error().error_string();
            Ok((!is_good).then(|| why.to_owned()))
        })
    }

    fn written(&self) -> Result<Pem, ErrorStack> {
        let texts = |all: &[X509]| -> Result<Vec<u8>, ErrorStack> {
            let mut pem = Vec::new();
            for one in all {
                pem.extend(one.to_pem()?);
            }
            Ok(pem)
        };
        Ok(Pem {
            cert: texts(&self.chain)?,
            key: match &self.key {
                Some(key) => key.private_key_to_pem_pkcs8()?,
                None => Vec::new(),
            },
            ca: texts(&self.ca)?,
        })
    }
}

/// Tells whether a certificate has run out, or is none.
#[must_use]
pub fn is_over(pem: &[u8]) -> bool {
    let Ok((certificate, now)) =
        X509::from_pem(pem).and_then(|certificate| Ok((certificate, Asn1Time::days_from_now(0)?)))
    else {
        return true;
    };
    certificate.not_after() < now
}

fn is_pair(certificate: &X509, key: &PKey<Private>) -> bool {
    let public = certificate.public_key();
    public.is_ok_and(|public| key.public_eq(&public))
}

/// Seconds since 1970; `None` for a time that no calendar has.
fn unix_s(time: &Asn1TimeRef) -> Option<i64> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    Some(i64::from(since.days) * 86_400 + i64::from(since.secs))
}

fn contents(file: &NamedFile) -> Result<Vec<u8>, FileError> {
    let remedy = "give a file that this process may read";
    let failed = |e: std::io::Error| file.refuse(format_args!("{e}; {remedy}"));
    let opened = File::open(&file.path).map_err(failed)?;
    let mut text = Vec::new();
    let mut limited = opened.take(pem::LEN_MAX + 1);
    limited.read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > pem::LEN_MAX {
        let max = pem::LEN_MAX;
        return Err(file.refuse(format_args!(
            "it has more than {max} bytes; is it another file?"
        )));
    }
    Ok(text)
}

/// The certificates of a file, one at least, all of them valid now. A CA that ran out is
/// passed over where there are others: they stand side by side while one replaces another.
fn certificates(file: &NamedFile, part: Part) -> Result<Vec<X509>, FileError> {
    let text = contents(file)?;
    let blocks = pem::blocks(&text).map_err(|why| file.refuse(why))?;
    let is_certificate = |block: &&Block<'_>| {
        matches!(
            block.kind,
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE"
        )
    };
    let (mut all, mut passed_over) = (Vec::new(), None);
    for block in blocks.iter().filter(is_certificate) {
        let line = block.line;
        let read = X509::from_pem(block.text).map_err(|_| {
            file.refuse(format_args!(
                "the certificate of line {line} is damaged; copy the file anew"
            ))
        })?;
        match check_time(file, line, &read) {
            Ok(()) => all.push(read),
            Err(error) if part == Part::Ca => passed_over = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let (true, Some(error)) = (all.is_empty(), passed_over) {
        return Err(error);
    }
    if all.is_empty() {
        let kinds: Vec<&str> = blocks.iter().map(|block| block.kind).collect();
        let found = match kinds.is_empty() {
            true => "no block in PEM form".to_owned(),
            false => format!("only {}", kinds.join(", ")),
        };
        return Err(file.refuse(format_args!(
            "there is no certificate in it, but {found}; give a file that begins with \
             -----BEGIN CERTIFICATE-----"
        )));
    }
    Ok(all)
}

fn check_time(file: &NamedFile, line: usize, certificate: &X509) -> Result<(), FileError> {
    let Ok(now) = Asn1Time::days_from_now(0) else {
        return Ok(());
    };
    let (from, until) = (certificate.not_before(), certificate.not_after());
    if until < now {
        return Err(file.refuse(format_args!(
            "the certificate of line {line} ran out at {until}; replace it, and look at the clock \
             of this machine"
        )));
    }
    if from > now {
        return Err(file.refuse(format_args!(
            "the certificate of line {line} is good from {from} on; is the clock of this machine \
             behind?"
        )));
    }
    Ok(())
}

fn private_key(file: &NamedFile) -> Result<PKey<Private>, FileError> {
    let text = contents(file)?;
    let blocks = pem::blocks(&text).map_err(|why| file.refuse(why))?;
    let Some(block) = blocks
        .iter()
        .find(|block| block.kind.ends_with("PRIVATE KEY"))
    else {
        let kinds: Vec<&str> = blocks.iter().map(|block| block.kind).collect();
        let found = match kinds.is_empty() {
            true => "no block in PEM form".to_owned(),
            false => format!("only {}", kinds.join(", ")),
        };
        return Err(file.refuse(format_args!(
            "there is no private key in it, but {found}; give a file that begins with \
             -----BEGIN PRIVATE KEY-----"
        )));
    };
    let line = block.line;
    let is_locked = std::cell::Cell::new(false);
    // Without an answer of its own OpenSSL asks at the terminal.
    let read = PKey::private_key_from_pem_callback(block.text, |_| {
        is_locked.set(true);
        Ok(0)
    });
    read.map_err(|_| match is_locked.get() {
        true => file.refuse(format_args!(
            "the key of line {line} is encrypted, and nobody is here to give its password; give \
             it in the clear, readable by this user alone"
        )),
        false => file.refuse(format_args!(
            "the key of line {line} is damaged; copy the file anew"
        )),
    })
}
