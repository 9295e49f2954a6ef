//! Flags of the commands about namespaces.

use std::time::Duration;

use structopt::StructOpt;
use z4_client::{Rate, SettingsPatch};

use super::{Output, Target};
use crate::{moment, rate};

const SECOND: Duration = Duration::from_secs(1);

#[derive(StructOpt, Debug)]
pub(crate) enum NamespaceCommand {
    /// List namespaces and their counts
    List(NamespaceList),
    /// Print settings and counts
    Get(NamespaceName),
    /// Change settings; the namespace appears if it is new
    Set(NamespaceSet),
    /// Stop deliveries; creates are taken
    Pause(NamespaceName),
    /// Let deliveries go on
    Resume(NamespaceName),
    /// Remove a namespace with all its tasks, in the background
    Delete(NamespaceDelete),
    /// Print counts, times and rates
    Stats(NamespaceName),
}

#[derive(StructOpt, Debug)]
pub(crate) struct NamespaceList {
    /// text or json (a line of JSON for each namespace)
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct NamespaceName {
    pub namespace: String,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct NamespaceDelete {
    pub namespace: String,
    /// Wait until it is gone
    #[structopt(long)]
    pub wait: bool,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

#[derive(StructOpt, Debug)]
pub(crate) struct NamespaceSet {
    pub namespace: String,
    /// How long a lease lasts unless asked otherwise
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub lease: Option<Duration>,
    /// How long request ids are remembered
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub dedupe_window: Option<Duration>,
    /// Failures that make a dead letter; 0: none do
    #[structopt(long, value_name = "COUNT")]
    pub max_attempts: Option<u32>,
    /// Wait after the first failure; each further one doubles it
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub backoff_min: Option<Duration>,
    /// Longest wait after a failure
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span))]
    pub backoff_max: Option<Duration>,
    /// Most tasks that wait; 0: no limit
    #[structopt(long, value_name = "COUNT")]
    pub pending_max: Option<u64>,
    /// Most bytes of payload and metadata; 0: no limit
    #[structopt(long, value_name = "BYTES")]
    pub bytes_max: Option<u64>,
    /// Most live leases; 0: no limit
    #[structopt(long, value_name = "COUNT")]
    pub leased_max: Option<u64>,
    /// Most deliveries: 5/s, 100/m, 7/h, 20/d, or a period of your own: 3/90s;
    /// 0: no limit
    #[structopt(long, value_name = "COUNT/UNIT", parse(try_from_str = rate::parse))]
    pub rate: Option<Rate>,
    /// Most deliveries per second; the same as --rate COUNT/s
    #[structopt(long, value_name = "COUNT", conflicts_with = "rate")]
    pub rate_per_s: Option<u32>,
    /// Deliveries that may come at once after a quiet time; 0: a second's worth,
    /// and one at least
    #[structopt(long, value_name = "COUNT")]
    pub rate_burst: Option<u32>,
    /// How long dead letters are kept, or forever
    #[structopt(long, value_name = "TIME", parse(try_from_str = moment::span_or_forever))]
    pub dead_keep: Option<DeadKeep>,
    /// How many dead letters are kept; 0: all
    #[structopt(long, value_name = "COUNT")]
    pub dead_keep_count: Option<u64>,
    /// text or json
    #[structopt(short, long, default_value = "text")]
    pub output: Output,
    #[structopt(flatten)]
    pub target: Target,
}

/// `None`: for ever. (By a name: the argument library takes `Option<Option<T>>`
/// for a flag whose value may be left out.)
pub(crate) type DeadKeep = Option<Duration>;

impl NamespaceSet {
    /// The settings that were given.
    pub fn patch(&self) -> SettingsPatch {
        // Every z4 knows a rate per second; an older one knows no other.
        let (rate_per_s, rate) = match self.rate {
            Some(rate) if rate.count == 0 || rate.period == SECOND => (Some(rate.count), None),
            rate => (self.rate_per_s, rate),
        };
        SettingsPatch {
            lease: self.lease,
            dedupe_window: self.dedupe_window,
            max_attempts: self.max_attempts,
            backoff_min: self.backoff_min,
            backoff_max: self.backoff_max,
            pending_max: self.pending_max,
            bytes_max: self.bytes_max,
            leased_max: self.leased_max,
            rate_per_s,
            rate,
            rate_burst: self.rate_burst,
            dead_keep: self.dead_keep,
            dead_keep_count: self.dead_keep_count,
        }
    }
}
