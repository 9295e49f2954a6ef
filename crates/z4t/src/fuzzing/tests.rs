//! Arguments and answers that nobody would think of, a few hundred at each run;
//! the fuzz targets `arguments` and `answers` go on from there.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use protobuf::well_known_types::{Duration as WireSpan, Timestamp};
use z4_client::{Explanation, LeaseOutcome, LeaseRef, LeaseResult, Reason, ReasonKind, Verdict};
use z4_client::{Grant, Role, TokenInfo};
use z4_proto::{admin, collection as wire};

use super::*;
use crate::rates::PeerRates;

/// Words of command lines, whole and in parts.
const WORDS: &[&str] = &[
    "create",
    "get",
    "list",
    "stream",
    "consume",
    "lease",
    "ack",
    "nack",
    "extend",
    "release",
    "cancel",
    "reschedule",
    "run-now",
    "explain",
    "dead",
    "ns",
    "upgrade",
    "hold",
    "finish",
    "redrive",
    "purge",
    "set",
    "pause",
    "resume",
    "delete",
    "stats",
    "info",
    "status",
    "health",
    "add-peer",
    "remove-peer",
    "replace-peer",
    "transfer-leader",
    "verify",
    "doctor",
    "top",
    "--once",
    "--interval",
    "completions",
    "bash",
    "help",
    "-t",
    "--target",
    "--target=",
    "a:1",
    "a:1,b:2",
    "-p",
    "-id",
    "-id=x",
    "--id",
    "-o",
    "json",
    "text",
    "-ojson",
    "--timeout",
    "--ca",
    "--ca=a",
    "--cert",
    "--key",
    "--server-name",
    "certs",
    "create-ca",
    "create-peer",
    "create-client",
    "--out",
    "--ca-dir",
    "--days",
    "10.0.0.1",
    "../a",
    "--token-file",
    "--context",
    "access",
    "put",
    "create-token",
    "revoke-token",
    "whoami",
    "new-root-token",
    "--grant",
    "producer:mail.*",
    "--certificate-name",
    "--expires-in",
    "context",
    "use",
    "5s",
    "500000000000y",
    "--in",
    "--at",
    "2030-01-01T00:00:00Z",
    "-m",
    "-mk=v",
    "k=v",
    "--file",
    "-f",
    "--batch",
    "--batch=",
    "--atomic",
    "--priority",
    "9",
    "--max-attempts",
    "--ttl",
    "--request-id",
    "--exec",
    "--count",
    "18446744073709551616",
    "--max-in-flight",
    "--lease",
    "--wait",
    "--max",
    "--consumer-id",
    "--delay",
    "--error",
    "--permanent",
    "x:7",
    "--state",
    "dead",
    "--from",
    "--to",
    "--limit",
    "--body",
    "--reason",
    "--dead-keep",
    "forever",
    "--",
    "-",
    "--nope",
    "--help",
    "-h",
    "--version",
    "-V",
    "",
];

fn word() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec());
    prop_oneof![
        8 => known.clone(),
        1 => vec(any::<u8>(), 0..6),
        1 => (known, vec(any::<u8>(), 0..4)).prop_map(|(word, more)| [word, more].concat()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9]{0,12}",
        2 => any::<String>(),
        1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}a\n]{1,12}",
        1 => (65_000usize..66_000).prop_map(|len| "x".repeat(len)),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), any::<i32>(), 0..70u32).prop_map(|(seconds, nanos, shift)| {
        let mut time = Timestamp::default();
        // Of every size, the sizes that people use among them.
        time.set_seconds(seconds.checked_shr(shift).unwrap_or_default());
        time.set_nanos(nanos);
        time
    })
}

fn span() -> impl Strategy<Value = WireSpan> {
    time().prop_map(|time| {
        let mut span = WireSpan::default();
        span.set_seconds(time.get_seconds());
        span.set_nanos(time.get_nanos());
        span
    })
}

fn wire_task() -> impl Strategy<Value = wire::Task> {
    let texts = (text(), text(), text(), text());
    let times = (time(), prop::option::of(time()), time());
    let body = prop_oneof![text().prop_map(String::into_bytes), vec(any::<u8>(), 0..9)];
    let rest = (span(), any::<[u32; 4]>(), 0..4usize, body, any::<u64>());
    (texts, times, rest).prop_map(|((id, key, value, error), (at, due, died), rest)| {
        let (ttl, [priority, attempt, most, failures], state, payload, size) = rest;
        let mut task = wire::Task::default();
        task.set_id(id.clone());
        task.set_namespace(key.clone());
        task.mut_metadata().insert(key, value.clone());
        task.set_payload(payload);
        task.set_deliver_at(at.clone());
        task.set_created_at(at.clone());
        task.set_lease_deadline(at);
        task.due_at = due.into();
        task.set_died_at(died);
        task.set_ttl(ttl);
        task.set_state(protobuf::ProtobufEnum::values()[state % 4]);
        task.set_priority(priority);
        task.set_attempt(attempt);
        task.set_max_attempts(most);
        task.set_failures(failures);
        task.set_size_bytes(size);
        task.set_last_error(error);
        task.set_consumer_id(value);
        task
    })
}

fn wire_settings() -> impl Strategy<Value = admin::NamespaceSettings> {
    (span(), prop::option::of(span()), any::<u64>(), any::<u32>()).prop_map(
        |(lease, keep, count, rate)| {
            let mut settings = admin::NamespaceSettings::default();
            settings.set_lease(lease.clone());
            settings.set_backoff_max(lease);
            settings.dead_keep = keep.into();
            settings.set_pending_max(count);
            settings.set_rate_per_s(rate);
            settings
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_arguments_are_a_panic(args in vec(word(), 0..9)) {
        arguments(args);
    }

    #[test]
    fn every_task_can_be_shown(given in wire_task(), numbers in any::<(u64, u32)>()) {
        let mut wire = wire::Delivery::default();
        wire.set_lease_deadline(given.get_deliver_at().clone());
        wire.set_task(given);
        wire.set_lease_token(numbers.0);
        wire.set_attempt(numbers.1);
        delivery(&wire.into());
    }

    #[test]
    fn every_other_answer_can_be_shown(
        (name, message) in (text(), text()),
        settings in wire_settings(),
        when in time(),
        spans in (span(), span()),
        number in any::<u64>(),
        rate in any::<f64>(),
        given in wire_task(),
    ) {
        let mut wire = admin::Namespace::default();
        wire.set_name(name.clone());
        wire.set_settings(settings);
        wire.set_paused_at(when.clone());
        wire.mut_counts().set_pending(number);
        wire.mut_counts().set_dead(number / 2);
        let full = Namespace::from(wire);
        namespace(&full);

        let mut wire = admin::NamespaceStats::default();
        wire.set_name(name.clone());
        wire.set_next_due_at(when.clone());
        wire.set_created_per_s(rate);
        wire.set_pending_by_priority(vec![number; (number % 20) as usize]);
        stats(&wire.into());

        let mut wire = admin::ClusterInfo::default();
        wire.set_server_id(name.clone());
        wire.set_leader_address(message.clone());
        wire.set_notice(message.clone());
        wire.set_commit_index(number);
        let mut member = admin::Server::default();
        member.set_id(name.clone());
        member.set_address(message.clone());
        wire.mut_members().push(member);
        let info = ClusterInfo::from(wire);
        cluster(&info);

        let mut member = admin::PeerStatus::default();
        member.set_id(name.clone());
        member.set_version(message.clone());
        member.set_uptime(spans.0.clone());
        member.set_last_backup_age(spans.0.clone());
        member.set_commit_index(number);
        member.mut_process().set_cpu(spans.1.clone());
        member.mut_process().set_connections(number);
        member.mut_process().set_resident_bytes(number);
        let mut volume = admin::VolumeStatus::default();
        volume.set_folders(vec![name.clone(), message.clone()].into());
        volume.set_filesystem("tmpfs".to_owned());
        volume.set_free_bytes(number);
        volume.set_reserve_bytes(u64::MAX);
        member.mut_volumes().push(volume);
        member.mut_security().set_certificate(message.clone());
        member.mut_security().set_certificate_expires_at(when.clone());
        member.mut_clock().set_fault(message.clone());
        let mut offset = admin::ClockOffset::default();
        offset.set_member_id(name.clone());
        offset.set_offset(spans.1.clone());
        member.mut_clock().mut_offsets().push(offset);
        member.mut_counters().set_created(number);
        let lateness = member.mut_counters().mut_lateness();
        lateness.set_count(number);
        let mut bucket = admin::HistogramBucket::default();
        bucket.set_at_most_seconds(rate);
        bucket.set_count(number);
        lateness.mut_buckets().push(bucket);
        let mut silent = admin::PeerStatus::default();
        silent.set_id(message.clone());
        silent.set_error(message.clone());
        let all = [member.clone(), member, silent];
        let all = all.map(PeerStatus::from);
        peers(&info, &all, &[full]);
        // Two looks with rates and percentiles between them, of whatever numbers are drawn.
        if let Some(facts) = &all[0].facts {
            let before = earlier(&all);
            let before = before[0].facts.as_deref();
            let rates = before.and_then(|before| PeerRates::between(before, facts));
            prop_assert_eq!(rates.is_some(), !facts.uptime.is_zero());
        }

        let verdict = Verdict {
            id: name.clone(),
            state_hash: message.clone(),
            violations: vec![message.clone()],
            error: String::new(),
            rows: number,
        };
        for ok in [true, false] {
            let origin = z4_client::Origin {
                cluster_id: name.clone(),
                index: number,
                state_hash: message.clone(),
            };
            let members = vec![verdict.clone()];
            let origin = Some(origin);
            verification(&Verification { index: number, ok, members, origin });
        }
        let shown = Task::from(given);
        let reason = Reason {
            kind: ReasonKind::Backoff,
            message: message.clone(),
            until: shown.due_at,
            since: None,
            count: number,
        };
        for outcome in [LeaseOutcome::Taken, LeaseOutcome::Waiting, LeaseOutcome::Extended] {
            result(&LeaseResult {
                lease: LeaseRef { task_id: name.clone(), token: number },
                outcome,
                message: message.clone(),
                due_at: shown.due_at,
                lease_deadline: shown.lease_deadline,
                death_reason: None,
            });
        }
        let token = TokenInfo {
            id: name.clone(),
            created_at: shown.due_at,
            expires_at: shown.lease_deadline,
        };
        principal(&Principal {
            name: name.clone(),
            grants: vec![Grant::new(Role::Admin, "*"), Grant::new(Role::Other, message.clone())],
            certificate_names: vec![message.clone(), name.clone()],
            tokens: vec![token],
        });
        explanation(&Explanation { task: shown, reasons: vec![reason] });
    }
}

#[test]
fn the_widest_spans_and_times_are_shown() {
    for span in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::ZERO] {
        assert!(!crate::moment::show_span(span).is_empty());
    }
}
