//! How often a walk came by what matters.

use std::collections::BTreeMap;

use z4_core::command::{Command, Ended, LeaseLost, Outcome, PrincipalChange, Unchanged};
use z4_core::limits;
use z4_core::task::DeathReason;
use z4_core::Code;

#[derive(Default)]
pub struct Seen(BTreeMap<&'static str, u64>);

/// What a walk must come by: at least so often in a hundred thousand steps.
const OFTEN: [(&str, u64); 71] = [
    ("created", 1_000),
    ("request repeated", 500),
    ("request misused", 100),
    ("create refused: invalid", 500),
    ("create refused: deleting", 20),
    ("create refused: full", 500),
    ("granted", 1_000),
    ("granted again after a failure", 1_000),
    ("granted again after a release", 200),
    ("more was due", 1_000),
    ("nothing through the gate", 1_000),
    ("acked", 1_000),
    ("released", 500),
    ("returned", 500),
    ("returned too often", 20),
    ("nacked", 1_000),
    ("dead of attempts", 200),
    ("dead of age", 50),
    ("dead for good", 200),
    ("lost: expired", 500),
    ("lost: taken", 100),
    ("lost: gone", 500),
    ("lost: dead", 200),
    ("extended", 500),
    ("extend of a lost lease", 500),
    ("resumed", 100),
    ("resume of a lost lease", 100),
    ("cancelled", 1_000),
    ("cancel of none", 500),
    ("cancel of a leased one", 100),
    ("cancel of a dead one", 200),
    ("rescheduled", 500),
    ("reschedule of a leased one", 50),
    ("redriven", 200),
    ("redriven with its failures", 100),
    ("redrive of one that waits", 500),
    ("redrive of a leased one", 50),
    ("redrive refused: full", 20),
    ("purged", 200),
    ("purge of one that waits", 500),
    ("purge of a leased one", 50),
    ("set", 1_000),
    ("set refused: invalid", 100),
    ("set refused: deleting", 5),
    ("deletion", 50),
    ("deletion of none", 10),
    ("principal put", 500),
    ("principal deleted", 50),
    ("token added", 200),
    ("token revoked", 50),
    ("put refused: invalid", 50),
    ("put refused: a name is taken", 50),
    ("put refused: the only admin", 20),
    ("delete of no principal", 20),
    ("delete refused: the only admin", 5),
    ("token refused: taken", 50),
    ("token refused: too many", 20),
    ("revocation of none", 100),
    ("pulsed", 1_000),
    ("flood of leases", 2),
    ("flood of a pulse", 2),
    ("expired", 1_000),
    ("died as its lease expired", 200),
    ("died as it waited", 200),
    ("found too old to lease", 50),
    ("grew too old under a lease", 50),
    ("forgotten", 200),
    ("pushed out", 200),
    ("pushed out in the pulse that would forget it", 1),
    ("deleted whole", 50),
    ("deleted in part", 1),
];

impl Seen {
    pub fn assert_often(&self, steps: u64) {
        if std::env::args().any(|arg| arg == "--nocapture") {
            println!("{:#?}", self.0);
        }
        for (what, often) in OFTEN {
            let seen = self.0.get(what).copied().unwrap_or(0);
            let least = often * steps / 100_000;
            assert!(seen >= least, "only {seen} of {least}: {what}");
        }
    }

    pub fn merge(&mut self, others: &BTreeMap<&'static str, u64>) {
        for (what, count) in others {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub fn note(&mut self, index: u64, commands: &[Command], outcomes: &[Outcome]) {
        for (command, outcome) in commands.iter().zip(outcomes) {
            self.note_one(index, command, outcome);
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn note_one(&mut self, index: u64, command: &Command, outcome: &Outcome) {
        match (command, outcome) {
            (Command::CreateTasks(_), Outcome::Created(tasks)) => {
                let first = (index << 20).to_be_bytes();
                let fresh = tasks.iter().any(|t| t.id.as_bytes()[8..] >= first[..]);
                self.count(if fresh { "created" } else { "request repeated" });
            }
            (Command::CreateTasks(_), Outcome::Refused(refusal)) => {
                self.count(match refusal.code {
                    Code::AlreadyExists => "request misused",
                    Code::Precondition => "create refused: deleting",
                    Code::Exhausted => "create refused: full",
                    _ => "create refused: invalid",
                })
            }
            (_, Outcome::Leased { grants, more }) => {
                for grant in grants {
                    self.count("granted");
                    if grant.attempt > 1 {
                        self.count("granted again after a failure");
                    }
                    if grant.deliveries > grant.attempt {
                        self.count("granted again after a release");
                    }
                }
                match (grants.is_empty(), more) {
                    (false, true) => self.count("more was due"),
                    (true, true) => self.count("nothing through the gate"),
                    _ => {}
                }
                if grants.len() == limits::LEASE_COUNT_MAX {
                    self.count("flood of leases");
                }
            }
            (_, Outcome::Ended { results, stamp_ns }) => {
                for result in results {
                    self.note_end(command, *result);
                    let waits =
                        matches!(result, Ok(Ended::Waiting { due_at_ns }) if due_at_ns > stamp_ns);
                    if waits && matches!(command, Command::ReturnTasks(_)) {
                        self.count("returned too often");
                    }
                }
            }
            (_, Outcome::Extended { results, .. }) => {
                let is_resume = matches!(command, Command::ResumeLeases(_));
                for result in results {
                    self.count(match (is_resume, result) {
                        (false, Ok(_)) => "extended",
                        (false, Err(_)) => "extend of a lost lease",
                        (true, Ok(_)) => "resumed",
                        (true, Err(_)) => "resume of a lost lease",
                    });
                }
            }
            (_, Outcome::Changed(results)) => {
                for result in results {
                    self.note_change(command, result);
                }
            }
            (Command::SetNamespace(_), outcome) => self.count(match outcome {
                Outcome::Refused(r) if r.code == Code::Invalid => "set refused: invalid",
                Outcome::Refused(_) => "set refused: deleting",
                _ => "set",
            }),
            (Command::DeleteNamespace(_), outcome) => self.count(match outcome {
                Outcome::Refused(_) => "deletion of none",
                _ => "deletion",
            }),
            (Command::ChangePrincipal(change), outcome) => {
                self.note_principal(&change.change, outcome)
            }
            (_, Outcome::Pulsed { count }) => {
                if *count > 0 {
                    self.count("pulsed");
                }
                if *count as usize >= limits::PULSE_COUNT_MAX {
                    self.count("flood of a pulse");
                }
            }
            _ => {}
        }
    }

    fn note_principal(&mut self, change: &PrincipalChange, outcome: &Outcome) {
        let refused = match outcome {
            Outcome::Refused(refusal) => Some(refusal.code),
            _ => None,
        };
        self.count(match (change, refused) {
            (PrincipalChange::Put { .. }, None) => "principal put",
            (PrincipalChange::Delete, None) => "principal deleted",
            (PrincipalChange::AddToken { .. }, None) => "token added",
            (PrincipalChange::RevokeToken { .. }, None) => "token revoked",
            (PrincipalChange::Put { .. }, Some(Code::Invalid)) => "put refused: invalid",
            (PrincipalChange::Put { .. }, Some(Code::AlreadyExists)) => {
                "put refused: a name is taken"
            }
            (PrincipalChange::Put { .. }, Some(Code::Precondition)) => {
                "put refused: the only admin"
            }
            (PrincipalChange::Delete, Some(Code::NotFound)) => "delete of no principal",
            (PrincipalChange::Delete, Some(Code::Precondition)) => "delete refused: the only admin",
            (PrincipalChange::AddToken { .. }, Some(Code::AlreadyExists)) => "token refused: taken",
            (PrincipalChange::AddToken { .. }, Some(Code::Exhausted)) => "token refused: too many",
            (PrincipalChange::RevokeToken { .. }, Some(Code::NotFound)) => "revocation of none",
            _ => return,
        });
    }

    fn note_end(&mut self, command: &Command, result: Result<Ended, LeaseLost>) {
        self.count(match (command, result) {
            (_, Ok(Ended::Done)) => "acked",
            (Command::NackTasks(_), Ok(Ended::Waiting { .. })) => "nacked",
            (Command::ReturnTasks(_), Ok(Ended::Waiting { .. })) => "returned",
            (_, Ok(Ended::Waiting { .. })) => "released",
            (_, Ok(Ended::Dead(DeathReason::Attempts))) => "dead of attempts",
            (_, Ok(Ended::Dead(DeathReason::Ttl))) => "dead of age",
            (_, Ok(Ended::Dead(DeathReason::Permanent))) => "dead for good",
            (_, Err(LeaseLost::Expired)) => "lost: expired",
            (_, Err(LeaseLost::Taken)) => "lost: taken",
            (_, Err(LeaseLost::Gone)) => "lost: gone",
            (_, Err(LeaseLost::Dead)) => "lost: dead",
        });
    }

    fn note_change(&mut self, command: &Command, result: &Result<(), Unchanged>) {
        let what = match (command, result) {
            (Command::CancelTasks(_), Ok(())) => "cancelled",
            (Command::CancelTasks(_), Err(Unchanged::Gone)) => "cancel of none",
            (Command::CancelTasks(_), Err(Unchanged::Leased { .. })) => "cancel of a leased one",
            (Command::CancelTasks(_), Err(Unchanged::Dead)) => "cancel of a dead one",
            (Command::RescheduleTasks(_), Ok(())) => "rescheduled",
            (Command::RescheduleTasks(_), Err(Unchanged::Leased { .. })) => {
                "reschedule of a leased one"
            }
            (Command::RedriveTasks(redrive), Ok(())) => {
                if redrive.keep_attempts {
                    self.count("redriven with its failures");
                }
                "redriven"
            }
            (Command::RedriveTasks(_), Err(Unchanged::Waiting)) => "redrive of one that waits",
            (Command::RedriveTasks(_), Err(Unchanged::Leased { .. })) => "redrive of a leased one",
            (Command::RedriveTasks(_), Err(Unchanged::Full)) => "redrive refused: full",
            (Command::PurgeTasks(_), Ok(())) => "purged",
            (Command::PurgeTasks(_), Err(Unchanged::Waiting)) => "purge of one that waits",
            (Command::PurgeTasks(_), Err(Unchanged::Leased { .. })) => "purge of a leased one",
            _ => return,
        };
        self.count(what);
    }
}
