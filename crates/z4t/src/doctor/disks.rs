//! Rules of disks: space, file systems, backups.

use z4_client::{MemberRole, PeerFacts, VolumeFacts};

use super::{risk, wrong, Finding, Seen, CLUSTER};
use crate::limits;
use crate::show::bytes;

/// The member has a vote, so that its disk counts for creates.
fn is_voter(seen: &Seen, id: &str) -> bool {
    let mut members = seen.info.members.iter();
    members.any(|member| member.id == id && member.role == MemberRole::Voter)
}

/// No disk keeps the cluster from creates.
pub(super) fn low(seen: &Seen) -> Vec<Finding> {
    let low = seen.facts().filter(|(_, facts)| facts.disk_low);
    let finding = |(id, facts): (&str, &PeerFacts)| {
        let tightest = facts.volumes.iter().min_by_key(|volume| spare(volume));
        let figures = tightest.map_or(String::new(), of);
        let measured = format!("too little disk is free{figures}");
        let remedy = "free space or make the volume larger; z4t ns list shows which namespace \
                      holds it, z4t dead purge NAMESPACE removes its dead letters";
        match is_voter(seen, id) {
            true => {
                let why = "the whole cluster refuses creates until there is room";
                wrong(id, measured, why, remedy)
            }
            false => {
                let why = "it has no vote and keeps nobody from creates, but a full disk ends it";
                risk(id, measured, why, remedy)
            }
        }
    };
    low.map(finding).collect()
}

/// Twice the reserve is free on every volume.
pub(super) fn space(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, facts) in seen.facts().filter(|(_, facts)| !facts.disk_low) {
        for volume in &facts.volumes {
            if volume.free_bytes >= volume.reserve_bytes.saturating_mul(2) {
                continue;
            }
            found.push(risk(
                id,
                format!("the disk is nearly at its reserve{}", of(volume)),
                match is_voter(seen, id) {
                    true => "below the reserve the whole cluster refuses creates",
                    false => "below the reserve the whole cluster refuses creates once it votes",
                },
                "make the volume larger; bound what producers may store: z4t ns set NAMESPACE \
                 --bytes-max BYTES",
            ));
        }
    }
    found
}

fn spare(volume: &VolumeFacts) -> u64 {
    volume.free_bytes.saturating_sub(volume.reserve_bytes)
}

/// The figures of a volume, behind what is said of it.
fn of(volume: &VolumeFacts) -> String {
    format!(
        ": {} of {} are free, the reserve is {} (volume of {})",
        bytes(volume.free_bytes),
        bytes(volume.size_bytes),
        bytes(volume.reserve_bytes),
        volume.folders.join(" and ")
    )
}

/// Data is where it stays, and where a sync means what it says.
pub(super) fn filesystem(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, facts) in seen.facts() {
        for volume in &facts.volumes {
            let why = match volume.filesystem.as_str() {
                "tmpfs" | "ramfs" => {
                    "it is memory: what was acknowledged is gone when the machine stops"
                }
                "overlay" => "it is of a container, and what was acknowledged goes with it",
                "nfs" | "cifs" | "smb2" | "9p" => {
                    "a server behind a network may acknowledge before it has written, and each \
                     write waits for it"
                }
                _ => continue,
            };
            let folders: Vec<_> = volume.folders.iter().map(|f| variable(f)).collect();
            found.push(risk(
                id,
                format!("{} on {}", folders.join(" and "), volume.filesystem),
                why,
                format!("set {} to a folder on a local disk", folders.join(" and ")),
            ));
        }
    }
    found
}

/// The setting of a data folder.
fn variable(folder: &str) -> &str {
    match folder {
        "db" => "Z4_DB_DATA_DIR",
        "peer" => "Z4_PEER_DATA_DIR",
        other => other,
    }
}

/// There is a backup, and it is of today.
pub(super) fn backup(seen: &Seen) -> Vec<Finding> {
    let ages = seen.facts().filter_map(|(_, facts)| facts.last_backup_age);
    let measured = match ages.min() {
        None => "no member that answers has ever sent a backup to its end".to_owned(),
        Some(age) if age > limits::BACKUP_AGE_MAX => {
            format!("the last backup is {} h old", age.as_secs() / 3_600)
        }
        Some(_) => return Vec::new(),
    };
    vec![risk(
        CLUSTER,
        measured,
        "replicas do not help against a mistake that all of them make",
        "z4t backup z4.backup, each day, to a place that is no peer (z4t backup verify checks it)",
    )]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{days, facts_of, healthy, severities};
    use super::super::Severity::{Risk, Wrong};
    use super::*;

    #[test]
    fn a_disk_that_stops_creates_is_wrong_and_told_once() {
        let mut seen = healthy();
        let facts = facts_of(&mut seen, 1);
        facts.disk_low = true;
        facts.volumes[0].free_bytes = 1 << 30;
        let found = low(&seen);
        assert_eq!(severities(&found), [("b", Wrong)]);
        assert!(
            found[0].measured.contains("1.0 GiB of 100 GiB"),
            "{found:?}"
        );
        assert_eq!(space(&seen), []);
    }

    #[test]
    fn the_disk_of_a_member_without_a_vote_is_a_risk() {
        let mut seen = healthy();
        seen.info.members[1].role = MemberRole::Learner;
        facts_of(&mut seen, 1).volumes[0].free_bytes = 3 << 30;
        assert!(space(&seen)[0].why.contains("once it votes"));
        facts_of(&mut seen, 1).disk_low = true;
        let found = low(&seen);
        assert_eq!(severities(&found), [("b", Risk)]);
        assert!(found[0].why.contains("keeps nobody from creates"));
        // A peer in no cluster has no vote either.
        seen.info.members.clear();
        assert_eq!(severities(&low(&seen)), [("b", Risk)]);
    }

    #[test]
    fn less_than_twice_the_reserve_is_a_risk() {
        let mut seen = healthy();
        let volume = &mut facts_of(&mut seen, 1).volumes[0];
        volume.free_bytes = 4 << 30;
        assert_eq!(space(&seen), []);
        facts_of(&mut seen, 1).volumes[0].free_bytes = (4 << 30) - 1;
        let found = space(&seen);
        assert_eq!(severities(&found), [("b", Risk)]);
        assert!(found[0].measured.contains("db and peer"), "{found:?}");
        assert_eq!(low(&seen), []);
    }

    #[test]
    fn file_systems_that_lose_data_are_risks() {
        let of = |name: &str| {
            let mut seen = healthy();
            facts_of(&mut seen, 0).volumes[0].filesystem = name.into();
            filesystem(&seen)
        };
        for name in ["tmpfs", "ramfs", "overlay", "nfs", "cifs", "smb2", "9p"] {
            let found = of(name);
            assert_eq!(severities(&found), [("a", Risk)], "{name}");
            assert!(found[0]
                .remedy
                .contains("Z4_DB_DATA_DIR and Z4_PEER_DATA_DIR"));
        }
        for name in ["ext4", "xfs", "0x1234", ""] {
            assert_eq!(of(name), [], "{name}");
        }
    }

    #[test]
    fn the_newest_backup_of_any_member_counts() {
        let of = |age: Option<Duration>| {
            let mut seen = healthy();
            facts_of(&mut seen, 0).last_backup_age = age;
            facts_of(&mut seen, 1).last_backup_age = age.map(|age| age + days(40));
            backup(&seen)
        };
        assert_eq!(of(Some(days(1))), []);
        let old = of(Some(days(2)));
        assert_eq!(severities(&old), [("cluster", Risk)]);
        assert!(old[0].measured.contains("48 h old"), "{old:?}");
        assert!(of(None)[0].measured.contains("no member"));
    }
}
