//! Namespaces: settings, counts, rates.

use std::time::Duration;

use serde_json::{json, Value};
use z4_client::{Counts, Namespace, NamespaceStats, Settings};

use super::table::{pairs, table};
use super::task::{given, time};
use crate::{moment, rate};

/// A namespace for programs.
pub(crate) fn namespace_json(namespace: &Namespace) -> Value {
    json!({
        "name": namespace.name,
        "settings": settings_json(&namespace.settings),
        "paused_at": time(namespace.paused_at),
        "deleting": namespace.deleting,
        "counts": counts_json(&namespace.counts),
    })
}

fn settings_json(settings: &Settings) -> Value {
    let rows = setting_rows(settings).into_iter();
    rows.map(|(key, value, _, _)| (key.to_owned(), value))
        .collect()
}

/// For each setting its key and value for programs, and its name and text for people;
/// the name is empty where people are told the same by another one.
fn setting_rows(settings: &Settings) -> [(&'static str, Value, &'static str, String); 13] {
    // A whole pattern: a setting that is added cannot be forgotten.
    let Settings {
        lease,
        dedupe_window,
        max_attempts,
        backoff_min,
        backoff_max,
        pending_max,
        bytes_max,
        leased_max,
        rate,
        rate_per_s,
        rate_burst,
        dead_keep,
        dead_keep_count,
    } = settings;
    let span = |key, span: Option<Duration>, name| {
        let text = span.map(moment::show_span);
        let value = json!(text);
        (key, value, name, text.unwrap_or_else(|| "forever".into()))
    };
    let limit = |key, count: u64, name| {
        let text = match count {
            0 => "no limit".to_owned(),
            count => count.to_string(),
        };
        (key, json!(count), name, text)
    };
    let burst = match (rate, rate_burst) {
        (None, _) => String::new(),
        // What a second lets through, and one at least.
        (Some(_), 0) => rate_per_s.to_string(),
        (Some(_), burst) => burst.to_string(),
    };
    let rate = rate.as_ref().map(rate::show);
    let rate_value = json!(rate);
    let rate_text = rate.unwrap_or_else(|| "no limit".into());
    [
        span("lease", Some(*lease), "lease"),
        span("dedupe_window", Some(*dedupe_window), "dedupe window"),
        limit("max_attempts", (*max_attempts).into(), "max attempts"),
        span("backoff_min", Some(*backoff_min), "backoff min"),
        span("backoff_max", Some(*backoff_max), "backoff max"),
        limit("pending_max", *pending_max, "pending max"),
        limit("bytes_max", *bytes_max, "bytes max"),
        limit("leased_max", *leased_max, "leased max"),
        ("rate", rate_value, "rate", rate_text),
        ("rate_per_s", json!(rate_per_s), "", String::new()),
        ("rate_burst", json!(rate_burst), "rate burst", burst),
        span("dead_keep", *dead_keep, "dead kept"),
        limit("dead_keep_count", *dead_keep_count, "dead kept, count"),
    ]
}

fn counts_json(counts: &Counts) -> Value {
    let rows = count_rows(counts).into_iter();
    rows.map(|(key, count)| (key.to_owned(), json!(count)))
        .collect()
}

/// A namespace on several lines.
pub(crate) fn namespace_text(namespace: &Namespace) -> String {
    let deleting = if namespace.deleting { "yes" } else { "" };
    let mut lines = vec![
        ("namespace", namespace.name.clone()),
        ("paused since", given(namespace.paused_at)),
        ("deleting", deleting.into()),
    ];
    let settings = setting_rows(&namespace.settings).into_iter();
    lines.extend(
        settings
            .map(|(_, _, name, text)| (name, text))
            .filter(|line| !line.0.is_empty()),
    );
    lines.extend(count_lines(&namespace.counts));
    pairs(lines)
}

fn count_rows(counts: &Counts) -> [(&'static str, u64); 10] {
    [
        ("created", counts.created),
        ("pending", counts.pending),
        ("leased", counts.leased),
        ("done", counts.done),
        ("dead", counts.dead),
        ("cancelled", counts.cancelled),
        ("purged", counts.purged),
        ("deliveries", counts.deliveries),
        ("failures", counts.failures),
        ("bytes", counts.bytes),
    ]
}

fn count_lines(counts: &Counts) -> impl Iterator<Item = (&'static str, String)> {
    let rows = count_rows(counts).into_iter();
    rows.map(|(name, count)| (name, count.to_string()))
}

/// Namespaces, a line each.
pub(crate) fn namespace_table(namespaces: &[Namespace]) -> String {
    let rows = namespaces.iter().map(|namespace| {
        let counts = &namespace.counts;
        let remark = match (namespace.deleting, namespace.paused_at) {
            (true, _) => "deleting",
            (false, Some(_)) => "paused",
            (false, None) => "",
        };
        [
            namespace.name.clone(),
            counts.pending.to_string(),
            counts.leased.to_string(),
            counts.dead.to_string(),
            counts.done.to_string(),
            counts.bytes.to_string(),
            remark.to_owned(),
        ]
    });
    table(
        ["NAME", "PENDING", "LEASED", "DEAD", "DONE", "BYTES", ""],
        rows,
    )
}

/// Statistics for programs; spans in seconds.
pub(crate) fn stats_json(stats: &NamespaceStats) -> Value {
    let seconds = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
    json!({
        "name": stats.name,
        "counts": counts_json(&stats.counts),
        "pending_by_priority": stats.pending_by_priority,
        "oldest_due_age_s": seconds(stats.oldest_due_age),
        "next_due_at": time(stats.next_due_at),
        "created_per_s": stats.created_per_s,
        "delivered_per_s": stats.delivered_per_s,
        "done_per_s": stats.done_per_s,
        "lateness_mean_s": seconds(stats.lateness_mean),
        "consumers": stats.consumers,
        "consumer_room": stats.consumer_room,
        "last_leased_at": time(stats.last_leased_at),
        "paused_at": time(stats.paused_at),
        "deleting": stats.deleting,
    })
}

/// Statistics on several lines.
pub(crate) fn stats_text(stats: &NamespaceStats) -> String {
    let by_priority = stats.pending_by_priority.iter().enumerate();
    let by_priority: Vec<_> = by_priority
        .filter(|(_, count)| **count > 0)
        .map(|(at, count)| format!("{}: {count}", 9usize.saturating_sub(at)))
        .collect();
    let span = |span: Option<Duration>| span.map_or(String::new(), moment::show_span);
    let rate = |rate: f64| format!("{rate:.1}");
    let mut lines = vec![
        ("namespace", stats.name.clone()),
        ("paused since", given(stats.paused_at)),
        ("deleting", if stats.deleting { "yes" } else { "" }.into()),
    ];
    lines.extend(count_lines(&stats.counts));
    lines.extend([
        ("by priority", by_priority.join(", ")),
        ("oldest due for", span(stats.oldest_due_age)),
        ("next due at", given(stats.next_due_at)),
        ("created per s", rate(stats.created_per_s)),
        ("delivered per s", rate(stats.delivered_per_s)),
        ("done per s", rate(stats.done_per_s)),
        ("mean lateness", span(stats.lateness_mean)),
        ("consumers", stats.consumers.to_string()),
        ("their room", stats.consumer_room.to_string()),
        ("last leased at", given(stats.last_leased_at)),
    ]);
    pairs(lines)
}
