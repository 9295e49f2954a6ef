//! The level of a cluster and what its members run, as JSON and as a table.

use std::fmt::Write;

use serde_json::json;
use z4_client::{ClusterInfo, Member};

use super::plain::escape;
use super::table::table;

/// For programs.
pub(crate) fn upgrade_json(info: &ClusterInfo) -> String {
    let member = |member: &Member| {
        json!({
            "id": member.id,
            "version": member.version,
            "level_min": member.levels.map(|levels| levels.0),
            "level_max": member.levels.map(|levels| levels.1),
            "level_held": member.level_held,
        })
    };
    let members: Vec<_> = info.members.iter().map(member).collect();
    let value = json!({
        "level": info.level,
        "level_next": info.level_next(),
        "held": info.members.iter().any(|member| member.level_held),
        "members": members,
    });
    format!("{value:#}")
}

/// For people.
pub(crate) fn upgrade_text(info: &ClusterInfo) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "level    {}", info.level);
    let _ = writeln!(text, "next     {}\n", next(info));
    let rows = info.members.iter().map(|member| {
        let levels = member.levels;
        [
            member.id.clone(),
            match member.version.as_str() {
                "" => "unknown".to_owned(),
                version => version.to_owned(),
            },
            levels.map_or("unknown".to_owned(), |(min, max)| format!("{min} to {max}")),
            if member.level_held { "yes" } else { "no" }.to_owned(),
        ]
    });
    text.push_str(&table(["MEMBER", "VERSION", "LEVELS", "HOLDS"], rows));
    text
}

/// The next level, and what it waits for.
fn next(info: &ClusterInfo) -> String {
    let holders: Vec<_> = info.members.iter().filter(|m| m.level_held).collect();
    match (info.level_next(), holders.first()) {
        (None, _) => "unknown: not all members have said which levels they know".to_owned(),
        (Some(level), _) if level <= info.level => {
            "none: no greater one is known to all".to_owned()
        }
        (Some(level), Some(holder)) => format!("{level}, held by {}", escape(&holder.id)),
        (Some(level), None) => format!("{level}, when all have answered for a while"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::testing::cluster;

    #[test]
    fn the_level_and_what_members_run() {
        let mut info = cluster();
        let golden = "\
level    1
next     unknown: not all members have said which levels they know

MEMBER  VERSION  LEVELS   HOLDS
peer1   0.2.0    1 to 2   no
peer22  unknown  unknown  no
";
        assert_eq!(upgrade_text(&info), golden);
        info.members[1].levels = Some((1, 2));
        assert_eq!(next(&info), "2, when all have answered for a while");
        info.members[1].level_held = true;
        assert_eq!(next(&info), "2, held by peer22");
        assert!(upgrade_json(&info).contains("\"held\": true"));
        info.members[1].levels = Some((1, 1));
        assert_eq!(next(&info), "none: no greater one is known to all");
    }
}
