//! Flags of `top`.

use std::time::Duration;

use structopt::StructOpt;

use super::Target;
use crate::limits;

#[derive(StructOpt, Debug)]
pub(crate) struct Top {
    /// Between two frames: 200ms to 1h
    #[structopt(
        long,
        value_name = "TIME",
        default_value = limits::TOP_INTERVAL,
        parse(try_from_str = interval)
    )]
    pub interval: Duration,
    /// Look twice, an interval apart, print what was between, and end
    #[structopt(long)]
    pub once: bool,
    #[structopt(flatten)]
    pub target: Target,
}

fn interval(text: &str) -> Result<Duration, String> {
    let span = crate::moment::span(text)?;
    match (limits::TOP_INTERVAL_MIN..=limits::TOP_INTERVAL_MAX).contains(&span) {
        true => Ok(span),
        false => Err("give 200ms to 1h".to_owned()),
    }
}
