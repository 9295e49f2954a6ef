//! `z4t`: administration of z4 from the command line.
//!
//! | module | what lives there |
//! |---|---|
//! | `argv` | the two liberties with flags that the argument library does not take |
//! | `options` | commands and their flags |
//! | `commands` | one file per family of commands |
//! | `show` | output, for people and for programs |
//! | `moment` | times in and out |
//! | `rate` | rates in and out |
//! | `error` | one line that says what to do |

mod argv;
mod commands;
mod error;
mod moment;
mod options;
mod rate;
mod show;

use std::io::Write;
use std::process::ExitCode;

use structopt::clap::ErrorKind;
use structopt::StructOpt;

use crate::error::Error;
use crate::options::Options;

fn main() -> ExitCode {
    let result = match Options::from_iter_safe(argv::normalize(std::env::args_os())) {
        Ok(options) => commands::run(options, &mut std::io::stdout().lock()),
        Err(usage) => match usage.kind {
            ErrorKind::HelpDisplayed | ErrorKind::VersionDisplayed => {
                writeln!(std::io::stdout(), "{}", usage.message).map_err(Error::from)
            }
            _ => Err(Error::Usage(argv::one_line(&usage.message))),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has had enough: `z4t stream ns | head -1`.
        Err(Error::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // With no standard error there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "z4t: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
