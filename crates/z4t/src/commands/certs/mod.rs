//! Certificates: a CA, peers, clients. No cluster is contacted.

mod pair;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use z4_tls::{Authority, Files, Material, NamedFile, Role, Use};

use crate::error::Error;
use crate::limits::SANS_MAX;
use crate::options::{Certs, CreateCa, CreateClient, CreatePeer, Making, Output};
use crate::show::{self, Made, MadeFor};

const DAY_S: i64 = 86_400;

pub(super) fn run(command: &Certs, out: &mut impl Write) -> Result<(), Error> {
    let now_s = unix_s(SystemTime::now())?;
    let (made, output) = match command {
        Certs::Ca(create) => (create_ca(create, now_s)?, create.output),
        Certs::Peer(create) => (create_peer(create, now_s)?, create.making.output),
        Certs::Client(create) => (create_client(create, now_s)?, create.making.output),
    };
    match output {
        Output::Text => write!(out, "{}", show::made_text(&made))?,
        Output::Json => writeln!(out, "{:#}", show::made_json(&made))?,
    }
    Ok(())
}

fn create_ca(create: &CreateCa, now_s: i64) -> Result<Made, Error> {
    let issued = Authority::create(&create.name, create.days, now_s)
        .and_then(|authority| authority.to_pem())
        .map_err(|e| Error::Input(format!("no CA is made: {e}")))?;
    let (cert, key) = pair::write(&create.out, "ca", &issued)?;
    Ok(Made {
        made_for: MadeFor::Ca,
        names: vec![create.name.clone()],
        ca: cert.clone(),
        cert,
        key,
        good_until: good_until(now_s, create.days),
    })
}

fn create_peer(create: &CreatePeer, now_s: i64) -> Result<Made, Error> {
    let names = names(&create.name, &create.hosts)?;
    issue(Role::Peer, names, &create.making, now_s)
}

fn create_client(create: &CreateClient, now_s: i64) -> Result<Made, Error> {
    let names = names(&create.name, &create.sans)?;
    issue(Role::Client, names, &create.making, now_s)
}

/// All names, each once; that of the files first.
fn names(first: &str, others: &[String]) -> Result<Vec<String>, Error> {
    let mut names = vec![first.to_owned()];
    for other in others {
        if !names.contains(other) {
            names.push(other.clone());
        }
    }
    match names.len() > SANS_MAX {
        true => Err(Error::Usage(format!(
            "a certificate for {} names is asked for; give {SANS_MAX} at most, and several \
             certificates for more",
            names.len()
        ))),
        false => Ok(names),
    }
}

fn issue(role: Role, names: Vec<String>, making: &Making, now_s: i64) -> Result<Made, Error> {
    let dir = making.ca_dir.as_ref().unwrap_or(&making.out);
    let (authority, ca_ends_s) = authority(dir)?;
    let days = making.days;
    // A day that has begun counts: a CA and a certificate that are made one after the other
    // may be asked for the same days.
    let seconds_left = ca_ends_s.saturating_sub(now_s);
    let days_left = seconds_left.saturating_add(DAY_S - 1).div_euclid(DAY_S);
    if i64::from(days) > days_left {
        return Err(Error::Input(format!(
            "--days is {days}, and the CA in {} runs out in {days_left} days; give --days \
             {days_left} at most, or make another CA in a folder of its own",
            dir.display()
        )));
    }
    let issued = authority.issue(role, &names[0], &names[1..], days, now_s);
    let issued = issued.map_err(|e| Error::Input(format!("no certificate is made: {e}")))?;
    let (cert, key) = pair::write(&making.out, &names[0], &issued)?;
    Ok(Made {
        made_for: match role {
            Role::Peer => MadeFor::Peer,
            Role::Client => MadeFor::Client,
        },
        names,
        ca: dir.join("ca.pem"),
        cert,
        key,
        good_until: good_until(now_s, days),
    })
}

/// The CA in a folder, and when it runs out, in seconds since 1970.
fn authority(dir: &Path) -> Result<(Authority, i64), Error> {
    let (cert, key) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    for path in [&cert, &key] {
        if !path.exists() {
            return Err(Error::Input(format!(
                "{} is not there; make a CA with z4t certs create-ca, or say by --ca-dir in \
                 which folder there is one",
                path.display()
            )));
        }
    }
    let files = Files {
        usage: Use::Client,
        own: Some((
            NamedFile::new("the CA", cert),
            NamedFile::new("the key of the CA", key),
        )),
        ca: None,
    };
    let unusable = |why: String| Error::Input(why);
    let material = Material::read(&files).map_err(|e| unusable(e.to_string()))?;
    let ends_s = material.expiries().first().map_or(i64::MAX, |own| own.at_s);
    let Some((cert, key)) = material.own_pem() else {
        return Err(unusable(format!("there is no CA in {}", dir.display())));
    };
    let authority = Authority::load(cert, key)
        .map_err(|e| unusable(format!("the CA in {} cannot be used: {e}", dir.display())))?;
    Ok((authority, ends_s))
}

fn unix_s(now: SystemTime) -> Result<i64, Error> {
    let since = now.duration_since(UNIX_EPOCH).ok();
    let seconds = since.and_then(|since| i64::try_from(since.as_secs()).ok());
    seconds.ok_or_else(|| {
        let why = "the clock of this machine stands before 1970; set it";
        Error::Input(why.to_owned())
    })
}

/// The second at which a certificate of so many days runs out.
fn good_until(now_s: i64, days: u32) -> SystemTime {
    let until_s = now_s.saturating_add(i64::from(days) * DAY_S);
    UNIX_EPOCH + Duration::from_secs(until_s.unsigned_abs())
}
