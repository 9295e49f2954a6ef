//! Flags of the commands that move a namespace.

use std::path::PathBuf;

use structopt::StructOpt;

use super::tasks::State;
use super::Target;

#[derive(StructOpt, Debug)]
pub(crate) struct Export {
    /// Letters, digits, dots, underscores, dashes
    pub namespace: String,
    /// scheduled, leased or dead; unless given, all that are not dead letters
    #[structopt(long, value_name = "STATE")]
    pub state: Option<State>,
    /// Go on where an export before this one ended
    #[structopt(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Import {
    /// Letters, digits, dots, underscores, dashes
    pub namespace: String,
    /// What z4t export wrote, or - for standard input
    #[structopt(value_name = "FILE", parse(from_os_str))]
    pub file: PathBuf,
    /// Leave out so many lines at the beginning
    #[structopt(long, value_name = "COUNT", default_value = "0")]
    pub skip: u64,
    #[structopt(flatten)]
    pub target: Target,
}
