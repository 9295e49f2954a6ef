//! A namespace as clients know it.

use z4_core::state::{NamespaceConfig, NamespaceCounts, NamespaceRow};
use z4_core::Namespace;
use z4_proto::generated::admin::{self as wire, NamespaceSettings, TaskCounts};

use crate::convert::{duration_of_ms, timestamp_of_ns};

pub(super) fn namespace(name: &Namespace, row: &NamespaceRow) -> wire::Namespace {
    let mut namespace = wire::Namespace::default();
    namespace.set_name(name.as_str().to_owned());
    namespace.set_settings(settings(&row.config));
    if let Some(at_ns) = row.paused_at_ns {
        namespace.set_paused_at(timestamp_of_ns(at_ns));
    }
    namespace.set_deleting(row.deleting.is_some());
    namespace.set_counts(counts(&row.counts));
    namespace
}

pub(super) fn settings(config: &NamespaceConfig) -> NamespaceSettings {
    let mut settings = NamespaceSettings::default();
    settings.set_lease(duration_of_ms(config.lease_ms));
    settings.set_dedupe_window(duration_of_ms(config.dedupe_ms));
    settings.set_max_attempts(config.max_attempts);
    settings.set_backoff_min(duration_of_ms(config.backoff_min_ms));
    settings.set_backoff_max(duration_of_ms(config.backoff_max_ms));
    settings.set_pending_max(config.pending_max);
    settings.set_bytes_max(config.bytes_max);
    settings.set_leased_max(config.leased_max);
    settings.set_rate_per_s(config.rate.per_s_rounded_up());
    if config.rate.count > 0 {
        let rate = settings.mut_rate();
        rate.set_count(config.rate.count);
        rate.set_period(duration_of_ms(config.rate.period_ms));
    }
    settings.set_rate_burst(config.rate_burst);
    if config.dead_keep_ms > 0 {
        settings.set_dead_keep(duration_of_ms(config.dead_keep_ms));
    }
    settings.set_dead_keep_count(config.dead_keep_count);
    settings
}

pub(super) fn counts(counts: &NamespaceCounts) -> TaskCounts {
    let mut shown = TaskCounts::default();
    shown.set_created(counts.created);
    shown.set_pending(counts.pending);
    shown.set_leased(counts.leased);
    shown.set_done(counts.done);
    shown.set_dead(counts.dead);
    shown.set_cancelled(counts.cancelled);
    shown.set_purged(counts.purged);
    shown.set_deliveries(counts.deliveries);
    shown.set_failures(counts.failures);
    shown.set_bytes(counts.bytes);
    shown
}
