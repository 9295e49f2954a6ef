//! What reads arguments and what shows answers, opened for the fuzz targets. Not
//! part of the API: built for tests and with the feature `fuzzing` alone.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;

use z4_client::{ClusterInfo, Delivery, Explanation, LeaseResult, Namespace, NamespaceStats};
use z4_client::{Identity, PeerStatus, Principal, Task, Verification};

use crate::doctor::{self, Seen};
use crate::show::{self, Body, Full, Look};
use crate::{argv, error::Error};

/// Reads a command line, the name of the program left out. What is refused is
/// refused in one line.
///
/// # Panics
/// When a complaint is not one plain line: a finding.
pub fn arguments(args: Vec<Vec<u8>>) {
    let args = args.into_iter().map(OsString::from_vec);
    let Err(error) = argv::parse(std::iter::once("z4t".into()).chain(args)) else {
        return;
    };
    assert!(matches!(&error, Error::Usage(_)), "{error:?}");
    let error = error.to_string();
    plain(&show::escape(&error));
    assert!(!error.trim().is_empty());
}

/// Shows a task in all forms that hold one.
///
/// # Panics
/// When one is not plain: a finding.
pub fn task(task: &Task) {
    let body = Body::Shown;
    for tasks in [std::slice::from_ref(task), &[task.clone(), Task::default()]] {
        table(&show::task_table(tasks, body), tasks.len());
        table(&show::dead_table(tasks, body), tasks.len());
    }
    lines(&show::task_text(task));
    plain(&show::task_line(task));
    json(&show::task_json(task, body).to_string());
}

/// Shows a delivery and its task.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn delivery(delivery: &Delivery) {
    task(&delivery.task);
    table(
        &show::DeliveryTable(std::slice::from_ref(delivery)).to_string(),
        1,
    );
    plain(&show::delivery_line(delivery));
    json(&show::delivery_json(delivery).to_string());
}

/// Shows what became of a lease.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn result(result: &LeaseResult) {
    plain(&show::result_line(result));
    json(&show::result_json(result).to_string());
}

/// Shows a namespace.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn namespace(namespace: &Namespace) {
    lines(&show::namespace_text(namespace));
    table(&show::namespace_table(std::slice::from_ref(namespace)), 1);
    json(&show::namespace_json(namespace).to_string());
}

/// Shows the statistics of a namespace.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn stats(stats: &NamespaceStats) {
    lines(&show::stats_text(stats));
    json(&show::stats_json(stats).to_string());
}

/// Shows a cluster.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn cluster(info: &ClusterInfo) {
    lines(&show::status_text(info));
    json(&show::status_json(info));
    json(&show::info(info));
}

/// Shows what members say of themselves, and these namespaces, as `doctor` and `top` do.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn peers(info: &ClusterInfo, peers: &[PeerStatus], namespaces: &[Namespace]) {
    let fullest = namespaces.iter().map(|namespace| Full {
        name: namespace.name.clone(),
        counts: namespace.counts,
        oldest_due_age: namespace.settings.dead_keep,
    });
    let fullest: Vec<_> = fullest.collect();
    let unreadable = "\u{1b}[2J".to_owned();
    for fullest in [Ok(fullest), Err(unreadable.clone())] {
        let look = |peers: &[PeerStatus]| Look {
            info: info.clone(),
            peers: peers.to_vec(),
            fullest: fullest.clone(),
            has_more_namespaces: true,
        };
        let now = look(peers);
        for before in [look(&[]), look(&earlier(peers)), look(peers)] {
            lines(&show::top_frame(Some(&before), &now));
        }
        lines(&show::top_frame(None, &now));
    }
    for namespaces in [Ok(namespaces.to_vec()), Err(unreadable)] {
        let seen = Seen {
            info: info.clone(),
            peers: peers.to_vec(),
            namespaces,
            has_more_namespaces: false,
            now: std::time::SystemTime::UNIX_EPOCH,
        };
        let report = doctor::judge(&seen);
        lines(&show::doctor_text(info, &report));
        json(&show::doctor_json(info, &report));
    }
}

/// The peers when their processes had half of their age, and had done half of their work:
/// between that look and the one now there are rates.
fn earlier(peers: &[PeerStatus]) -> Vec<PeerStatus> {
    let mut peers = peers.to_vec();
    for facts in peers.iter_mut().filter_map(|peer| peer.facts.as_mut()) {
        facts.uptime /= 2;
        facts.process.cpu /= 2;
        let counters = &mut facts.counters;
        for count in [
            &mut counters.created,
            &mut counters.delivered,
            &mut counters.acked,
            &mut counters.nacked,
            &mut counters.refused,
            &mut counters.log_syncs,
            &mut counters.lateness.count,
        ] {
            *count /= 2;
        }
        for (_, count) in &mut counters.lateness.buckets {
            *count /= 2;
        }
    }
    peers
}

/// Shows a verification.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn verification(verification: &Verification) {
    lines(&show::verification_text(verification));
    json(&show::verification_json(verification));
}

/// Shows why a task is not running.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn explanation(explanation: &Explanation) {
    lines(&show::explanation_text(explanation));
    json(&show::explanation_json(explanation).to_string());
}

/// Shows a principal, and a caller with the same name and grants.
///
/// # Panics
/// When a form is not plain: a finding.
pub fn principal(principal: &Principal) {
    lines(&show::principal_text(principal));
    table(&show::principal_table(std::slice::from_ref(principal)), 1);
    json(&show::principal_json(principal).to_string());
    for token in &principal.tokens {
        plain(&show::new_token_text(&principal.name, token));
    }
    let identity = Identity {
        principal: principal.name.clone(),
        grants: principal.grants.clone(),
        known_by: principal.certificate_names.concat(),
    };
    lines(&show::identity_text(&identity));
    json(&show::identity_json(&identity).to_string());
}

fn table(text: &str, rows: usize) {
    lines(text);
    assert_eq!(text.lines().count(), rows + 1, "{text:?}");
}

fn lines(text: &str) {
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    text.split('\n').for_each(plain);
}

/// One line, in which nothing commands the terminal.
fn plain(line: &str) {
    let odd = line.chars().find(|c| c.is_control());
    assert_eq!(odd, None, "{line:?}");
}

/// As it is written: plain, and still the same value.
fn json(text: &str) {
    let mut written = Vec::new();
    let mut out = show::Plain(&mut written);
    std::io::Write::write_all(&mut out, text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let mut shown = String::new();
    let _ = write!(shown, "{}", String::from_utf8_lossy(&written));
    lines(&(shown.clone() + "\n"));
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let (before, after) = (read(text), read(&shown));
    assert!(before.is_some() && before == after, "{text:?}");
}

#[cfg(test)]
mod tests;
