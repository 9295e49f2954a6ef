//! Flags of the commands about leases.

use std::str::FromStr;
use std::time::Duration;

use structopt::StructOpt;
use z4_client::LeaseRef;

use super::{Output, Target};
use crate::moment;

#[derive(StructOpt, Debug)]
pub(crate) struct Consume {
    pub namespace: String,
    /// Whose leases they are: one that starts again under its id gets its live
    /// leases again; made up unless given
    #[structopt(long, value_name = "ID")]
    pub consumer_id: Option<String>,
    /// Tasks in hand at once, 1 to 10,000
    #[structopt(long, value_name = "COUNT", default_value = "10", parse(try_from_str = in_flight))]
    pub max_in_flight: u32,
    /// How long a lease lasts; extended at half of it while a command runs. The
    /// namespace's setting unless given
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub lease: Option<Duration>,
    /// End after so many deliveries
    #[structopt(long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// Run this for each task by way of sh -c
    #[structopt(long, value_name = "CMD")]
    pub exec: Option<String>,
    /// json (a line for each delivery; with --exec: for each task that ended) or
    /// text. With --exec, nothing is printed unless it is given
    #[structopt(short, long)]
    pub output: Option<Output>,
    #[structopt(flatten)]
    pub target: Target,
}

fn in_flight(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(count) if (1..=10_000).contains(&count) => Ok(count),
        _ => Err("give 1 to 10000"),
    }
}

#[derive(StructOpt, Debug)]
pub(crate) struct Lease {
    pub namespace: String,
    /// Who will hold the leases; made up unless given
    #[structopt(long, value_name = "ID", default_value = "")]
    pub consumer_id: String,
    /// Print what the consumer of --consumer-id holds already; lease new tasks only
    /// when it holds none. For a repeat of a command whose answer was lost
    #[structopt(long)]
    pub resume: bool,
    /// At most so many tasks, up to 1,024
    #[structopt(long, value_name = "COUNT", default_value = "1")]
    pub max: u32,
    /// How long the leases last; the namespace's setting unless given
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub lease: Option<Duration>,
    /// Wait so long when nothing is due, at most 60s
    #[structopt(long, value_name = "TIME", default_value = "0s", parse(try_from_str = moment::span))]
    pub wait: Duration,
    /// text or json (a line of JSON for each task)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

/// `ID:TOKEN`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LeaseName(pub LeaseRef);

impl FromStr for LeaseName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let complaint = "give ID:TOKEN as `z4t lease` prints it";
        let (id, token) = text.split_once(':').ok_or(complaint)?;
        let token = token.parse().map_err(|_| complaint)?;
        if id.is_empty() {
            return Err(complaint);
        }
        let task_id = id.to_owned();
        Ok(Self(LeaseRef { task_id, token }))
    }
}

#[derive(StructOpt, Debug)]
pub(crate) struct Leases {
    pub namespace: String,
    /// Leases as `z4t lease` prints them
    #[structopt(value_name = "ID:TOKEN", required = true)]
    pub leases: Vec<LeaseName>,
    /// text or json (a line of JSON for each lease)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct NackLeases {
    /// When the tasks come again; by the namespace's backoff unless given
    #[structopt(long, value_name = "TIME", conflicts_with = "permanent", parse(try_from_str = moment::span))]
    pub delay: Option<Duration>,
    /// What went wrong
    #[structopt(long, value_name = "TEXT", default_value = "")]
    pub error: String,
    /// No try will ever succeed: dead letters at once
    #[structopt(long)]
    pub permanent: bool,
    #[structopt(flatten)]
    pub which: Leases,
}

#[derive(StructOpt, Debug)]
pub(crate) struct Extend {
    /// From now; the namespace's setting unless given
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub lease: Option<Duration>,
    #[structopt(flatten)]
    pub which: Leases,
}
