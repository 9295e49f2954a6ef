//! Flags of the commands about tasks.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use structopt::StructOpt;

use super::{key_value, Output, Pick, Target};
use crate::moment::{self, Moment};

#[derive(StructOpt, Debug)]
pub(crate) struct Create {
    /// Letters, digits, dots, underscores, dashes
    pub namespace: String,
    /// The payload, or - to read it from standard input
    #[structopt(
        required_unless_one = &["file", "batch"],
        conflicts_with_all = &["file", "batch"],
        parse(from_os_str)
    )]
    pub payload: Option<OsString>,
    /// Read the payload from a file
    #[structopt(
        short,
        long,
        value_name = "PATH",
        conflicts_with = "batch",
        parse(from_os_str)
    )]
    pub file: Option<PathBuf>,
    /// Create a task for each line of JSON in a file (- for standard input)
    ///
    /// A line is an object with `payload` (text) or `payload_base64`, and, as far
    /// as it differs from the flags, `metadata` (an object of texts), `at` or `in`,
    /// `priority`, `max_attempts`, `ttl`, `request_id`. With --request-id X, line N
    /// has the id X-N unless it names one: the same file twice makes its tasks
    /// once.
    #[structopt(long, value_name = "PATH", parse(from_os_str))]
    pub batch: Option<PathBuf>,
    /// With --batch: all tasks or none; at most 10,000 and 8 MiB
    #[structopt(long, requires = "batch")]
    pub atomic: bool,
    /// Due so long from now, in whole seconds: 30s, 5m, 1h30m, 2days
    #[structopt(long = "in", value_name = "TIME", conflicts_with = "at", parse(try_from_str = moment::whole_seconds))]
    pub delay: Option<Duration>,
    /// Due at this time: 2030-01-31T08:00:00+01:00, or "2030-01-31 08:00" in the
    /// local zone or that of --tz
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::parse))]
    pub at: Option<Moment>,
    /// Metadata, repeatable
    #[structopt(
        short,
        long,
        value_name = "KEY=VALUE",
        number_of_values = 1,
        multiple = true,
        parse(try_from_str = key_value)
    )]
    pub metadata: Vec<(String, String)>,
    /// 0 to 9, higher first among due tasks; 5 unless given
    #[structopt(long, value_name = "0-9")]
    pub priority: Option<u32>,
    /// Failures that make it a dead letter; the namespace's setting unless given
    #[structopt(long, value_name = "COUNT")]
    pub max_attempts: Option<u32>,
    /// How long it may wait beyond its due time before it is a dead letter
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub ttl: Option<Duration>,
    /// The same id twice makes one task; one is made up unless given
    #[structopt(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// text (the id alone) or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Get {
    pub namespace: String,
    pub task_id: String,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Stream {
    pub namespace: String,
    /// text or json (a line of JSON for each task)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    /// End after so many tasks
    #[structopt(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct OneTask {
    pub namespace: String,
    pub task_id: String,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Reschedule {
    pub namespace: String,
    pub task_id: String,
    /// Due so long from now: 500ms, 30s, 5m, 1h30m
    #[structopt(
        long = "in",
        value_name = "TIME",
        required_unless = "at",
        conflicts_with = "at",
        parse(try_from_str = moment::span)
    )]
    pub delay: Option<Duration>,
    /// Due at this time: 2030-01-31T08:00:00+01:00, or "2030-01-31 08:00" in the
    /// local zone or that of --tz
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::parse))]
    pub at: Option<Moment>,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

/// A state of tasks, as people name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State(pub z4_client::TaskState);

impl FromStr for State {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "scheduled" => Ok(Self(z4_client::TaskState::Scheduled)),
            "leased" => Ok(Self(z4_client::TaskState::Leased)),
            "dead" => Ok(Self(z4_client::TaskState::Dead)),
            _ => Err("give scheduled, leased or dead"),
        }
    }
}

#[derive(StructOpt, Debug)]
pub(crate) struct List {
    pub namespace: String,
    /// scheduled, leased or dead; all unless given
    #[structopt(long, value_name = "STATE")]
    pub state: Option<State>,
    /// due: the ones that fall due first come first, whatever the order of creation;
    /// z4t sorts them, at most 100,000
    #[structopt(long, value_name = "ORDER", conflicts_with = "page-token")]
    pub sort: Option<Sort>,
    /// Go on where a list before this one ended, with the same flags
    #[structopt(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    #[structopt(flatten)]
    pub pick: Pick,
    #[structopt(flatten)]
    pub target: Target,
}

/// An order that the peer has no index for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sort {
    Due,
}

impl FromStr for Sort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "due" => Ok(Self::Due),
            _ => Err("give due, or leave it out for the order of creation"),
        }
    }
}
