//! One file per family of commands.

mod access;
mod backup;
mod batch;
mod certs;
mod cluster;
mod consume;
mod context;
mod create;
mod dead;
mod doctor;
mod endings;
mod exec;
mod leases;
mod list;
mod moving;
mod namespaces;
mod notice;
mod once;
mod progress;
mod recover;
mod replace;
mod signals;
mod survey;
mod tasks;
mod top;
mod upgrade;

use std::io::{IsTerminal, Write};

use futures::executor::block_on;
use structopt::StructOpt;
use z4_client::Client;

use crate::error::Error;
use crate::limits;
use crate::options::{each_key_once, Command, Completions, Options, Target};
use crate::reach;
use crate::zone;

/// Carries a command out; `out` gets its answer.
pub(crate) fn run(options: Options, out: &mut impl Write) -> Result<(), Error> {
    zone::settle(options.tz, options.utc, std::io::stdout().is_terminal());
    match options.command {
        Command::Info(target) => cluster::info(&target, out),
        Command::Status(status) => cluster::status(&status, out),
        Command::Doctor(doctor) => doctor::doctor(&doctor, out),
        Command::Top(top) => top::top(&top, out),
        Command::Health(target) => cluster::health(&target, out),
        Command::AddPeer(add) => cluster::add_peer(&add, out),
        Command::RemovePeer(remove) => cluster::remove_peer(&remove, out),
        Command::ReplacePeer(replace) => replace::replace_peer(&replace, out),
        Command::SetAddress(set) => cluster::set_address(&set, out),
        Command::TransferLeader(transfer) => cluster::transfer_leader(&transfer, out),
        Command::Upgrade(upgrade) => upgrade::run(&upgrade, out),
        Command::Verify(verify) => cluster::verify(&verify, out),
        Command::Backup(backup) => backup::run(&backup, out),
        Command::Create(create) => {
            each_key_once("-m", &create.metadata)?;
            match &create.batch {
                Some(path) => batch::create(&create, path, out),
                None => create::create(create, out),
            }
        }
        Command::Get(get) => tasks::get(&get, out),
        Command::Stream(stream) => tasks::stream(&stream, out),
        Command::Cancel(task) => tasks::cancel(&task, out),
        Command::Reschedule(reschedule) => tasks::reschedule(&reschedule, out),
        Command::RunNow(task) => tasks::run_now(&task, out),
        Command::Explain(task) => tasks::explain(&task, out),
        Command::List(list) => list::list(&list, out),
        Command::Export(export) => moving::export(&export, out),
        Command::Import(import) => moving::import(&import, out),
        Command::Consume(consume) => consume::consume(&consume, out),
        Command::Lease(lease) => leases::lease(&lease, out),
        Command::Ack(leases) => leases::ack(&leases, out),
        Command::Nack(nack) => leases::nack(&nack, out),
        Command::Extend(extend) => leases::extend(&extend, out),
        Command::Release(leases) => leases::release(&leases, out),
        Command::Dead(command) => dead::run(&command, out),
        Command::Ns(command) => namespaces::run(&command, out),
        Command::Recover(command) => recover::run(&command, out),
        Command::Certs(command) => certs::run(&command, out),
        Command::Access(command) => access::run(&command, out),
        Command::Context(command) => context::run(&command, out),
        Command::Completions(completions) => write_completions(&completions, out),
    }
}

/// A client of the first peer of `-t`, or of the context, that takes a connection.
fn connect(target: &Target) -> Result<Client, Error> {
    let reach = reach::settle(target)?;
    let options = z4_client::Options {
        timeout: target.timeout.unwrap_or(limits::CALL_TIMEOUT),
        member_timeout: target.timeout.unwrap_or(limits::PATIENT_TIMEOUT),
        tls: reach.tls,
        token: reach.token,
        ..z4_client::Options::default()
    };
    Ok(block_on(Client::connect(&reach.targets, options))?)
}

fn write_completions(completions: &Completions, out: &mut impl Write) -> Result<(), Error> {
    // By way of memory: the library panics when its output is a closed pipe.
    let mut script = Vec::new();
    Options::clap().gen_completions_to("z4t", completions.shell, &mut script);
    Ok(out.write_all(&script)?)
}
