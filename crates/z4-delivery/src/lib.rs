//! Consumer sessions of a z4 peer, as pure decisions: no thread, no clock, no IO.
//!
//! A **session** is one consumer's stream at one peer (Consume, GetTaskStream), or one
//! call of LeaseTasks. A **consumer** is a name that may have sessions at several peers
//! over time. [`Sessions`] holds those of one peer. The shell tells it what happens,
//! with [`Sessions::step`], and does what [`Sessions::turn`] wants done. The simulator
//! is such a shell too, so that it drives the very code that serves.
//!
//! ```text
//!             found                            drained, or half-closed for a while
//!  Opening ----------> Open ------------------------------> Flushing
//!                       |  \   half-closed    grace is over    ^  |
//!                       |   `----------> HalfClosed -----------'  | flushed
//!                       |                     |                   v
//!                       |                     |                Closing
//!                       |   gone              |  gone             |  all is given back
//!                       v                     v                   v
//!                   (no more) <------------------------------- Ended
//!                             what nobody can come back for is released
//! ```
//!
//! # Credit
//! The log is the only ledger. A lease counts from the event that grants it to the
//! event that ends it; an answer only informs the client. A session reports to the
//! leader how many tasks it may have been granted since it opened: what it has
//! received, and its window less what has not ended. The leader's dispatcher
//! ([`z4_core::dispatch`]) grants no more. A peer that a snapshot made jump over events
//! looks for the leases of its sessions and goes on from there.
//!
//! # Leased ahead
//! The dispatcher leases a little before tasks are due. A session holds such a lease until
//! the task is due by the clock of the leader ([`LeaderClock`]).
//!
//! # Who may come back
//! A consumer that chose its id may come back for its leases, here or at another peer,
//! long before this peer notices that its connection broke. So a session gives a
//! lease back only in the name under which it holds it, and one that opens resumes the
//! leases of before in the log, under a name of its own, before it hands them out: whichever
//! comes first into the log decides.
//! A session that is closed ends only when nothing can be on its way to it any more:
//! the leader has heard that it takes nothing, and a command proposed after that is
//! applied (a fence).
//!
//! # An example
//! A consumer opens a session at a peer that leads, is granted a task, acknowledges it
//! and is gone. The shell of this example applies each command at once.
//!
//! ```
//! use z4_core::command::{CreateTasks, NewTask};
//! use z4_core::{Command, Machine, MemState, Namespace};
//! use z4_delivery::endings::{Ask, Ending, Item};
//! use z4_delivery::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let namespace = Namespace::new("mails")?;
//! let mut machine = Machine::open(MemState::new())?;
//! let mut sessions: Sessions<String> = Sessions::new("boot1");
//! let now = Now { wall_ns: 1_000, monotonic_ns: 0 };
//!
//! // Applies a command, and gives the outcome and what the sessions are told of it.
//! let mut index = 0;
//! let mut apply = |machine: &mut Machine<MemState>, command: Command| {
//!     index += 1;
//!     let mut events = Vec::new();
//!     let outcomes = machine.apply_entry(index, 1_000 + index, vec![command], &mut events);
//!     let applied = AppliedEvents { events, stamp_ns: 1_000 + index, ..AppliedEvents::default() };
//!     outcomes.map(|mut outcomes| (outcomes.remove(0), applied))
//! };
//!
//! let leadership = Leadership { raft_id: 1, leader: 1, term: 1, is_ready_here: true, goes_by_clock: true };
//! sessions.step(Input::Leadership(leadership), now);
//! let tasks = vec![NewTask::default()];
//! let create = CreateTasks { namespace: namespace.clone(), request_id: String::new(), tasks };
//! let (_, applied) = apply(&mut machine, Command::CreateTasks(create))?;
//! sessions.step(Input::Applied(applied), now);
//!
//! let session = SessionId(1);
//! let method = Method::Consume { in_flight_max: 10, bytes_max: 1 << 20, is_named: false };
//! let consumer_id = "auto-1".to_owned();
//! let open = Open { namespace, consumer_id, lease_ms: 0, method };
//! sessions.step(Input::Session(session, SessionInput::Open(open)), now);
//!
//! let mut done = None;
//! let mut clock = now;
//! while done.is_none() {
//!     let turn = sessions.turn(clock, machine.state())?;
//!     for output in turn.outputs {
//!         match output {
//!             // The lease, and later the ack.
//!             Output::Propose { ticket, command, .. } => {
//!                 let (outcome, applied) = apply(&mut machine, command)?;
//!                 sessions.step(Input::Applied(applied), clock);
//!                 let result = Ok(Settled { outcome, maybe_before: false });
//!                 sessions.step(Input::Proposed(ticket, result), clock);
//!             }
//!             // The task goes to the client, who says that it is done.
//!             Output::Session(session, Told::Deliver(deliveries)) => {
//!                 let key = deliveries[0].grant.key();
//!                 let delivered = Delivered { sent: vec![key], ..Delivered::default() };
//!                 let item = Item {
//!                     task_id: key.0.to_string(),
//!                     deadline_ns: None,
//!                     ask: Ask::Ack(key),
//!                 };
//!                 for input in [
//!                     SessionInput::Delivered(delivered),
//!                     SessionInput::Said(Said::Ask(item)),
//!                 ] {
//!                     sessions.step(Input::Session(session, input), clock);
//!                 }
//!             }
//!             Output::Session(_, Told::Answer(answer)) => done = Some(answer.ending),
//!             _ => {}
//!         }
//!     }
//!     clock.monotonic_ns += 1_000_000;
//!     clock.wall_ns += 1_000_000;
//! }
//! assert!(matches!(done, Some(Ending::Over(z4_core::command::Ended::Done))));
//! assert_eq!(sessions.lease_count(), 0);
//! sessions.step(Input::Session(session, SessionInput::Gone), clock);
//! assert!(sessions.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! | module | what |
//! |---|---|
//! | `input`, `output` | what happens; what is to be done |
//! | `sessions` | all sessions of a peer |
//! | `session` | one of them: its state, what its client says, its end |
//! | `take` | LeaseTasks |
//! | `ledger`, `flow` | its leases; how much it may have, and what waits for room |
//! | [`endings`] | acks, nacks, extends and releases |
//! | `reports` | what the leader is told |
//! | `leading` | the dispatcher, while this peer leads |
//! | `clock` | the leader's clock, as others hear of it |
//! | `quiet` | which news need not wake the delivery thread |
//! | `directory`, [`consumer_id`] | whose grants go where |
//! | [`find()`] | live leases of a consumer, in the applied state |
//! | [`limits`] | every bound |
#![forbid(unsafe_code)]

mod clock;
pub mod consumer_id;
mod directory;
pub mod endings;
mod find;
mod flow;
mod input;
mod leading;
mod ledger;
pub mod limits;
mod outbox;
mod output;
mod quiet;
mod reports;
mod session;
mod sessions;
mod take;

pub use clock::{ClockReading, LeaderClock};
pub use find::find;
pub use input::{
    AppliedEvents, Delivered, Failure, Input, Key, Leadership, Method, Now, Open, Said, SessionId,
    SessionInput, Settled, Taking, Ticket,
};
pub use output::{Delivery, End, Output, Report, Retry, Told, Whose};
pub use quiet::Quiet;
pub use sessions::{Sessions, Turn};
