//! What is left of a cluster that has lost its quorum for good. No peer is asked.

use std::io::Write;
use std::path::PathBuf;

use z4_recover::{Evidence, Plan};

use crate::error::Error;
use crate::options::{Output, Recover, RecoverPlan};
use crate::show;

pub(super) fn run(recover: &Recover, out: &mut impl Write) -> Result<(), Error> {
    match recover {
        Recover::Plan(plan) => make_plan(plan, out),
    }
}

fn make_plan(asked: &RecoverPlan, out: &mut impl Write) -> Result<(), Error> {
    let survivors: Result<Vec<_>, _> = asked.files.iter().map(read).collect();
    let survivors = survivors?;
    let plan = Plan::of(&survivors).map_err(|e| Error::Input(e.to_string()))?;
    match asked.output {
        Output::Text => write!(out, "{}", show::recover_text(&plan, &survivors))?,
        Output::Json => writeln!(out, "{}", show::recover_json(&plan))?,
    }
    Ok(())
}

fn read(path: &PathBuf) -> Result<Evidence, Error> {
    let failed = |why: String| Error::Input(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    Evidence::parse(&text).map_err(|e| {
        failed(format!(
            "{e}; give a file that z4-server recover inspect printed"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_that_is_no_evidence_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peer1.json");
        std::fs::write(&path, "{}").unwrap();
        for path in [path, dir.path().join("nowhere")] {
            let asked = RecoverPlan {
                files: vec![path.clone()],
                output: Output::Text,
            };
            let why = make_plan(&asked, &mut Vec::new()).unwrap_err().to_string();
            assert!(why.starts_with(&path.display().to_string()), "{why}");
        }
    }
}
