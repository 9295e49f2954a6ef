//! The task machine inside another program: in memory, one thread, and a clock
//! that the program makes up. Run it with
//! `cargo run -p z4-core --example embedded`.
//!
//! A program that embeds the machine is its own log: it numbers the entries and
//! stamps them. Whatever it hands in as time is the time; here a loop jumps from
//! one event to the next, so that a minute of timers takes no time at all.

use z4_core::command::{CreateTasks, Due, LeaseRefs, LeaseTasks, NewTask, Outcome, Taker};
use z4_core::state::{due_next_after, find_task};
use z4_core::{Command, Machine, MemState, Namespace};

const SECOND_NS: u64 = 1_000_000_000;

/// A machine with the two things it does not bring along: a log position and a
/// clock.
struct Timers {
    machine: Machine<MemState>,
    index: u64,
    now_ns: u64,
}

impl Timers {
    /// Applies one command as an entry of its own.
    fn apply(&mut self, command: Command) -> Result<Outcome, Box<dyn std::error::Error>> {
        self.index += 1;
        let mut events = Vec::new();
        let commands = vec![command];
        let outcomes = self
            .machine
            .apply_entry(self.index, self.now_ns, commands, &mut events)?;
        let outcome = outcomes
            .into_iter()
            .next()
            .ok_or("one command, one outcome")?;
        match outcome {
            Outcome::Refused(refusal) => Err(refusal.into()),
            done => Ok(done),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kitchen = Namespace::new("kitchen")?;
    let mut timers = Timers {
        machine: Machine::open(MemState::new())?,
        index: 0,
        now_ns: 1_000 * SECOND_NS,
    };

    // Three timers in one command: all are stored, or none.
    let timer = |seconds, what: &str| NewTask {
        due: Due::AfterSeconds(seconds),
        payload: what.as_bytes().to_vec(),
        ..NewTask::default()
    };
    timers.apply(Command::CreateTasks(CreateTasks {
        namespace: kitchen.clone(),
        request_id: String::new(),
        tasks: vec![timer(60, "bread"), timer(5, "tea"), timer(5, "toast")],
    }))?;

    // Jump to whatever is due next, take it, do it, say that it is done.
    while let Some(due_at_ns) = due_next_after(timers.machine.state(), &kitchen, None)? {
        timers.now_ns = timers.now_ns.max(due_at_ns);
        let leased = timers.apply(Command::LeaseTasks(LeaseTasks {
            namespace: kitchen.clone(),
            takers: vec![Taker {
                consumer: "cook".into(),
                room: 10,
            }],
            lease_ms: 0,
            ahead_ms: 0,
        }))?;
        let Outcome::Leased { grants, .. } = leased else {
            return Err("a lease command leases".into());
        };
        for grant in &grants {
            let task = find_task(timers.machine.state(), &kitchen, grant.id)?;
            let (body, _) = task.ok_or("a leased task is there")?;
            let second = timers.now_ns / SECOND_NS - 1_000;
            let what = String::from_utf8_lossy(&body.payload);
            println!("second {second:>2}: {what} (task {})", grant.id);
        }
        timers.apply(Command::AckTasks(LeaseRefs {
            namespace: kitchen.clone(),
            leases: grants.iter().map(|grant| (grant.id, grant.token)).collect(),
        }))?;
    }

    for (name, row) in timers.machine.namespaces() {
        println!(
            "{name}: {} created, {} done",
            row.counts.created, row.counts.done
        );
    }
    Ok(())
}
