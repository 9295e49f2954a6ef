//! Flags of the commands about dead letters.

use std::str::FromStr;

use structopt::StructOpt;
use z4_client::DeathReason;

use super::{Output, Pick, Target};
use crate::moment::{self, Moment};

#[derive(StructOpt, Debug)]
pub(crate) enum Dead {
    /// List dead letters, oldest first
    List(DeadList),
    /// Try dead letters again: those that are named, or all that the flags take
    Redrive(DeadChange),
    /// Remove dead letters: those that are named, or all that the flags take
    Purge(DeadChange),
}

/// A reason of death, as people name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reason(pub DeathReason);

impl FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "attempts" => Ok(Self(DeathReason::Attempts)),
            "ttl" => Ok(Self(DeathReason::Ttl)),
            "permanent" => Ok(Self(DeathReason::Permanent)),
            _ => Err("give attempts, ttl or permanent"),
        }
    }
}

#[derive(StructOpt, Debug)]
pub(crate) struct DeadList {
    pub namespace: String,
    /// attempts, ttl or permanent
    #[structopt(long, value_name = "REASON")]
    pub reason: Option<Reason>,
    /// Go on where a list before this one ended, with the same flags
    #[structopt(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
    #[structopt(flatten)]
    pub pick: Pick,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct DeadChange {
    pub namespace: String,
    /// These
    pub task_ids: Vec<String>,
    /// Died at or after this time
    #[structopt(long, value_name = "TIME", conflicts_with = "task-ids", parse(try_from_str = moment::parse))]
    pub from: Option<Moment>,
    /// Died before this time
    #[structopt(long, value_name = "TIME", conflicts_with = "task-ids", parse(try_from_str = moment::parse))]
    pub to: Option<Moment>,
    /// attempts, ttl or permanent
    #[structopt(long, value_name = "REASON", conflicts_with = "task-ids")]
    pub reason: Option<Reason>,
    /// At most so many, oldest first; 0 for all
    #[structopt(long, value_name = "COUNT", default_value = "0")]
    pub limit: u64,
    /// Redrive: failures stay counted, so that one that used up its attempts has
    /// one more
    #[structopt(long)]
    pub keep_attempts: bool,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}
