//! One frame of `top`.

use std::fmt::Write;
use std::time::Duration;

use z4_client::{ClusterInfo, Counts, PeerFacts, PeerStatus};

use super::cluster::peer_role;
use super::figures::{bytes, rate};
use super::plain::escape;
use super::table::table;
use crate::limits;
use crate::moment;
use crate::rates::{self, Lateness, PeerRates};

/// A namespace that is among the fullest.
#[derive(Clone)]
pub(crate) struct Full {
    /// Its name.
    pub name: String,
    /// How many tasks it has, and where they are.
    pub counts: Counts,
    /// How long its oldest due task has been due; `None`: none is, or nobody can tell.
    pub oldest_due_age: Option<Duration>,
}

/// A look at a cluster.
pub(crate) struct Look {
    /// The cluster, as the peer that was asked knows it.
    pub info: ClusterInfo,
    /// The members, as each tells of itself.
    pub peers: Vec<PeerStatus>,
    /// The fullest namespaces, or why they could not be read.
    pub fullest: Result<Vec<Full>, String>,
    /// There are namespaces that were not looked at.
    pub has_more_namespaces: bool,
}

/// Lines of a frame beside those of members and namespaces: three of the cluster, two
/// headers, two blanks and a note.
const OTHER_LINES: usize = 8;

/// How many namespaces fit on a screen of so many lines, below so many members.
pub(crate) fn namespaces_that_fit(lines: usize, members: usize) -> usize {
    // A member that does not answer has a line for the reason, too.
    let left = lines.saturating_sub(OTHER_LINES + members);
    left.clamp(1, limits::TOP_NAMESPACES_MAX)
}

/// The frame of two looks at a cluster; rates are left out where there is one only.
pub(crate) fn top_frame(before: Option<&Look>, now: &Look) -> String {
    let earlier = before.map_or(&[][..], |look| &look.peers);
    let mut text = cluster_line(now);
    text.push_str(&rate_lines(earlier, &now.peers));
    text.push('\n');
    text.push_str(&member_table(earlier, &now.peers));
    for peer in now.peers.iter().filter(|peer| peer.facts.is_none()) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {}", escape(&peer.id), escape(&peer.error));
    }
    text.push('\n');
    match &now.fullest {
        Ok(fullest) => text.push_str(&namespace_table(fullest)),
        Err(error) => {
            let _ = writeln!(text, "namespaces cannot be read: {}", escape(error));
        }
    }
    if now.has_more_namespaces {
        text.push_str("(of the first namespaces alone: there are more than are looked at)\n");
    }
    text
}

fn cluster_line(now: &Look) -> String {
    let info = &now.info;
    let leader = match info.leader_id.as_str() {
        "" => "none known",
        id => id,
    };
    let answer = now.peers.iter().filter(|peer| peer.facts.is_some()).count();
    format!(
        "leader {}  term {}  level {}  {answer} of {} members answer\n",
        escape(leader),
        info.term,
        info.level,
        now.peers.len(),
    )
}

fn rate_lines(before: &[PeerStatus], now: &[PeerStatus]) -> String {
    let all = rates::of_all(before, now);
    let of = |pick: fn(&PeerRates) -> f64| {
        all.as_ref().map_or_else(
            || "-".to_owned(),
            |rates| format!("{}/s", rate(pick(rates))),
        )
    };
    let lateness = Lateness::of_all(before, now);
    let late = |percent| match lateness.percentile(percent) {
        None => "-".to_owned(),
        Some(Ok(span)) => format!("<= {}", moment::show_span(span)),
        Some(Err(span)) => format!("> {}", moment::show_span(span)),
    };
    format!(
        "created {}  delivered {}  acked {}  nacked {}  refused {}  log syncs {}\n\
         lateness p50 {}  p99 {}  of {} deliveries\n",
        of(|rates| rates.created),
        of(|rates| rates.delivered),
        of(|rates| rates.acked),
        of(|rates| rates.nacked),
        of(|rates| rates.refused),
        of(|rates| rates.log_syncs),
        late(50),
        late(99),
        lateness.count,
    )
}

fn member_table(before: &[PeerStatus], now: &[PeerStatus]) -> String {
    let header = [
        "PEER",
        "ROLE",
        "VERSION",
        "CPU",
        "MEMORY",
        "CONNS",
        "DISK FREE",
        "CREATED/S",
        "DELIVERED/S",
        "ACKED/S",
        "LAG",
    ];
    let facts = now.iter().filter_map(|peer| peer.facts.as_deref());
    let commit_index = facts.map(|facts| facts.commit_index).max().unwrap_or(0);
    let rows = now.iter().map(|peer| match peer.facts.as_deref() {
        None => {
            let mut row: [String; 11] = std::array::from_fn(|_| "-".to_owned());
            row[0].clone_from(&peer.id);
            row[1] = "no answer".to_owned();
            row
        }
        Some(facts) => {
            let rates = rates::pair(before, peer);
            let rates = rates.and_then(|(before, now)| PeerRates::between(before, now));
            member_row(&peer.id, facts, rates, commit_index)
        }
    });
    table(header, rows)
}

fn member_row(
    id: &str,
    facts: &PeerFacts,
    rates: Option<PeerRates>,
    commit_index: u64,
) -> [String; 11] {
    let of = |pick: fn(&PeerRates) -> String| rates.as_ref().map_or("-".to_owned(), pick);
    let free = facts.volumes.iter().map(|volume| volume.free_bytes).min();
    [
        id.to_owned(),
        peer_role(facts.role).to_owned(),
        facts.version.clone(),
        of(|rates| format!("{:.0}%", rates.cpu * 100.0)),
        bytes(facts.process.resident_bytes),
        facts.process.connections.to_string(),
        free.map_or("-".to_owned(), bytes),
        of(|rates| rate(rates.created)),
        of(|rates| rate(rates.delivered)),
        of(|rates| rate(rates.acked)),
        commit_index.saturating_sub(facts.applied_index).to_string(),
    ]
}

fn namespace_table(fullest: &[Full]) -> String {
    let rows = fullest.iter().map(|full| {
        let counts = &full.counts;
        [
            full.name.clone(),
            counts.pending.to_string(),
            counts.leased.to_string(),
            counts.dead.to_string(),
            full.oldest_due_age.map_or("-".to_owned(), |age| {
                // Nobody reads the milliseconds of a minute.
                let age = match age.as_secs() {
                    0..10 => age,
                    seconds => Duration::from_secs(seconds),
                };
                moment::show_span(age)
            }),
        ]
    });
    table(["NAME", "PENDING", "LEASED", "DEAD", "OLDEST DUE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::testing::{cluster, peer_facts, peer_status};
    use z4_client::PeerRole;

    fn look(uptime_s: u64, created: u64) -> Look {
        let mut leader = peer_facts();
        leader.uptime = Duration::from_secs(uptime_s);
        leader.process.cpu = Duration::from_millis(uptime_s * 250);
        leader.counters.created = created;
        leader.counters.lateness.count = created;
        leader.counters.lateness.buckets = vec![(0.001, created / 2), (0.005, created)];
        let mut behind = leader.clone();
        behind.role = PeerRole::Follower;
        behind.applied_index = 2;
        behind.counters = Default::default();
        let silent = PeerStatus {
            id: "peer\u{1b}3".into(),
            error: "it was not reached: \u{1b}[2J".into(),
            is_older: false,
            facts: None,
        };
        Look {
            info: cluster(),
            peers: vec![
                peer_status("peer1", leader),
                peer_status("peer2", behind),
                silent,
            ],
            fullest: Ok(vec![Full {
                name: "mails".into(),
                counts: Counts {
                    pending: 120,
                    leased: 7,
                    dead: 3,
                    ..Counts::default()
                },
                oldest_due_age: Some(Duration::from_millis(90_250)),
            }]),
            has_more_namespaces: false,
        }
    }

    #[test]
    fn a_frame_of_two_looks() {
        let golden = "\
leader peer1  term 3  level 1  2 of 3 members answer
created 200/s  delivered 0.0/s  acked 0.0/s  nacked 0.0/s  refused 0.0/s  log syncs 0.0/s
lateness p50 <= 1ms  p99 <= 5ms  of 400 deliveries

PEER         ROLE       VERSION  CPU  MEMORY   CONNS  DISK FREE  CREATED/S  DELIVERED/S  ACKED/S  LAG
peer1        leader     0.2.0    25%  300 MiB  10     50 GiB     200        0.0          0.0      0
peer2        follower   0.2.0    25%  300 MiB  10     50 GiB     0.0        0.0          0.0      7
peer\\u{1b}3  no answer  -        -    -        -      -          -          -            -        -
peer\\u{1b}3: it was not reached: \\u{1b}[2J

NAME   PENDING  LEASED  DEAD  OLDEST DUE
mails  120      7       3     1m 30s
";
        assert_eq!(top_frame(Some(&look(10, 100)), &look(12, 500)), golden);
    }

    #[test]
    fn one_look_has_no_rates() {
        let mut first = look(10, 100);
        first.fullest = Err("no quorum".into());
        first.has_more_namespaces = true;
        let frame = top_frame(None, &first);
        for line in [
            "created -  delivered -  acked -  nacked -  refused -  log syncs -\n",
            "lateness p50 -  p99 -  of 0 deliveries\n",
            "namespaces cannot be read: no quorum\n",
            "there are more than are looked at",
        ] {
            assert!(frame.contains(line), "{line} {frame}");
        }
    }

    #[test]
    fn as_many_namespaces_as_fit() {
        assert_eq!(namespaces_that_fit(24, 3), 13);
        assert_eq!(namespaces_that_fit(5, 3), 1);
        assert_eq!(
            namespaces_that_fit(usize::MAX, 3),
            limits::TOP_NAMESPACES_MAX
        );
        let mut frame = look(10, 100);
        let full = frame.fullest.clone().unwrap_or_default()[0].clone();
        frame.fullest = Ok(vec![full; namespaces_that_fit(24, 3)]);
        frame.has_more_namespaces = true;
        let shown = top_frame(Some(&frame), &frame);
        assert!(shown.lines().count() <= 25, "{shown}");
    }
}
