//! Work of the hot path, in memory and in one thread, so that its instructions can be
//! counted: `scripts/bench_guard` runs it under valgrind's callgrind with two numbers of
//! tasks and takes the difference, so that starting costs nothing.
//!
//! `z4-guard WORK TASKS` does one work for so many tasks:
//!
//! | work | what it does with each task |
//! |---|---|
//! | `apply` | the machine creates, leases and acknowledges it |
//! | `codec` | its three commands are encoded and decoded |
//! | `session` | a consumer's session is granted it, delivers it, and has it acknowledged |
//! | `dispatch` | the leader offers a lease that rides, and hears that it was granted |
//! | `overlay` | as `apply`, through the codec and the write-back layer, with flushes |

mod tasks;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (name, count) = (args.next().unwrap_or_default(), args.next());
    let count = count.and_then(|count| count.parse().ok());
    let outcome = match count {
        Some(count) => work::run(&name, count),
        None => Err("z4-guard WORK TASKS".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("z4-guard: {why}");
            ExitCode::FAILURE
        }
    }
}
