//! A random walk over all commands, for tests of the machine over any store:
//! the walk thinks of commands and learns from their outcomes which tasks and
//! leases it can go on with. The same seed and outcomes make the same walk.
//!
//! It keeps a store small, so that a test can look at all of it after each
//! step; now and then it floods a namespace with more tasks than one pulse or
//! lease command takes, and deletes it.

// A walk of a test: it may stop at what cannot be.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod dice;
mod learn;
mod settings;
mod tasks;

use self::dice::Dice;
use crate::command::{Command, CreateTasks};
use crate::task::{LeaseToken, Namespace, TaskId};
use crate::time::{MS_NS, SECOND_NS};

/// The names it walks over; they begin alike.
pub const SPACES: [&str; 4] = ["a", "a-b", "a.", "aa"];
/// It makes few new tasks when it knows of more than these.
const TASKS_MANY: usize = 40;
/// How many leases, and how many creates with a request id, it remembers.
const REMEMBERED: usize = 40;

/// See the [module](self).
#[derive(Debug)]
pub struct Walk {
    dice: Dice,
    stamp_ns: u64,
    /// Tasks that may be there.
    tasks: Vec<(Namespace, TaskId)>,
    /// Leases that were granted, live and old.
    leases: Vec<(Namespace, TaskId, LeaseToken)>,
    creates: Vec<CreateTasks>,
    /// The flood: whose, and how many steps it is old.
    flood: Option<(Namespace, u32)>,
    /// Steps that are left of a consumer that gives back whatever it gets.
    stubborn: u32,
}

impl Walk {
    /// A walk. Another seed is another walk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            stamp_ns: 1_000 * SECOND_NS,
            tasks: Vec::new(),
            leases: Vec::new(),
            creates: Vec::new(),
            flood: None,
            stubborn: 0,
        }
    }

    /// The next entry: its stamp in nanoseconds, which may be below the one
    /// before, and its commands. Its outcomes go to [`learn`](Self::learn).
    pub fn step(&mut self) -> (u64, Vec<Command>) {
        if let Some(command) = self.stubborn_step() {
            return (self.stamp_ns, vec![command]);
        }
        self.stamp_ns = self.stamp_next();
        if let Some(commands) = self.flood_step().or_else(|| self.tokens_step()) {
            return (self.stamp_ns, commands);
        }
        let count = self.dice.between(1, 3);
        (self.stamp_ns, (0..count).map(|_| self.command()).collect())
    }

    fn command(&mut self) -> Command {
        let crowded = self.tasks.len() > TASKS_MANY;
        match self.dice.below(100) {
            0..=15 if !crowded => self.create(),
            0..=3 => self.create(),
            4..=15 => self.cancel_or_purge(),
            16..=37 => self.lease(),
            38..=48 => self.ack(),
            49..=59 => self.nack(),
            60..=64 => self.release(),
            65..=67 => self.extend(),
            68..=69 => self.resume(),
            70..=72 => self.cancel(),
            73..=76 => self.reschedule(),
            77..=80 => self.redrive(),
            81..=83 => self.purge(),
            84..=87 => self.set(),
            88 if self.dice.one_in(3) => Command::DeleteNamespace(self.space()),
            89 => Command::Mark {
                id: self.dice.below(1_000),
            },
            90..=91 => self.change_principal(),
            _ => Command::Pulse,
        }
    }

    fn space(&mut self) -> Namespace {
        let name = SPACES[self.dice.below(SPACES.len() as u64) as usize];
        Namespace::new(name).expect("a name of the walk is a name")
    }

    /// Time goes on in steps that often meet deadlines and due times exactly;
    /// now and then it stands, leaps, or the clock of a new leader is behind.
    fn stamp_next(&mut self) -> u64 {
        let now_ns = self.stamp_ns;
        match self.dice.below(100) {
            0..=4 => now_ns.saturating_sub(self.dice.below(4) * 250 * MS_NS),
            5..=14 => now_ns,
            15..=24 => now_ns + self.dice.below(3),
            25 => now_ns + self.dice.below(300) * SECOND_NS,
            26..=39 => now_ns + self.dice.below(20) * MS_NS,
            _ => now_ns + self.dice.between(1, 4) * 250 * MS_NS,
        }
    }
}
