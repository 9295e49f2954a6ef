//! Namespaces: list, get, set, pause, resume, delete, stats.

use std::io::Write;

use futures::executor::block_on;
use serde_json::json;
use z4_client::{Client, ErrorKind, Namespace, SettingsPatch};

use super::connect;
use super::progress::Progress;
use crate::error::Error;
use crate::limits::DELETION_LOOK_INTERVAL;
use crate::options::{NamespaceCommand, NamespaceDelete, NamespaceList, NamespaceName, Output};
use crate::show;

pub(super) fn run(command: &NamespaceCommand, out: &mut impl Write) -> Result<(), Error> {
    match command {
        NamespaceCommand::List(which) => list(which, out),
        NamespaceCommand::Get(which) => {
            let client = connect(&which.target)?;
            let namespace = block_on(client.namespace(&which.namespace))?;
            print(which.output, &namespace, out)
        }
        NamespaceCommand::Set(set) => {
            let patch = set.patch();
            if patch == SettingsPatch::default() {
                let how = "give a setting to change; see z4t ns set --help";
                return Err(Error::Usage(how.to_owned()));
            }
            let client = connect(&set.target)?;
            let namespace = block_on(client.update_namespace(&set.namespace, &patch))?;
            print(set.output, &namespace, out)
        }
        NamespaceCommand::Pause(which) => {
            let client = connect(&which.target)?;
            let namespace = block_on(client.pause_namespace(&which.namespace))?;
            print_short(which, &namespace, "paused", out)
        }
        NamespaceCommand::Resume(which) => {
            let client = connect(&which.target)?;
            let namespace = block_on(client.resume_namespace(&which.namespace))?;
            print_short(which, &namespace, "resumed", out)
        }
        NamespaceCommand::Delete(delete) => delete_namespace(delete, out),
        NamespaceCommand::Stats(which) => stats(which, out),
    }
}

fn list(which: &NamespaceList, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let mut namespaces = Vec::new();
    let mut token = String::new();
    loop {
        let page = block_on(client.list_namespaces(1_000, &token))?;
        match which.output {
            Output::Text => namespaces.extend(page.items),
            Output::Json => {
                for namespace in &page.items {
                    writeln!(out, "{}", show::namespace_json(namespace))?;
                }
            }
        }
        match page.next {
            Some(next) => token = next,
            None => break,
        }
    }
    if which.output == Output::Text {
        write!(out, "{}", show::namespace_table(&namespaces))?;
    }
    Ok(())
}

fn print(output: Output, namespace: &Namespace, out: &mut impl Write) -> Result<(), Error> {
    match output {
        Output::Text => write!(out, "{}", show::namespace_text(namespace))?,
        Output::Json => writeln!(out, "{:#}", show::namespace_json(namespace))?,
    }
    Ok(())
}

fn print_short(
    which: &NamespaceName,
    namespace: &Namespace,
    what: &str,
    out: &mut impl Write,
) -> Result<(), Error> {
    match which.output {
        Output::Text => Ok(writeln!(out, "{} {what}", show::escape(&namespace.name))?),
        Output::Json => print(which.output, namespace, out),
    }
}

fn delete_namespace(delete: &NamespaceDelete, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&delete.target)?;
    let remaining = block_on(client.delete_namespace(&delete.namespace))?;
    if delete.wait {
        wait_until_gone(&client, &delete.namespace, remaining)?;
    }
    let name = show::escape(&delete.namespace);
    match (delete.output, delete.wait) {
        (Output::Text, true) => writeln!(out, "{name} deleted")?,
        (Output::Text, false) => writeln!(out, "{name} is being deleted, {remaining} tasks to go")?,
        (Output::Json, wait) => {
            let left = if wait { 0 } else { remaining };
            let value = json!({"name": delete.namespace, "remaining": left, "gone": wait});
            writeln!(out, "{value:#}")?;
        }
    }
    Ok(())
}

fn wait_until_gone(client: &Client, name: &str, total: u64) -> Result<(), Error> {
    let mut progress = Progress::new("tasks removed", Some(total));
    loop {
        let counts = match block_on(client.namespace(name)) {
            // Somebody made it anew: ours is gone.
            Ok(namespace) if !namespace.deleting => break,
            Ok(namespace) => namespace.counts,
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => {
                progress.end();
                return Err(error.into());
            }
        };
        let left = [counts.pending, counts.leased, counts.dead];
        let left = left.into_iter().fold(0, u64::saturating_add);
        progress.at(total.saturating_sub(left));
        std::thread::sleep(DELETION_LOOK_INTERVAL);
    }
    progress.end();
    Ok(())
}

fn stats(which: &NamespaceName, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let stats = block_on(client.namespace_stats(&which.namespace))?;
    match which.output {
        Output::Text => write!(out, "{}", show::stats_text(&stats))?,
        Output::Json => writeln!(out, "{:#}", show::stats_json(&stats))?,
    }
    Ok(())
}
