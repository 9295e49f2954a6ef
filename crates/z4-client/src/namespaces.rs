//! Calls about namespaces: settings, pause, deletion, statistics.

use std::convert::identity;
use std::time::{Duration, SystemTime};

use z4_proto::admin::{
    self as wire, DeleteNamespaceRequest, GetNamespaceRequest, GetNamespaceStatsRequest,
    ListNamespacesRequest, PauseNamespaceRequest, ResumeNamespaceRequest, UpdateNamespaceRequest,
};

use crate::client::Client;
use crate::convert;
use crate::error::Error;
use crate::listing::Page;
use crate::retry::Repeat;

/// The settings of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long a lease lasts unless asked otherwise.
    pub lease: Duration,
    /// How long request ids are remembered.
    pub dedupe_window: Duration,
    /// Failures that send a task to the dead letters; 0: none do.
    pub max_attempts: u32,
    /// Wait after the first failure; each further one doubles it.
    pub backoff_min: Duration,
    /// Longest wait after a failure.
    pub backoff_max: Duration,
    /// Most tasks that wait; 0: no limit.
    pub pending_max: u64,
    /// Most bytes of payload and metadata of all its tasks; 0: no limit.
    pub bytes_max: u64,
    /// Most live leases; 0: no limit.
    pub leased_max: u64,
    /// Most deliveries per second, rounded up; 0: no limit.
    pub rate_per_s: u32,
    /// The limit on deliveries as it was set; `None`: there is none.
    pub rate: Option<Rate>,
    /// Deliveries that may come at once after a quiet time; 0: a second's worth,
    /// and one at least.
    pub rate_burst: u32,
    /// How long dead letters are kept; `None`: until somebody removes them.
    pub dead_keep: Option<Duration>,
    /// How many dead letters are kept; 0: all.
    pub dead_keep_count: u64,
}

impl From<&wire::NamespaceSettings> for Settings {
    fn from(settings: &wire::NamespaceSettings) -> Self {
        let span = |given| convert::span(given).unwrap_or_default();
        Self {
            lease: span(&settings.lease),
            dedupe_window: span(&settings.dedupe_window),
            max_attempts: settings.get_max_attempts(),
            backoff_min: span(&settings.backoff_min),
            backoff_max: span(&settings.backoff_max),
            pending_max: settings.get_pending_max(),
            bytes_max: settings.get_bytes_max(),
            leased_max: settings.get_leased_max(),
            rate_per_s: settings.get_rate_per_s(),
            rate: Rate::of(settings),
            rate_burst: settings.get_rate_burst(),
            dead_keep: convert::span(&settings.dead_keep),
            dead_keep_count: settings.get_dead_keep_count(),
        }
    }
}

/// Which settings to change: those that are given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SettingsPatch {
    /// See [`Settings::lease`].
    pub lease: Option<Duration>,
    /// See [`Settings::dedupe_window`].
    pub dedupe_window: Option<Duration>,
    /// See [`Settings::max_attempts`].
    pub max_attempts: Option<u32>,
    /// See [`Settings::backoff_min`].
    pub backoff_min: Option<Duration>,
    /// See [`Settings::backoff_max`].
    pub backoff_max: Option<Duration>,
    /// See [`Settings::pending_max`].
    pub pending_max: Option<u64>,
    /// See [`Settings::bytes_max`].
    pub bytes_max: Option<u64>,
    /// See [`Settings::leased_max`].
    pub leased_max: Option<u64>,
    /// The most deliveries per second; 0: no limit. Peers of every version know
    /// this setting.
    pub rate_per_s: Option<u32>,
    /// The most deliveries in a period, which lasts from a second to a day; a count
    /// of 0: no limit. Give this or `rate_per_s`.
    pub rate: Option<Rate>,
    /// See [`Settings::rate_burst`].
    pub rate_burst: Option<u32>,
    /// See [`Settings::dead_keep`]; `Some(None)` takes the limit away.
    pub dead_keep: Option<Option<Duration>>,
    /// See [`Settings::dead_keep_count`].
    pub dead_keep_count: Option<u64>,
}

/// A limit on deliveries: so many in so long a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Most deliveries in each period.
    pub count: u32,
    /// Length of the period.
    pub period: Duration,
}

impl Rate {
    fn wire(self) -> wire::Rate {
        let mut rate = wire::Rate::default();
        rate.set_count(self.count);
        rate.set_period(convert::wire_span(self.period));
        rate
    }

    /// That of these settings; an older peer tells only how many in a second.
    fn of(settings: &wire::NamespaceSettings) -> Option<Self> {
        let second = Duration::from_secs(1);
        let rate = match settings.rate.as_ref() {
            Some(rate) => Self {
                count: rate.get_count(),
                period: convert::span(&rate.period).unwrap_or(second),
            },
            None => Self {
                count: settings.get_rate_per_s(),
                period: second,
            },
        };
        (rate.count > 0).then_some(rate)
    }
}

impl SettingsPatch {
    /// The settings and the names of those that are to change.
    fn wire(&self) -> (wire::NamespaceSettings, Vec<String>) {
        let mut settings = wire::NamespaceSettings::default();
        let mut names: Vec<&str> = Vec::new();
        macro_rules! set {
            ($($name:ident: $value:ident;)*) => {
                // A whole pattern: a setting that is added cannot be forgotten here.
                let Self { $($name: _),* } = self;
                $(if let Some(value) = self.$name {
                    names.push(stringify!($name));
                    settings.$name = $value(value);
                })*
            };
        }
        let span = |span| Some(convert::wire_span(span)).into();
        let rate = |rate: Rate| Some(rate.wire()).into();
        let keep = |keep: Option<Duration>| keep.map(convert::wire_span).into();
        set! {
            lease: span;
            dedupe_window: span;
            max_attempts: identity;
            backoff_min: span;
            backoff_max: span;
            pending_max: identity;
            bytes_max: identity;
            leased_max: identity;
            rate_per_s: identity;
            rate: rate;
            rate_burst: identity;
            dead_keep: keep;
            dead_keep_count: identity;
        }
        (settings, names.into_iter().map(str::to_owned).collect())
    }
}

/// Counts of a namespace: created = pending + leased + done + dead + cancelled +
/// purged, always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Tasks that were ever created.
    pub created: u64,
    /// Tasks that wait now.
    pub pending: u64,
    /// Tasks that are held now.
    pub leased: u64,
    /// Tasks that were ever acknowledged.
    pub done: u64,
    /// Dead letters now.
    pub dead: u64,
    /// Tasks that were ever cancelled.
    pub cancelled: u64,
    /// Dead letters that were removed, and tasks that went with a deletion.
    pub purged: u64,
    /// Leases ever granted.
    pub deliveries: u64,
    /// Nacks and expired leases, ever.
    pub failures: u64,
    /// Bytes of payload and metadata of the tasks that are there.
    pub bytes: u64,
}

impl From<&wire::TaskCounts> for Counts {
    fn from(counts: &wire::TaskCounts) -> Self {
        Self {
            created: counts.get_created(),
            pending: counts.get_pending(),
            leased: counts.get_leased(),
            done: counts.get_done(),
            dead: counts.get_dead(),
            cancelled: counts.get_cancelled(),
            purged: counts.get_purged(),
            deliveries: counts.get_deliveries(),
            failures: counts.get_failures(),
            bytes: counts.get_bytes(),
        }
    }
}

/// A namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub settings: Settings,
    /// Since when deliveries are stopped; `None`: they are not.
    pub paused_at: Option<SystemTime>,
    /// Whether the namespace is being removed.
    pub deleting: bool,
    /// Its counts.
    pub counts: Counts,
}

impl From<wire::Namespace> for Namespace {
    fn from(mut namespace: wire::Namespace) -> Self {
        Self {
            settings: namespace.get_settings().into(),
            paused_at: convert::time(&namespace.paused_at),
            deleting: namespace.get_deleting(),
            counts: namespace.get_counts().into(),
            name: namespace.take_name(),
        }
    }
}

/// Counts, times and rates of a namespace.
#[derive(Clone, PartialEq, Debug)]
pub struct NamespaceStats {
    /// Its name.
    pub name: String,
    /// Its counts.
    pub counts: Counts,
    /// Tasks that wait, by priority, highest first.
    pub pending_by_priority: Vec<u64>,
    /// How long the oldest due task has been due; `None`: none is.
    pub oldest_due_age: Option<Duration>,
    /// When the next task falls due; `None`: none will.
    pub next_due_at: Option<SystemTime>,
    /// Creates per second, of the last 10 to 20 s.
    pub created_per_s: f64,
    /// Deliveries per second, of the last 10 to 20 s.
    pub delivered_per_s: f64,
    /// Acks per second, of the last 10 to 20 s.
    pub done_per_s: f64,
    /// How late deliveries are, on average of the last ones.
    pub lateness_mean: Option<Duration>,
    /// Consumers that the leader knows of.
    pub consumers: u64,
    /// Tasks that they would take now.
    pub consumer_room: u64,
    /// When a task was last handed out.
    pub last_leased_at: Option<SystemTime>,
    /// Since when deliveries are stopped; `None`: they are not.
    pub paused_at: Option<SystemTime>,
    /// Whether the namespace is being removed.
    pub deleting: bool,
}

impl From<wire::NamespaceStats> for NamespaceStats {
    fn from(mut stats: wire::NamespaceStats) -> Self {
        Self {
            counts: stats.get_counts().into(),
            pending_by_priority: stats.take_pending_by_priority(),
            oldest_due_age: convert::span(&stats.oldest_due_age),
            next_due_at: convert::time(&stats.next_due_at),
            created_per_s: stats.get_created_per_s(),
            delivered_per_s: stats.get_delivered_per_s(),
            done_per_s: stats.get_done_per_s(),
            lateness_mean: convert::span(&stats.lateness_mean),
            consumers: stats.get_consumers(),
            consumer_room: stats.get_consumer_room(),
            last_leased_at: convert::time(&stats.last_leased_at),
            paused_at: convert::time(&stats.paused_at),
            deleting: stats.get_deleting(),
            name: stats.take_name(),
        }
    }
}

impl Client {
    /// A page of the namespaces, in the order of their names. `page_size` at most
    /// 1,000, 0 for 100; `page_token` from the page before, empty for the first.
    ///
    /// # Errors
    /// `InvalidArgument` for a token that is none.
    pub async fn list_namespaces(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<Page<Namespace>, Error> {
        let mut request = ListNamespacesRequest::default();
        request.set_page_size(page_size);
        request.set_page_token(page_token.to_owned());
        let mut answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.admin.list_namespaces_async_opt(&request, option)
            })
            .await?
            .value;
        let next = answer.take_next_page_token();
        let namespaces = answer.take_namespaces().into_iter();
        Ok(Page {
            items: namespaces.map(Namespace::from).collect(),
            next: (!next.is_empty()).then_some(next),
        })
    }

    /// A namespace.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn namespace(&self, name: &str) -> Result<Namespace, Error> {
        self.namespace_by(name, Repeat::Read).await
    }

    /// As [`Client::namespace`], each peer asked once.
    pub(crate) async fn namespace_once(&self, name: &str) -> Result<Namespace, Error> {
        self.namespace_by(name, Repeat::Round).await
    }

    async fn namespace_by(&self, name: &str, repeat: Repeat) -> Result<Namespace, Error> {
        let mut request = GetNamespaceRequest::default();
        request.set_name(name.to_owned());
        let answer = self
            .peers
            .ask(repeat, self.timeout(), |peer, option| {
                peer.admin.get_namespace_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Changes settings; the namespace appears if it is new.
    ///
    /// # Errors
    /// `InvalidArgument` for a setting out of its limits.
    pub async fn update_namespace(
        &self,
        name: &str,
        patch: &SettingsPatch,
    ) -> Result<Namespace, Error> {
        let (settings, names) = patch.wire();
        let mut request = UpdateNamespaceRequest::default();
        request.set_name(name.to_owned());
        request.set_settings(settings);
        request.set_update_mask(names.into());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.admin.update_namespace_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Begins to remove a namespace with its tasks; how many are left to remove.
    /// It takes no tasks meanwhile, and is gone when [`Client::namespace`] says
    /// `NotFound`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_namespace(&self, name: &str) -> Result<u64, Error> {
        let mut request = DeleteNamespaceRequest::default();
        request.set_name(name.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.admin.delete_namespace_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.get_remaining())
    }

    /// Stops the deliveries of a namespace; creates are taken, and leases stay.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn pause_namespace(&self, name: &str) -> Result<Namespace, Error> {
        let mut request = PauseNamespaceRequest::default();
        request.set_name(name.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.admin.pause_namespace_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Resumes the deliveries of a paused namespace.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn resume_namespace(&self, name: &str) -> Result<Namespace, Error> {
        let mut request = ResumeNamespaceRequest::default();
        request.set_name(name.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Safe, self.timeout(), |peer, option| {
                peer.admin.resume_namespace_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Counts, times and rates; costs the same however many tasks there are.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn namespace_stats(&self, name: &str) -> Result<NamespaceStats, Error> {
        let mut request = GetNamespaceStatsRequest::default();
        request.set_name(name.to_owned());
        let answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.admin.get_namespace_stats_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_what_it_changes_also_to_zero() {
        let patch = SettingsPatch {
            max_attempts: Some(0),
            lease: Some(Duration::from_secs(7)),
            dead_keep: Some(None),
            ..SettingsPatch::default()
        };
        let (settings, names) = patch.wire();
        assert_eq!(names, ["lease", "max_attempts", "dead_keep"]);
        assert_eq!(settings.get_lease().get_seconds(), 7);
        assert!(!settings.has_dead_keep());
        assert_eq!(SettingsPatch::default().wire().1.len(), 0);
    }
}
