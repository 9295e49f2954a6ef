//! `replace-peer`: a new peer takes the place of a member, in steps that may be cut short at
//! any moment and are gone through again.
//!
//! The new one comes first, so that there is never a voter less than before. There are two
//! cases in which the old one has to go first. Where both are to be at one address, its data
//! is gone, and the peer that waits there cannot be added while the address is taken. And a
//! newcomer has to reach every member, which it cannot when the old one is silent.

use std::io::Write;
use std::thread;
use std::time::Instant;

use futures::executor::block_on;
use z4_client::{Client, ClusterInfo, ErrorKind, Member, MemberRole};

use super::connect;
use crate::error::Error;
use crate::limits;
use crate::options::ReplacePeer;

/// The next step.
#[derive(PartialEq, Eq, Debug)]
enum Step {
    /// The old member leaves.
    Remove,
    /// The new peer is added, or its addition goes on.
    Add,
    /// The new peer votes and is caught up, and the old member is gone.
    Done,
}

/// What is to be done, and what has been done in this run.
struct Plan<'a> {
    replace: &'a ReplacePeer,
    /// The raft id of the old member, when it was removed in this run: whoever else has its
    /// name now is the new peer. A peer that lags may show the old one for a moment.
    removed: Option<u64>,
    /// The new peer was added in this run.
    is_added: bool,
}

pub(super) fn replace_peer(replace: &ReplacePeer, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&replace.target)?;
    wait_for_silence(&client, replace)?;
    let mut plan = Plan {
        replace,
        removed: None,
        is_added: false,
    };
    loop {
        let info = block_on(client.cluster_info())?;
        match plan.next(&info)? {
            Step::Done if plan.removed.is_some() || plan.is_added => {
                return Ok(writeln!(
                    out,
                    "{} votes at {} in the place of {}",
                    replace.new, replace.address, replace.old
                )?);
            }
            Step::Done => {
                return Ok(writeln!(
                    out,
                    "nothing to do: {} votes at {}, and {} is no other member",
                    replace.new, replace.address, replace.old
                )?);
            }
            Step::Remove => {
                match block_on(client.remove_member(&replace.old)) {
                    // Another run has removed it.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    other => other?,
                }
                let old = info.members.iter().find(|member| member.id == replace.old);
                plan.removed = old.map(|member| member.raft_id);
                writeln!(out, "removed {}", replace.old)?;
            }
            Step::Add => {
                let added = block_on(client.add_member(&replace.new, &replace.address));
                if let Err(error) = added {
                    // Another run may have added it meanwhile.
                    let members = block_on(client.cluster_info())?.members;
                    let is_there = |member: &Member| {
                        member.id == replace.new && member.address == replace.address
                    };
                    if error.kind() != ErrorKind::AlreadyExists || !members.iter().any(is_there) {
                        return Err(error.into());
                    }
                }
                plan.is_added = true;
                writeln!(out, "added {} at {}", replace.new, replace.address)?;
                wait_caught_up(&client, &replace.new)?;
            }
        }
    }
}

impl Plan<'_> {
    /// The next step, by the members as they are now.
    fn next(&self, info: &ClusterInfo) -> Result<Step, Error> {
        let ReplacePeer {
            old, new, address, ..
        } = self.replace;
        let members = || {
            info.members
                .iter()
                .filter(|m| Some(m.raft_id) != self.removed)
        };
        let find = |id: &str| members().find(|member| member.id == id);
        let votes = |member: &Member| member.role == MemberRole::Voter;
        if info.members.is_empty() {
            return Err(Error::Answered(format!(
                "{} is in no cluster: name a member with -t",
                info.server_id
            )));
        }
        let (of_old, of_new) = (find(old), find(new));
        if old == new {
            return Ok(match of_new {
                // Nothing tells whether its data is gone but that nobody hears of it.
                Some(member) if self.removed.is_some() || self.is_added => match votes(member) {
                    true => Step::Done,
                    false => Step::Add,
                },
                Some(member) if member.address == *address && is_well(member) => Step::Done,
                Some(member) if member.address == *address && !votes(member) => Step::Add,
                Some(member) if is_well(member) => return Err(answers(member)),
                Some(_) => Step::Remove,
                None => Step::Add,
            });
        }
        let at_new = members().find(|m| m.address == *address);
        if let Some(other) = at_new.filter(|member| member.id != *new && member.id != *old) {
            return Err(Error::Answered(format!(
                "{address} is the address of {}, which is neither {old} nor {new}; give the \
                 address of {new}",
                other.id
            )));
        }
        if let Some(member) = of_new.filter(|member| member.address != *address) {
            return Err(Error::Answered(format!(
                "{new} is a member already, at {}, and not at {address}; give that address, or say \
                 where it is with set-address",
                member.address
            )));
        }
        Ok(match (of_old, of_new) {
            // One address for both: the old one makes room.
            (Some(member), None) if member.address == *address && is_well(member) => {
                return Err(answers(member));
            }
            (Some(member), None) if member.address == *address => Step::Remove,
            // A newcomer has to reach every member, and nobody reaches this one.
            (Some(member), None) if is_silent(member) => Step::Remove,
            (_, None) => Step::Add,
            (_, Some(member)) if !votes(member) => Step::Add,
            (Some(_), Some(_)) => Step::Remove,
            (None, Some(_)) => Step::Done,
        })
    }
}

/// A member that is in use is not removed before its successor is there.
fn answers(member: &Member) -> Error {
    Error::Answered(format!(
        "{} answers at {} and is not replaced there; stop it first, and start the new peer, with \
         empty directories, at the address that is given here",
        member.id, member.address
    ))
}

/// Tells whether a member votes and answers the leader.
fn is_well(member: &Member) -> bool {
    member.role == MemberRole::Voter && member.liveness == z4_client::Liveness::Alive
}

/// Tells whether the leader hears nothing of a member.
fn is_silent(member: &Member) -> bool {
    member.liveness == z4_client::Liveness::Silent
}

/// A member whose name or address the new peer takes is replaced when it is silent, for that
/// is all that tells that it is gone. Its leader notices it only after a moment.
fn wait_for_silence(client: &Client, replace: &ReplacePeer) -> Result<(), Error> {
    let began_at = Instant::now();
    while began_at.elapsed() < limits::SILENCE_LOOK {
        let members = block_on(client.cluster_info())?.members;
        let member = members.iter().find(|member| member.id == replace.old);
        let stays = |member: &Member| {
            is_well(member) && (replace.old == replace.new || member.address == replace.address)
        };
        if !member.is_some_and(stays) {
            break;
        }
        thread::sleep(limits::CATCH_UP_LOOK);
    }
    Ok(())
}

/// Waits until the new peer votes and has the log up to where the cluster was just now.
fn wait_caught_up(client: &Client, new: &str) -> Result<(), Error> {
    let began_at = Instant::now();
    let mut goal = None;
    loop {
        let info = block_on(client.cluster_info())?;
        let goal = *goal.get_or_insert(info.commit_index);
        let member = info.members.iter().find(|member| member.id == new);
        let is_there = member.is_some_and(|member| {
            member.role == MemberRole::Voter && member.match_index.is_some_and(|at| at >= goal)
        });
        if is_there {
            return Ok(());
        }
        if began_at.elapsed() > limits::CATCH_UP_TIMEOUT {
            return Err(Error::Answered(format!(
                "{new} was added and is not caught up yet; the member that it replaces stays until \
                 then: look at `z4t status`, and give this command again"
            )));
        }
        thread::sleep(limits::CATCH_UP_LOOK);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use structopt::StructOpt;
    use z4_client::{Liveness, PeerRole};

    use super::*;
    use crate::options::{Command, Options};

    fn replace(old: &str, new: &str, address: &str) -> ReplacePeer {
        let line = ["z4t", "replace-peer", old, new, address];
        match Options::from_iter_safe(line).unwrap().command {
            Command::ReplacePeer(replace) => replace,
            other => panic!("{other:?}"),
        }
    }

    fn member(id: &str, address: &str, role: MemberRole, liveness: Liveness) -> Member {
        Member {
            id: id.to_owned(),
            address: address.to_owned(),
            role,
            match_index: Some(7),
            liveness,
            silent_for: None,
            raft_id: 1,
            version: String::new(),
            levels: None,
            level_held: false,
            clock_offset_ns: None,
        }
    }

    fn info(members: Vec<Member>) -> ClusterInfo {
        ClusterInfo {
            server_id: "a".to_owned(),
            leader_address: "h:1".to_owned(),
            leader_id: "a".to_owned(),
            members,
            term: 1,
            commit_index: 7,
            applied_index: 7,
            cluster_id: "00".to_owned(),
            role: PeerRole::Leader,
            version: String::new(),
            notice: String::new(),
            level: 2,
        }
    }

    fn next(replace: &ReplacePeer, removed: Option<u64>, members: Vec<Member>) -> Step {
        let plan = Plan {
            replace,
            removed,
            is_added: false,
        };
        plan.next(&info(members)).unwrap()
    }

    #[test]
    fn the_new_one_comes_first_and_each_step_is_gone_on_with() {
        let (voter, learner) = (MemberRole::Voter, MemberRole::Learner);
        let of = |liveness| member("b", "h:2", voter, liveness);
        let old = || of(Liveness::Alive);
        let new = |role| member("c", "h:3", role, Liveness::Alive);
        let plan = replace("b", "c", "h:3");
        assert_eq!(next(&plan, None, vec![old()]), Step::Add);
        assert_eq!(next(&plan, None, vec![old(), new(learner)]), Step::Add);
        assert_eq!(next(&plan, None, vec![old(), new(voter)]), Step::Remove);
        assert_eq!(next(&plan, None, vec![new(voter)]), Step::Done);
        // A newcomer has to reach every member.
        let silent = vec![of(Liveness::Silent)];
        assert_eq!(next(&plan, None, silent), Step::Remove);
        assert_eq!(next(&plan, Some(9), Vec::from([new(voter)])), Step::Done);
    }

    #[test]
    fn at_one_address_the_old_one_goes_first() {
        let voter = MemberRole::Voter;
        let other = || member("a", "h:1", voter, Liveness::Alive);
        let old = |liveness| member("b", "h:2", voter, liveness);
        let named = replace("b", "c", "h:2");
        let both = vec![other(), old(Liveness::Silent)];
        assert_eq!(next(&named, None, both), Step::Remove);
        assert_eq!(next(&named, Some(9), vec![other()]), Step::Add);
        // The same name: a volume was lost.
        let lost = replace("b", "b", "h:2");
        let silent = vec![other(), old(Liveness::Silent)];
        assert_eq!(next(&lost, None, silent), Step::Remove);
        assert_eq!(next(&lost, Some(9), vec![other()]), Step::Add);
        let back = vec![other(), old(Liveness::Alive)];
        assert_eq!(next(&lost, Some(9), back.clone()), Step::Done);
        assert_eq!(next(&lost, None, back.clone()), Step::Done);
        // A peer that lags shows the member that was removed just now.
        assert_eq!(next(&lost, Some(1), back), Step::Add);
    }

    #[test]
    fn what_does_not_fit_is_named_before_anything_is_done() {
        let voter = |id, address| member(id, address, MemberRole::Voter, Liveness::Alive);
        let members = vec![voter("a", "h:1"), voter("b", "h:2"), voter("c", "h:3")];
        for (plan, word) in [
            (replace("b", "d", "h:2"), "answers at h:2"),
            (replace("b", "b", "h:9"), "answers at h:2"),
            (replace("b", "d", "h:1"), "the address of a"),
            (replace("b", "c", "h:4"), "is a member already, at h:3"),
        ] {
            let plan = Plan {
                replace: &plan,
                removed: None,
                is_added: false,
            };
            let said = plan.next(&info(members.clone())).unwrap_err().to_string();
            assert!(said.contains(word), "{word}: {said}");
        }
        let plan = replace("b", "c", "h:3");
        let plan = Plan {
            replace: &plan,
            removed: None,
            is_added: false,
        };
        let said = plan.next(&info(Vec::new())).unwrap_err().to_string();
        assert!(said.contains("is in no cluster"), "{said}");
    }
}
