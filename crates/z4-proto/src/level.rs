//! The levels that this release knows, and what each of them brought.
//!
//! A level names what may stand in the log, in rows, in snapshots and in messages between
//! peers. Whoever adds to one of these adds it to the newest level, if no release knows that
//! level yet, or to a new one (`RELEASES` at the root of the repository names them all), and
//! sees to it that nothing of it is written or sent in a cluster of a lesser level.

use z4_core::Command;

/// Each level and what it brought.
pub const TABLE: [(u32, &str); 2] = [
    (1, "all that releases know that do not speak of levels"),
    (
        2,
        "the members have a level, which SetLevel raises; AddLearner says which levels a \
         newcomer knows; ChangePrincipal, its outcome, and the rows of principals",
    ),
];

/// The least level that this release can serve.
pub const LEVEL_MIN: u32 = 1;
/// The greatest level that this release can serve. A new cluster has it.
pub const LEVEL_MAX: u32 = 2;

/// The level of a cluster in whose log a command may stand.
#[must_use]
pub fn needed(command: &Command) -> u32 {
    match command {
        Command::ChangePrincipal(_) => 2,
        Command::CreateTasks(_)
        | Command::LeaseTasks(_)
        | Command::AckTasks(_)
        | Command::ReleaseTasks(_)
        | Command::ReturnTasks(_)
        | Command::ResumeLeases(_)
        | Command::NackTasks(_)
        | Command::ExtendLeases(_)
        | Command::CancelTasks(_)
        | Command::RescheduleTasks(_)
        | Command::RedriveTasks(_)
        | Command::PurgeTasks(_)
        | Command::SetNamespace(_)
        | Command::DeleteNamespace(_)
        | Command::Pulse
        | Command::Mark { .. } => 1,
    }
}

const _: () = assert!(LEVEL_MIN <= LEVEL_MAX);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use z4_core::access::PrincipalName;
    use z4_core::command::{ChangePrincipal, PrincipalChange};

    use super::*;

    #[test]
    fn a_command_needs_the_level_that_brought_it() {
        let name = PrincipalName::new("ada").unwrap();
        let change = PrincipalChange::Delete;
        let change = Command::ChangePrincipal(ChangePrincipal { name, change });
        assert_eq!(needed(&change), 2);
        assert_eq!(needed(&Command::Pulse), LEVEL_MIN);
        assert!(needed(&change) <= LEVEL_MAX);
    }

    #[test]
    fn each_level_up_to_the_greatest_is_told_of() {
        let told: Vec<u32> = TABLE.iter().map(|(level, _)| *level).collect();
        let known: Vec<u32> = (1..=LEVEL_MAX).collect();
        assert_eq!(told, known);
    }
}
