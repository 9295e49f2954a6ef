//! What is wrong or risky in a cluster.

use std::io::Write;
use std::time::SystemTime;

use futures::executor::block_on;
use futures::join;

use super::{connect, survey};
use crate::doctor::{judge, Seen, Severity};
use crate::error::Error;
use crate::options::{Cluster, Output};
use crate::show;

pub(super) fn doctor(doctor: &Cluster, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&doctor.target)?;
    let (info, peers, namespaces) = block_on(async {
        join!(
            client.cluster_info(),
            client.peer_status(None),
            survey::namespaces(&client)
        )
    });
    // Without a leader namespaces cannot be read, and that is a finding.
    let (namespaces, has_more_namespaces) = match namespaces {
        Ok((namespaces, has_more)) => (Ok(namespaces), has_more),
        Err(error) => (Err(error.to_string()), false),
    };
    let seen = Seen {
        info: info?,
        peers: peers?,
        namespaces,
        has_more_namespaces,
        now: SystemTime::now(),
    };
    let report = judge(&seen);
    match doctor.output {
        Output::Text => write!(out, "{}", show::doctor_text(&seen.info, &report))?,
        Output::Json => writeln!(out, "{}", show::doctor_json(&seen.info, &report))?,
    }
    match report.count(Severity::Wrong) {
        0 => Ok(()),
        1 => Err(Error::Answered(
            "1 finding is WRONG; see the output".to_owned(),
        )),
        count => Err(Error::Answered(format!(
            "{count} findings are WRONG; see the output"
        ))),
    }
}
