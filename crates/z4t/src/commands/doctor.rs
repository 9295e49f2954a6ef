//! The command that says what is wrong or risky in a cluster.

use std::io::Write;
use std::time::SystemTime;

use futures::executor::block_on;

use super::connect;
use super::survey::survey;
use crate::doctor::{judge, Seen, Severity};
use crate::error::Error;
use crate::options::{Cluster, Output};
use crate::show;

pub(super) fn doctor(doctor: &Cluster, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&doctor.target)?;
    let survey = block_on(survey(&client))?;
    let seen = Seen {
        info: survey.info,
        peers: survey.peers,
        namespaces: survey.namespaces,
        has_more_namespaces: survey.has_more_namespaces,
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
