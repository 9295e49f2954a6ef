//! A namespace as clients know it.

use z4_core::state::{NamespaceConfig, NamespaceCounts, NamespaceRow, RateLimit};
use z4_core::{each_setting, Namespace};
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

fn settings(config: &NamespaceConfig) -> NamespaceSettings {
    let mut settings = NamespaceSettings::default();
    macro_rules! show {
        ($($(#[$doc:meta])* $field:ident: $type:ty, $name:ident: $kind:ident {
            number: $number:literal,
            default: $default:expr,
            bounds: $bounds:expr,
            few: $few:expr,
        };)*) => {
            $(settings.$name = show!(@$kind config.$field, $default);)*
        };
        (@Span $value:expr, $default:expr) => {
            // A span that is 0 by default means that there is none.
            Some($value).filter(|ms| *ms > 0 || $default > 0).map(duration_of_ms).into()
        };
        (@Rate $value:expr, $default:expr) => {
            Some($value).filter(|rate| rate.count > 0).map(rate).into()
        };
        (@$number:ident $value:expr, $default:expr) => { $value };
    }
    each_setting!(show);
    // The rate as clients know it that know of no other period than a second.
    settings.set_rate_per_s(config.rate.per_s_rounded_up());
    settings
}

fn rate(limit: RateLimit) -> wire::Rate {
    let mut rate = wire::Rate::default();
    rate.set_count(limit.count);
    rate.set_period(duration_of_ms(limit.period_ms));
    rate
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use data_encoding::HEXLOWER;
    use protobuf::Message;

    use super::*;

    /// Clients that exist read these bytes.
    #[test]
    fn settings_are_written_as_ever() {
        let hex =
            |config: &NamespaceConfig| HEXLOWER.encode(&settings(config).write_to_bytes().unwrap());
        let default = NamespaceConfig::default();
        let zero = NamespaceConfig {
            lease_ms: 0,
            dedupe_ms: 0,
            backoff_min_ms: 0,
            backoff_max_ms: 0,
            ..NamespaceConfig::default()
        };
        let mut full = zero.clone();
        full.lease_ms = 1_001;
        full.dedupe_ms = 2;
        full.max_attempts = 3;
        full.backoff_min_ms = 4;
        full.backoff_max_ms = 5;
        full.pending_max = 6;
        full.bytes_max = u64::MAX;
        full.leased_max = 8;
        full.rate.count = 90;
        full.rate.period_ms = 60_000;
        full.rate_burst = 10;
        full.dead_keep_ms = 11;
        full.dead_keep_count = 12;
        assert_eq!(
            [&default, &zero, &full].map(hex),
            [
                "0a02081e120308d804220208012a0308d804",
                "0a00120022002a00",
                "0a06080110c0843d12041080897a18032205108092f4012a0510c096b102300638\
                 ffffffffffffffffff0140084802500a5a0510c0b19f05600c6a06085a1202083c",
            ]
        );
    }
}
