//! The works.

use std::hint::black_box;

use z4_consensus::log::Position;
use z4_consensus::machine::{Committed, StateMachine};
use z4_core::command::{CreatedTask, Ended};
use z4_core::dispatch::{ConsumerReport, Dispatcher, Riders};
use z4_core::task::WallTime;
use z4_core::{Command, Event, Machine, MemState, Outcome, TaskId};
use z4_delivery::endings::{Ask, Item};
use z4_delivery::{
    AppliedEvents, Delivered, Input, Leadership, Method, Now, Open, Output, Said, SessionId,
    SessionInput, Sessions, Settled, Told,
};
use z4_proto::command::{decode_command, encode_command};
use z4_storage::{MemDisk, TaskMachine};

use crate::tasks::{grant, granted, Tasks, BATCH};

/// Entries between two flushes of the write-back layer.
const FLUSH_ENTRIES: u64 = 60;

type Done = Result<(), String>;

/// Does a work for so many tasks, rounded down to whole batches.
pub(crate) fn run(name: &str, tasks: usize) -> Done {
    let rounds = tasks / BATCH;
    match name {
        "apply" => apply(rounds),
        "codec" => codec(rounds),
        "session" => session(rounds),
        "dispatch" => dispatch(rounds),
        "overlay" => overlay(rounds),
        _ => Err(format!("there is no work {name}")),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn apply(rounds: usize) -> Done {
    let tasks = Tasks::new()?;
    let mut machine = Machine::open(MemState::new()).map_err(text)?;
    let (mut index, mut events) = (0, Vec::new());
    let mut entry = |commands| {
        index += 1;
        events.clear();
        let stamp_ns = index * 1_000_000;
        machine
            .apply_entry(index, stamp_ns, commands, &mut events)
            .map_err(text)
    };
    for _ in 0..rounds {
        let mut commands = tasks.creates();
        commands.push(Command::LeaseTasks(tasks.lease()));
        let grants = granted(entry(commands)?.pop())?;
        let outcomes = entry(vec![tasks.ack(&grants)])?;
        is_acknowledged(outcomes.last())?;
    }
    Ok(())
}

fn is_acknowledged(outcome: Option<&Outcome>) -> Done {
    match outcome {
        Some(Outcome::Ended { results, .. }) if results.iter().all(|r| *r == Ok(Ended::Done)) => {
            Ok(())
        }
        other => Err(format!("the acks were answered with {other:?}")),
    }
}

fn codec(rounds: usize) -> Done {
    let tasks = Tasks::new()?;
    let grants: Vec<_> = (0..BATCH as u32).map(|n| lease_of(n, 1)).collect();
    let mut commands = tasks.creates();
    commands.push(Command::LeaseTasks(tasks.lease()));
    commands.push(tasks.ack(&grants));
    for _ in 0..rounds {
        for command in black_box(&commands) {
            let bytes = encode_command(command);
            let decoded = decode_command(black_box(&bytes)).map_err(text)?;
            black_box(decoded);
        }
    }
    Ok(())
}

/// The lease of the `n`th task of an entry.
fn lease_of(n: u32, index: u64) -> z4_core::command::Grant {
    let task = CreatedTask {
        id: TaskId::new(index * 1_000_000, index, n),
        deliver_at: WallTime::from_ns(1),
    };
    grant(&task, index, "consumer~1.boot.1")
}

fn session(rounds: usize) -> Done {
    let tasks = Tasks::new()?;
    let mut sessions: Sessions<String> = Sessions::new("boot");
    let mut now = Now {
        wall_ns: 1_000_000_000,
        monotonic_ns: 1,
    };
    let view = MemState::new();
    let id = SessionId(1);
    let leadership = Leadership {
        raft_id: 1,
        leader: 2,
        term: 1,
        is_ready_here: false,
        goes_by_clock: true,
    };
    let open = Open {
        namespace: tasks.namespace.clone(),
        consumer_id: "consumer".to_owned(),
        lease_ms: 0,
        method: Method::Consume {
            in_flight_max: 4 * BATCH as u64,
            bytes_max: 1 << 24,
            is_named: false,
        },
    };
    sessions.step(Input::Leadership(leadership), now);
    sessions.step(Input::Session(id, SessionInput::Open(open)), now);
    let mut answers = 0;
    for index in 1..=rounds as u64 {
        let grants: Vec<_> = (0..BATCH as u32).map(|n| lease_of(n, index)).collect();
        let leases = grants.iter().map(z4_core::command::Grant::key).collect();
        let leased = Event::Leased {
            namespace: tasks.namespace.clone(),
            stamp_ns: index,
            takers: tasks.lease().takers,
            grants,
            more: false,
        };
        sessions.step(Input::Applied(told(index, leased)), now);
        let mut ended = Some(Event::Ended {
            namespace: tasks.namespace.clone(),
            leases,
        });
        // Until the consumer has its tasks, has acknowledged them, and has its answers.
        for _ in 0..8 {
            now.monotonic_ns += 1_000_000;
            for output in sessions.turn(now, &view).map_err(text)?.outputs {
                match output {
                    Output::Session(_, Told::Deliver(deliveries)) => {
                        let sent: Vec<_> = deliveries.iter().map(|d| d.key()).collect();
                        let asks = sent.iter().map(|key| Item {
                            task_id: key.0.to_string(),
                            deadline_ns: None,
                            ask: Ask::Ack(*key),
                        });
                        let asks: Vec<_> = asks.collect();
                        let delivered = Delivered {
                            sent,
                            ..Delivered::default()
                        };
                        let input = SessionInput::Delivered(delivered);
                        sessions.step(Input::Session(id, input), now);
                        for ask in asks {
                            let said = SessionInput::Said(Said::Ask(ask));
                            sessions.step(Input::Session(id, said), now);
                        }
                    }
                    Output::Propose {
                        ticket,
                        command: Command::AckTasks(refs),
                        ..
                    } => {
                        if let Some(ended) = ended.take() {
                            sessions.step(Input::Applied(told(index, ended)), now);
                        }
                        let outcome = Outcome::Ended {
                            stamp_ns: index,
                            results: vec![Ok(Ended::Done); refs.leases.len()],
                        };
                        let result = Ok(Settled {
                            outcome,
                            maybe_before: false,
                        });
                        sessions.step(Input::Proposed(ticket, result), now);
                    }
                    Output::Session(_, Told::Answer(_)) => answers += 1,
                    Output::Report { report, .. } => {
                        let consumer = report.consumer().to_owned();
                        let is_told = true;
                        sessions.step(Input::Reported { consumer, is_told }, now);
                    }
                    _ => {}
                }
            }
        }
    }
    match answers == rounds * BATCH && sessions.lease_count() == 0 {
        true => Ok(()),
        false => Err(format!(
            "{answers} of {} acks were answered",
            rounds * BATCH
        )),
    }
}

fn told(stamp_ns: u64, event: Event) -> AppliedEvents {
    AppliedEvents {
        events: vec![event],
        stamp_ns,
        ..AppliedEvents::default()
    }
}

fn dispatch(rounds: usize) -> Done {
    let (tasks, view) = (Tasks::new()?, MemState::new());
    let (mut dispatcher, mut riders) = (Dispatcher::new(), Riders::default());
    dispatcher.become_leader(1);
    for n in 1..=rounds as u64 {
        let given = (n - 1) * BATCH as u64;
        dispatcher.consumer_report(ConsumerReport {
            consumer: "consumer~1.boot.1".to_owned(),
            namespace: tasks.namespace.clone(),
            received_total: given,
            allowed_total: given + 4 * BATCH as u64,
            lease_ms: 0,
        });
        let recall = |namespace: &z4_core::Namespace| riders.recall(namespace);
        let poll = dispatcher
            .poll_offering(n * 1_000_000, &view, recall)
            .map_err(text)?;
        for lease in poll.riders {
            riders.offer(1, lease);
        }
        let rider = riders.take(&tasks.namespace, 1);
        let rider = rider.ok_or("no lease was offered to ride")?;
        dispatcher.on_event(&Event::Leased {
            namespace: rider.namespace,
            stamp_ns: n * 1_000_000,
            takers: rider.takers,
            grants: (0..BATCH as u32).map(|task| lease_of(task, n)).collect(),
            more: false,
        });
    }
    Ok(())
}

fn overlay(rounds: usize) -> Done {
    let tasks = Tasks::new()?;
    let (store, applied) = MemDisk::default().open();
    let mut machine = TaskMachine::open(store, applied, Box::new(|_| ())).map_err(|e| e.0)?;
    let mut flusher = machine.flusher();
    let mut index = 0;
    let mut entry = |commands: &[Command]| {
        index += 1;
        let committed = Committed {
            position: Position { index, term: 1 },
            stamp_ns: index * 1_000_000,
            commands: commands.iter().map(encode_command).collect(),
            membership: None,
        };
        let mut replies = machine.apply(vec![committed]).map_err(|e| e.0)?;
        if index.is_multiple_of(FLUSH_ENTRIES) {
            flusher().map_err(|e| e.0)?;
        }
        replies.pop().ok_or("an entry had no replies".to_owned())
    };
    for _ in 0..rounds {
        let mut commands = tasks.creates();
        commands.push(Command::LeaseTasks(tasks.lease()));
        let grants = granted(entry(&commands)?.pop())?;
        is_acknowledged(entry(&[tasks.ack(&grants)])?.last())?;
    }
    Ok(())
}
