//! What is left of a cluster that has lost its quorum for good.

use std::path::PathBuf;

use structopt::clap::AppSettings;
use structopt::StructOpt;

use super::Output;

#[derive(StructOpt, Debug)]
#[structopt(setting = AppSettings::SubcommandRequiredElseHelp)]
pub(crate) enum Recover {
    /// Name the survivor to go on with, and say what may be lost
    ///
    /// Reads what `z4-server recover inspect` printed at each disk that is left, and
    /// contacts no cluster.
    Plan(Plan),
}

#[derive(StructOpt, Debug)]
pub(crate) struct Plan {
    /// What z4-server recover inspect printed, one file for each disk that is left
    #[structopt(value_name = "FILE", required = true, parse(from_os_str))]
    pub files: Vec<PathBuf>,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
}
