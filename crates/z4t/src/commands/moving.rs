//! A namespace on its way to another cluster: export and import.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use futures::executor::block_on;
use z4_client::{ListQuery, TaskState};

use super::progress::Progress;
use super::{batch, connect};
use crate::error::Error;
use crate::limits::PAGE_LEN_MAX;
use crate::options::{Export, Import};
use crate::show;

pub(super) fn export(export: &Export, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&export.target)?;
    let mut query = ListQuery {
        namespace: export.namespace.clone(),
        state: export.state.map(|state| state.0),
        with_body: true,
        page_size: PAGE_LEN_MAX,
        page_token: export.page_token.clone().unwrap_or_default(),
        ..ListQuery::default()
    };
    let mut progress = Progress::new("exported", None);
    let mut exported = 0;
    loop {
        let page = match block_on(client.list(&query)) {
            Ok(page) => page,
            Err(error) if exported == 0 => return Err(error.into()),
            Err(error) => {
                progress.end();
                return Err(Error::Answered(format!(
                    "{error}; {exported} tasks were written: run it again with --page-token {} and \
                     put what it writes behind them",
                    show::escape(&query.page_token)
                )));
            }
        };
        for task in &page.items {
            if export.state.is_none() && task.state == Some(TaskState::Dead) {
                continue;
            }
            writeln!(out, "{}", show::import_line(task))?;
            exported += 1;
        }
        progress.at(exported);
        match page.next {
            Some(next) => query.page_token = next,
            None => break,
        }
    }
    out.flush()?;
    progress.end();
    Ok(())
}

pub(super) fn import(import: &Import, out: &mut impl Write) -> Result<(), Error> {
    if import.file.as_os_str() == "-" {
        return from(import, std::io::stdin().lock(), out);
    }
    let file = File::open(&import.file).map_err(|e| {
        let name = import.file.display();
        Error::Input(format!("cannot open {name}: {e}; give another FILE"))
    })?;
    from(import, BufReader::new(file), out)
}

fn from(import: &Import, input: impl BufRead, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&import.target)?;
    let imported = block_on(batch::import(import, &client, input))?;
    Ok(writeln!(out, "{imported} tasks were imported")?)
}
