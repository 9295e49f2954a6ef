//! Errors of a peer name fields of requests; people know flags. Names the flag, or
//! the argument, that a field comes from.

use std::borrow::Cow;

use z4_core::settings::SETTINGS;

/// Fields of requests that z4t fills, and where it has them from; but for the
/// settings of a namespace, whose flags are their names.
const FLAGS: [(&str, &str); 43] = [
    ("certificate_names", "--certificate-name"),
    ("consumer_id", "--consumer-id"),
    ("delay", "--delay"),
    ("deliver_at", "--at"),
    ("deliver_at.nanos", "--at"),
    ("deliver_at.seconds", "--at"),
    ("error", "--error"),
    ("expires_in", "--expires-in"),
    ("extends", "the list of leases"),
    ("from", "--from"),
    ("grants", "--grant"),
    ("grants.role", "--grant"),
    ("lease_token", "the token of the lease"),
    ("leases", "the list of leases"),
    ("limit", "--limit"),
    ("max_in_flight", "--max-in-flight"),
    ("max_tasks", "--max"),
    ("member_address", "--peer"),
    ("member_id", "--id"),
    ("metadata", "--metadata"),
    ("nacks", "the list of leases"),
    ("name", "the namespace"),
    ("names", "--certificate-name"),
    ("namespace", "the namespace"),
    ("page_token", "--page-token"),
    ("payload", "the payload"),
    ("principal", "the principal"),
    ("priority", "--priority"),
    ("rate.count", "--rate"),
    ("rate.period", "--rate"),
    ("rate_per_s", "--rate-per-s"),
    ("request_id", "--request-id"),
    ("scope", "--grant"),
    ("server_name", "--server-name"),
    ("task_id", "the task id"),
    ("task_ids", "the list of task ids"),
    ("tasks", "--batch"),
    ("to", "--to"),
    ("token_id", "the token id"),
    ("tts", "--in"),
    ("tts_seconds", "--in"),
    ("ttl", "--ttl"),
    ("wait", "--wait"),
];

/// Errors that name further fields by words that are common words, too.
const WHOLE: [(&str, &str); 2] = [
    ("from must be before to", "--from must be before --to"),
    (
        "task_ids must be empty when from, to, reason or limit is given",
        "give task ids, or --from, --to, --reason and --limit, not both",
    ),
];

fn flag(field: &str) -> Option<Cow<'static, str>> {
    if SETTINGS.iter().any(|setting| setting.name == field) {
        return Some(format!("--{}", field.replace('_', "-")).into());
    }
    let found = FLAGS.iter().find(|(name, _)| *name == field);
    found.map(|(_, flag)| (*flag).into())
}

/// The error of a peer, with the names of flags.
pub(crate) fn named(message: &str) -> String {
    if let Some((_, text)) = WHOLE.iter().find(|(whole, _)| *whole == message) {
        return (*text).to_owned();
    }
    if let Some((place, rest)) = of_list(message) {
        return format!("{place}: {}", named(rest));
    }
    let (first, rest) = message.split_once(' ').unwrap_or((message, ""));
    let mut text = flag(first).unwrap_or(first.into()).into_owned();
    for word in rest.split(' ').filter(|_| !rest.is_empty()) {
        text.push(' ');
        // Only fields have an underscore: other words may be words of the error.
        let bare = word.trim_end_matches([',', ';', '.', ':']);
        match flag(bare).filter(|_| bare.contains('_')) {
            Some(flag) => text.push_str(&word.replacen(bare, &flag, 1)),
            None => text.push_str(word),
        }
    }
    text
}

/// The error of a peer about a line of a batch, with the names of its keys.
pub(crate) fn of_line(message: &str) -> String {
    let (field, rest) = message.split_once(' ').unwrap_or((message, ""));
    let key = match field {
        "tts_seconds" => "in",
        "deliver_at.seconds" | "deliver_at.nanos" => "at",
        field => field,
    };
    format!("{key} {rest}").trim_end().to_owned()
}

/// `tasks[3].priority must be`, `task_ids[3]: task_id must be`: which of a list,
/// counted from 1, and the error of that one.
fn of_list(message: &str) -> Option<(String, &str)> {
    let (list, rest) = message.split_once('[')?;
    let what = match list {
        "tasks" => "task",
        "task_ids" => "task id",
        _ => return None,
    };
    let (place, rest) = rest.split_once(']')?;
    let place = place.parse::<u64>().ok()?.checked_add(1)?;
    let rest = rest.strip_prefix('.').or_else(|| rest.strip_prefix(": "))?;
    Some((format!("{what} {place} of the list"), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn fields_become_flags() {
        for (message, said) in [
            ("priority must be 0 to 9", "--priority must be 0 to 9"),
            ("from must be before to", "--from must be before --to"),
            (
                "backoff_min would be 9 ms, above backoff_max, which is 1 ms; set both",
                "--backoff-min would be 9 ms, above --backoff-max, which is 1 ms; set both",
            ),
            (
                "tasks[3].ttl is 0 s 0 ns; it must be 1 ms to 9 ms",
                "task 4 of the list: --ttl is 0 s 0 ns; it must be 1 ms to 9 ms",
            ),
            (
                "task_ids[0]: task_id must be 26 characters",
                "task id 1 of the list: the task id must be 26 characters",
            ),
            // Words that are no fields stay, wherever they stand.
            (
                "no leader is known: to be tried again",
                "no leader is known: to be tried again",
            ),
            ("tasks[x].a", "tasks[x].a"),
            ("", ""),
        ] {
            assert_eq!(named(message), said);
        }
        assert_eq!(of_line("tts_seconds is 9"), "in is 9");
        assert_eq!(of_line("priority must be"), "priority must be");
    }

    /// Fields that no flag of z4t leads to, each with the reason.
    const OTHERS: [(&str, &str); 10] = [
        ("ahead_ms", "of a command between peers"),
        ("ask", "of a command between peers"),
        ("command", "of a command between peers"),
        (
            "consumer",
            "of a command between peers; z4t knows consumer_id",
        ),
        ("message", "the size of a whole request, or none at all"),
        (
            "open",
            "the first message of a stream, which z4-client sends",
        ),
        ("page_size", "z4t asks for pages of 1,000"),
        ("room", "of a command between peers"),
        ("takers", "of a command between peers"),
        ("update_mask", "z4t names settings that exist"),
    ];

    /// Every field that the checks of a peer name is a flag, or has a reason.
    #[test]
    fn no_field_of_a_check_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut fields = BTreeSet::new();
        for sources in ["z4-core/src", "z4-rpc/src"] {
            gather(&root.join(sources), &mut fields);
        }
        assert!(fields.len() > 25, "{fields:?}");
        for field in &fields {
            let known = flag(field).is_some() || OTHERS.iter().any(|(name, _)| name == field);
            assert!(
                known,
                "{field} has no flag in FLAGS and no reason in OTHERS"
            );
        }
    }

    /// The first argument of each call of a check, in the files below a folder, as
    /// far as it is the name of a field.
    fn gather(folder: &Path, fields: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, fields);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let is_test = path.ends_with("tests.rs");
            let code = text.split("#[cfg(test)]").next().filter(|_| !is_test);
            for call in [
                "invalid(", "within(", "at_most(", "counted(", "span_ms(", "check(", "span(",
            ] {
                for found in code.unwrap_or_default().split(call).skip(1) {
                    let argument = found.trim_start().strip_prefix('"');
                    let name = argument.and_then(|a| a.split('"').next());
                    let is_field = |name: &&str| {
                        let plain = |b: u8| b.is_ascii_lowercase() || matches!(b, b'_' | b'.');
                        !name.is_empty() && name.bytes().all(plain)
                    };
                    fields.extend(name.filter(is_field).map(str::to_owned));
                }
            }
        }
    }
}
