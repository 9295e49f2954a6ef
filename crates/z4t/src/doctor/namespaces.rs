//! Rules of namespaces: those that hold tasks up, and dead letters.

use z4_client::Namespace;

use super::{risk, wrong, Finding, Seen, CLUSTER};
use crate::limits;

/// The state of the cluster can be read.
pub(super) fn reads(seen: &Seen) -> Vec<Finding> {
    let Err(error) = &seen.namespaces else {
        return Vec::new();
    };
    vec![wrong(
        CLUSTER,
        format!("namespaces cannot be read: {error}"),
        "a read needs a leader and a quorum, as every other call does",
        "see the other findings; z4t status shows who leads and who is silent",
    )]
}

/// The namespaces that are not being removed.
fn namespaces(seen: &Seen) -> Vec<&Namespace> {
    let namespaces = seen.namespaces.iter().flatten();
    namespaces.filter(|namespace| !namespace.deleting).collect()
}

/// The names of some of them, and how many there are.
fn named(namespaces: &[&Namespace]) -> String {
    let shown = namespaces.iter().take(limits::NAMES_SHOWN_MAX);
    let shown: Vec<_> = shown.map(|namespace| namespace.name.as_str()).collect();
    let names = shown.join(", ");
    match namespaces.len() - shown.len() {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// No namespace is paused or full.
pub(super) fn held_up(seen: &Seen) -> Vec<Finding> {
    let all = namespaces(seen);
    let mut found = Vec::new();
    let paused: Vec<_> = all
        .iter()
        .copied()
        .filter(|n| n.paused_at.is_some())
        .collect();
    if !paused.is_empty() {
        found.push(risk(
            CLUSTER,
            format!("paused: {}", named(&paused)),
            "nothing of them is delivered, and what is created waits",
            "z4t ns resume NAMESPACE",
        ));
    }
    let full: Vec<_> = all.iter().copied().filter(|n| is_nearly_full(n)).collect();
    if !full.is_empty() {
        found.push(risk(
            CLUSTER,
            format!(
                "{}% of pending_max or bytes_max or more: {}",
                limits::FULL_PERCENT_MIN,
                named(&full)
            ),
            "at the limit creates are refused with RESOURCE_EXHAUSTED",
            "see with z4t ns stats NAMESPACE whether consumers are there; or raise the limit: z4t ns \
             set NAMESPACE --pending-max COUNT --bytes-max BYTES",
        ));
    }
    found
}

fn is_nearly_full(namespace: &Namespace) -> bool {
    let reaches = |count: u64, max: u64| {
        let percent = u128::from(limits::FULL_PERCENT_MIN);
        max > 0 && u128::from(count) * 100 >= u128::from(max) * percent
    };
    let (counts, settings) = (&namespace.counts, &namespace.settings);
    reaches(counts.pending, settings.pending_max) || reaches(counts.bytes, settings.bytes_max)
}

/// No task has been given up.
pub(super) fn dead_letters(seen: &Seen) -> Vec<Finding> {
    let mut with_dead = namespaces(seen);
    with_dead.retain(|namespace| namespace.counts.dead > 0);
    if with_dead.is_empty() {
        return Vec::new();
    }
    with_dead.sort_by_key(|namespace| std::cmp::Reverse(namespace.counts.dead));
    let dead = with_dead.iter().map(|namespace| namespace.counts.dead);
    let count = dead.fold(0, u64::saturating_add);
    let more = match seen.has_more_namespaces {
        true => ", and there are namespaces that were not looked at",
        false => "",
    };
    vec![risk(
        CLUSTER,
        format!("{count} dead letters: {}{more}", named(&with_dead)),
        "they are work that was given up, and take space for as long as they are kept",
        "z4t dead list NAMESPACE says why; then z4t dead redrive, or z4t dead purge; z4t ns set \
         NAMESPACE --dead-keep TIME removes them by themselves",
    )]
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy, namespace, now, severities};
    use super::super::Severity::{Risk, Wrong};
    use super::*;

    fn with(spoil: impl Fn(&mut Namespace)) -> Seen {
        let mut seen = healthy();
        let mut spoiled = namespace("mails");
        spoil(&mut spoiled);
        seen.namespaces = Ok(vec![namespace("other"), spoiled]);
        seen
    }

    #[test]
    fn a_state_that_cannot_be_read_is_wrong() {
        let mut seen = healthy();
        assert_eq!(reads(&seen), []);
        seen.namespaces = Err("no quorum".into());
        assert_eq!(severities(&reads(&seen)), [("cluster", Wrong)]);
        assert_eq!(held_up(&seen), []);
    }

    #[test]
    fn a_pause_is_a_risk() {
        let seen = with(|namespace| namespace.paused_at = Some(now()));
        let found = held_up(&seen);
        assert_eq!(severities(&found), [("cluster", Risk)]);
        assert_eq!(found[0].measured, "paused: mails");
        assert_eq!(held_up(&with(|_| ())), []);
        // One that is being removed delivers nothing either.
        let removed = with(|namespace| {
            namespace.paused_at = Some(now());
            namespace.deleting = true;
        });
        assert_eq!(held_up(&removed), []);
    }

    #[test]
    fn nine_tenths_of_a_limit_are_a_risk() {
        let pending = |count, max| {
            held_up(&with(|namespace| {
                namespace.counts.pending = count;
                namespace.settings.pending_max = max;
            }))
        };
        assert_eq!(pending(89, 100), []);
        assert_eq!(pending(1_000, 0), [], "no limit");
        let full = pending(90, 100);
        assert_eq!(severities(&full), [("cluster", Risk)]);
        assert!(full[0].measured.contains("mails"), "{full:?}");
        let bytes = held_up(&with(|namespace| {
            namespace.counts.bytes = 95;
            namespace.settings.bytes_max = 100;
        }));
        assert_eq!(bytes.len(), 1);
    }

    #[test]
    fn dead_letters_are_counted_and_the_most_are_named_first() {
        let mut seen = healthy();
        let dead = |count: u64| {
            let mut namespace = namespace(&format!("n{count}"));
            namespace.counts.dead = count;
            namespace
        };
        seen.namespaces = Ok((0..8).map(dead).collect());
        let found = dead_letters(&seen);
        assert_eq!(severities(&found), [("cluster", Risk)]);
        let measured = "28 dead letters: n7, n6, n5, n4, n3 and 2 more";
        assert_eq!(found[0].measured, measured);
        seen.has_more_namespaces = true;
        assert!(dead_letters(&seen)[0].measured.contains("not looked at"));
        assert_eq!(dead_letters(&with(|_| ())), []);
    }
}
