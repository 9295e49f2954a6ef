//! One file per family of commands.

mod cluster;
mod tasks;

use std::io::Write;

use structopt::StructOpt;

use crate::error::Error;
use crate::options::{Command, Completions, Options};

/// Carries a command out; `out` gets its answer.
pub(crate) fn run(options: Options, out: &mut impl Write) -> Result<(), Error> {
    match options.command {
        Command::Info(target) => cluster::info(&target, out),
        Command::Status(status) => cluster::status(&status, out),
        Command::Health(target) => cluster::health(&target, out),
        Command::AddPeer(add) => cluster::add_peer(&add, out),
        Command::RemovePeer(remove) => cluster::remove_peer(&remove, out),
        Command::TransferLeader(transfer) => cluster::transfer_leader(&transfer, out),
        Command::Create(create) => tasks::create(create, out),
        Command::Get(get) => tasks::get(&get, out),
        Command::Stream(stream) => tasks::stream(&stream, out),
        Command::Completions(completions) => write_completions(&completions, out),
    }
}

fn write_completions(completions: &Completions, out: &mut impl Write) -> Result<(), Error> {
    // By way of memory: the library panics when its output is a closed pipe.
    let mut script = Vec::new();
    Options::clap().gen_completions_to("z4t", completions.shell, &mut script);
    Ok(out.write_all(&script)?)
}
