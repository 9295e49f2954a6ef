//! Upgrades of a cluster: status, hold, finish.

use std::io::Write;
use std::thread;
use std::time::Instant;

use futures::executor::block_on;
use z4_client::{ClusterInfo, HeldMember};

use super::connect;
use crate::error::Error;
use crate::limits;
use crate::options::{Cluster, Output, Target, Upgrade};
use crate::show;

pub(super) fn run(upgrade: &Upgrade, out: &mut impl Write) -> Result<(), Error> {
    match upgrade {
        Upgrade::Status(cluster) => status(cluster, out),
        Upgrade::Hold(target) => hold(target, out),
        Upgrade::Finish(target) => finish(target, out),
    }
}

fn status(status: &Cluster, out: &mut impl Write) -> Result<(), Error> {
    let info = block_on(connect(&status.target)?.cluster_info())?;
    match status.output {
        Output::Text => write!(out, "{}", show::upgrade_text(&info))?,
        Output::Json => writeln!(out, "{}", show::upgrade_json(&info))?,
    }
    Ok(())
}

fn hold(target: &Target, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(target)?;
    let (level, members) = block_on(client.hold_level(true))?;
    told(&members, "may raise the level still")?;
    Ok(writeln!(out, "held at level {level}")?)
}

fn finish(target: &Target, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(target)?;
    let by = Instant::now() + target.timeout.unwrap_or(limits::PATIENT_TIMEOUT);
    let (_, members) = block_on(client.hold_level(false))?;
    told(&members, "holds the level still")?;
    loop {
        let info = block_on(client.cluster_info())?;
        match in_the_way(&info) {
            None => return Ok(writeln!(out, "finished at level {}", info.level)?),
            Some(why) if Instant::now() >= by => return Err(Error::Answered(why)),
            Some(_) => thread::sleep(limits::LEVEL_LOOK),
        }
    }
}

/// An error that names the members that were not told.
fn told(members: &[HeldMember], meanwhile: &str) -> Result<(), Error> {
    let failed = members.iter().filter(|member| !member.error.is_empty());
    let failed: Vec<_> = failed
        .map(|member| format!("{} ({}) {meanwhile}", member.id, member.error))
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::Answered(format!(
            "{}; run the command again when all members answer",
            failed.join(", ")
        ))),
    }
}

/// The reason for which the cluster has not the greatest level that is known to any member;
/// `None`: it has.
fn in_the_way(info: &ClusterInfo) -> Option<String> {
    let unknown = info.members.iter().find(|member| member.levels.is_none());
    if let Some(member) = unknown {
        return Some(format!(
            "it is not known which levels {} can serve; start it, and run the command again",
            member.id
        ));
    }
    let greatest = info.members.iter().filter_map(|m| Some(m.levels?.1)).max();
    let greatest = greatest.unwrap_or_default();
    if info.level >= greatest {
        return None;
    }
    let older = info
        .members
        .iter()
        .find(|member| member.levels.is_some_and(|(_, max)| max < greatest));
    Some(match older {
        Some(member) => format!(
            "the cluster has level {}, and {} runs release {}, which knows levels up to {}; start \
             it with the newest release",
            info.level,
            member.id,
            member.version,
            member.levels.unwrap_or_default().1
        ),
        None => format!(
            "the cluster has level {} still; it rises when all members have answered the leader \
             for a while, see status",
            info.level
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::testing::cluster;

    #[test]
    fn what_is_in_the_way_is_named() {
        let mut info = cluster();
        let why = |info: &ClusterInfo| in_the_way(info).unwrap_or_default();
        assert!(why(&info).contains("which levels peer22 can serve"));
        info.members[1].levels = Some((1, 1));
        info.members[1].version = "0.1.0".into();
        let text = why(&info);
        assert!(text.contains("peer22 runs release 0.1.0"), "{text}");
        info.members[1].levels = Some((1, 2));
        assert!(why(&info).contains("has level 1 still"));
        info.level = 2;
        assert_eq!(in_the_way(&info), None);
    }

    #[test]
    fn members_that_were_not_told_are_named() {
        let member = |id: &str, error: &str| HeldMember {
            id: id.into(),
            error: error.into(),
            is_older: false,
        };
        assert!(told(&[member("a", "")], "x").is_ok());
        let failed = [member("a", ""), member("b", "it did not answer")];
        let text = told(&failed, "holds").err().map(|e| e.to_string());
        let text = text.unwrap_or_default();
        assert!(text.contains("b (it did not answer) holds"), "{text}");
    }
}
