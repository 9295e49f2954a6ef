//! `z4t`: administration of z4 from the command line.
//!
//! | module | what lives there |
//! |---|---|
//! | `argv` | arguments as they come from outside, made fit for the argument library |
//! | `options` | commands and their flags |
//! | `commands` | one file per family of commands |
//! | `doctor` | what is wrong or risky in what was seen of a cluster |
//! | `rates` | what peers did between two looks at them |
//! | `screen` | the terminal while it shows one frame after the other |
//! | `contexts` | names for clusters and how they are reached |
//! | `reach` | how a command reaches its cluster: flags, environment, context |
//! | `private_file` | files that nobody else may read |
//! | `show` | output, for people and for programs |
//! | `moment` | times in and out |
//! | `rate` | rates in and out |
//! | `limits` | bounds and spans |
//! | `quiet` | gRPC's own words on standard error, which nobody needs |
//! | `zone` | in which zone times are meant and shown |
//! | `error` | one line that says what to do |
//! | `flags` | fields in the errors of a peer as flags |
//! | `fuzzing` | reading arguments and showing answers, opened for the fuzz targets |

mod argv;
mod commands;
mod contexts;
mod doctor;
mod error;
mod flags;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod moment;
mod options;
mod private_file;
mod quiet;
mod rate;
mod rates;
mod reach;
mod screen;
mod show;
mod zone;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::error::Error;

/// Carries out what the arguments of the process say. The exit code: 0 when all
/// was done, 2 for a command line to mend, and what `error` says for all else.
#[must_use]
pub fn main() -> ExitCode {
    quiet::keep();
    match run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has had enough: `z4t stream ns | head -1`.
        Err(Error::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // With no standard error there is nobody left to tell. What an error
            // quotes came from outside, and must not command the terminal.
            let line = error.to_string();
            let _ = writeln!(std::io::stderr(), "z4t: {}", show::escape(&line));
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let mut out = show::Plain(std::io::stdout().lock());
    match argv::parse(args)? {
        argv::Wish::Command(options) => commands::run(*options, &mut out)?,
        argv::Wish::Help(text) => writeln!(out, "{text}")?,
    }
    Ok(out.flush()?)
}
