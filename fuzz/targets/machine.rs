//! Any list of commands, as the bytes decide: no panic, the same state twice,
//! every invariant after every entry.
#![no_main]

mod bytes;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rand::Rng;
use z4_core::access::{Grant, PrincipalName, Role, Scope};
use z4_core::command::{
    ChangePrincipal, CreateTasks, Due, Extend, ExtendLeases, HeldLeases, LeaseRefs, LeaseTasks, Nack, NackTasks,
    NamespacePatch, NewTask, PrincipalChange, RedriveTasks, RescheduleTasks, ResumeLeases, SetNamespace, Taker,
    TaskRefs,
};
use z4_core::invariants::{check, state_hash};
use z4_core::settings::{Kind, SETTINGS};
use z4_core::state::RateLimit;
use z4_core::task::{LeaseToken, Priority, WallTime};
use z4_core::{Command, Machine, MemState, Namespace, Outcome, TaskId};

const NAMES: [&str; 3] = ["a", "a.", "ab"];
/// Spans, instants and counts: small ones that meet, and the ends of the range.
const NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    3,
    5,
    10,
    500,
    1_000,
    60_000,
    1 << 40,
    u64::MAX - 1,
    u64::MAX,
];

/// Every row is looked at after every entry: long runs would be few.
const ENTRIES_MAX: u64 = 50;

struct Author<'a> {
    bytes: Bytes<'a>,
    tasks: Vec<TaskId>,
    leases: Vec<(TaskId, LeaseToken)>,
}

impl Author<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.bytes.gen_range(0..end)
    }

    fn number(&mut self) -> u64 {
        NUMBERS[self.below(NUMBERS.len())]
    }

    fn task(&mut self) -> TaskId {
        match self.tasks.len() {
            0 => TaskId::new(1, 1, 0),
            count => {
                let at = self.below(count);
                self.tasks[at]
            }
        }
    }

    fn lease(&mut self) -> (TaskId, LeaseToken) {
        match self.leases.len() {
            0 => (self.task(), LeaseToken(2)),
            count => {
                let at = self.below(count);
                self.leases[at]
            }
        }
    }

    fn due(&mut self) -> Due {
        match self.below(4) {
            0 | 1 => Due::Now,
            2 => Due::At(WallTime::from_ns(self.number().saturating_mul(1_000_000))),
            _ => Due::AfterSeconds(self.number()),
        }
    }

    fn create(&mut self, namespace: Namespace) -> Command {
        let request = self.below(5);
        let count = self.below(4);
        let tasks = (0..count).map(|_| NewTask {
            payload: vec![1; self.below(3)],
            due: self.due(),
            priority: Priority::new(self.below(10) as u8).unwrap_or_default(),
            max_attempts: self.number() as u32 % 4,
            ttl_ms: self.number(),
            ..NewTask::default()
        });
        Command::CreateTasks(CreateTasks {
            namespace,
            tasks: tasks.collect(),
            request_id: if request < 3 {
                String::new()
            } else {
                format!("r{request}")
            },
        })
    }

    fn set(&mut self, namespace: Namespace) -> Command {
        let value = self.number();
        let mut patch = NamespacePatch::default();
        let place = self.below(SETTINGS.len() + 1);
        match SETTINGS.get(place).map(|setting| &setting.kind) {
            Some(Kind::Span(values) | Kind::Count(values)) => (values.give)(&mut patch, value),
            Some(Kind::Small(values)) => (values.give)(&mut patch, value as u32),
            Some(Kind::Rate(values)) => {
                let rate = RateLimit {
                    count: value as u32,
                    period_ms: value >> 32,
                };
                (values.give)(&mut patch, rate);
            }
            None => patch.paused = Some(value % 2 == 1),
        }
        Command::SetNamespace(SetNamespace { namespace, patch })
    }

    fn principal(&mut self) -> Option<Command> {
        let name = PrincipalName::new(NAMES[self.below(NAMES.len())]).ok()?;
        let change = match self.below(8) {
            0..=2 => {
                let grants = (0..self.below(3)).map(|_| Grant {
                    role: Role::ALL[self.below(Role::ALL.len())],
                    scope: self.scope(),
                });
                let grants = grants.collect();
                let names = (0..self.below(3)).map(|_| format!("n{}", self.below(3)));
                let names = names.collect();
                PrincipalChange::Put { grants, names }
            }
            3 => PrincipalChange::Delete,
            4..=6 => PrincipalChange::AddToken {
                id: self.number(),
                secret_hash: [self.below(2) as u8; 32],
                expires_in_ms: self.number(),
            },
            _ => PrincipalChange::RevokeToken { id: self.number() },
        };
        Some(Command::ChangePrincipal(ChangePrincipal { name, change }))
    }

    fn scope(&mut self) -> Scope {
        let pattern = ["a", "a*", "*"][self.below(3)];
        Scope::new(pattern).unwrap_or_else(|_| Scope::all())
    }

    fn command(&mut self) -> Option<Command> {
        let namespace = Namespace::new(NAMES[self.below(NAMES.len())]).ok()?;
        let kind = self.below(19);
        Some(match kind {
            0..=3 => self.create(namespace),
            4..=6 => {
                let takers = (0..self.below(3)).map(|n| Taker {
                    consumer: format!("c{n}"),
                    room: self.number() as u32 % 5,
                });
                let takers = takers.collect();
                let lease_ms = self.number();
                Command::LeaseTasks(LeaseTasks {
                    namespace,
                    takers,
                    lease_ms,
                    ahead_ms: 0,
                })
            }
            7 => {
                let leases = (0..self.below(4)).map(|_| self.lease()).collect();
                Command::AckTasks(LeaseRefs { namespace, leases })
            }
            8 => {
                let leases = (0..self.below(4)).map(|_| self.lease()).collect();
                let held = HeldLeases {
                    refs: LeaseRefs { namespace, leases },
                    consumer: ["", "c0", "c1"][self.below(3)].to_owned(),
                };
                match self.below(3) {
                    0 => Command::ReleaseTasks(held),
                    1 => Command::ReturnTasks(held),
                    _ => Command::ResumeLeases(ResumeLeases {
                        held,
                        by: ["", "c0", "c2"][self.below(3)].to_owned(),
                    }),
                }
            }
            9 => {
                let nacks = (0..self.below(4)).map(|_| {
                    let (id, token) = self.lease();
                    let delay = self.number();
                    let delay_ms = (delay != 3).then_some(delay);
                    let permanent = self.below(8) == 7;
                    Nack {
                        id,
                        token,
                        delay_ms,
                        error: "e".into(),
                        permanent,
                    }
                });
                let nacks = nacks.collect();
                Command::NackTasks(NackTasks { namespace, nacks })
            }
            10 => {
                let extends = (0..self.below(4)).map(|_| {
                    let (id, token) = self.lease();
                    let lease_ms = self.number();
                    Extend {
                        id,
                        token,
                        lease_ms,
                    }
                });
                let extends = extends.collect();
                Command::ExtendLeases(ExtendLeases { namespace, extends })
            }
            11 | 12 => {
                let ids = (0..self.below(4)).map(|_| self.task()).collect();
                let refs = TaskRefs { namespace, ids };
                if kind == 11 {
                    Command::CancelTasks(refs)
                } else {
                    Command::PurgeTasks(refs)
                }
            }
            13 => {
                let ids = (0..self.below(4)).map(|_| self.task()).collect();
                let due = self.due();
                Command::RescheduleTasks(RescheduleTasks {
                    namespace,
                    ids,
                    due,
                })
            }
            14 => {
                let ids = (0..self.below(4)).map(|_| self.task()).collect();
                let keep_attempts = self.below(2) == 1;
                Command::RedriveTasks(RedriveTasks {
                    namespace,
                    ids,
                    keep_attempts,
                })
            }
            15 => self.set(namespace),
            18 => return self.principal(),
            16 if self.below(4) == 3 => Command::DeleteNamespace(namespace),
            _ => Command::Pulse,
        })
    }

    fn learn(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            match outcome {
                Outcome::Created(tasks) => self.tasks.extend(tasks.iter().map(|t| t.id)),
                Outcome::Leased { grants, .. } => {
                    self.leases.extend(grants.iter().map(|g| (g.id, g.token)));
                }
                _ => {}
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (Ok(mut one), Ok(mut two)) = (
        Machine::open(MemState::new()),
        Machine::open(MemState::new()),
    ) else {
        return;
    };
    let (tasks, leases) = (Vec::new(), Vec::new());
    let mut author = Author {
        bytes: Bytes(bytes),
        tasks,
        leases,
    };
    let mut stamp_ns = 1_000_000_000_u64;
    let mut index = 1;
    while author.bytes.left() && index < ENTRIES_MAX {
        index += 1;
        stamp_ns = match author.below(8) {
            // The clock of a new leader may be behind.
            0 => stamp_ns.saturating_sub(author.number()),
            _ => stamp_ns.saturating_add(author.number().min(1 << 50).saturating_mul(1_000)),
        };
        let count = 1 + author.below(3);
        let commands: Vec<Command> = (0..count).filter_map(|_| author.command()).collect();
        let mut events = (Vec::new(), Vec::new());
        let outcomes = one.apply_entry(index, stamp_ns, commands.clone(), &mut events.0);
        let again = two.apply_entry(index, stamp_ns, commands, &mut events.1);
        assert_eq!(outcomes, again);
        assert_eq!(events.0, events.1);
        let Ok(outcomes) = outcomes else {
            panic!("{outcomes:?}")
        };
        author.learn(&outcomes);
        let report = check(one.state()).map(|report| report.verdict());
        assert!(matches!(report, Ok(Ok(()))), "{report:?}");
        // A machine that was opened a moment ago goes on as one that runs.
        if author.below(8) == 7 {
            let reopened = Machine::open(two.into_state());
            let Ok(reopened) = reopened else {
                panic!("it does not open again")
            };
            two = reopened;
        }
    }
    assert_eq!(state_hash(one.state()).ok(), state_hash(two.state()).ok());
});
