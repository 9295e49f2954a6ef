//! Contexts: set, use, list, delete.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::contexts::{self, Context, Contexts};
use crate::error::Error;
use crate::options::{ContextCommand, ContextList, ContextSet, Output, Secure};
use crate::show;

pub(super) fn run(command: &ContextCommand, out: &mut impl Write) -> Result<(), Error> {
    let path = contexts::path().ok_or_else(|| {
        let why =
            "there is no folder for contexts; set HOME or XDG_CONFIG_HOME to an absolute path";
        Error::Input(why.to_owned())
    })?;
    at(&path, command, out)
}

fn at(path: &Path, command: &ContextCommand, out: &mut impl Write) -> Result<(), Error> {
    let mut contexts = Contexts::load(path)?;
    let said = match command {
        ContextCommand::List(which) => return list(&contexts, which, out),
        ContextCommand::Set(set) => {
            let context = contexts.all.remove(&set.name).unwrap_or_default();
            contexts
                .all
                .insert(set.name.clone(), changed(context, set)?);
            match contexts.current.as_ref() == Some(&set.name) {
                true => format!("{} set", set.name),
                false => format!(
                    "{0} set; z4t context use {0} makes it the current one",
                    set.name
                ),
            }
        }
        ContextCommand::Use(which) => {
            contexts.named(&which.name)?;
            contexts.current = Some(which.name.clone());
            format!("{} is the current context", which.name)
        }
        ContextCommand::Delete(which) => {
            contexts.named(&which.name)?;
            contexts.all.remove(&which.name);
            let is_current = contexts.current.as_ref() == Some(&which.name);
            contexts.current = contexts.current.filter(|_| !is_current);
            match is_current {
                true => format!("{} deleted; there is no current context now", which.name),
                false => format!("{} deleted", which.name),
            }
        }
    };
    contexts.save(path)?;
    Ok(writeln!(out, "{said}")?)
}

/// The context with what is given. Paths are made absolute, for commands run in any folder.
fn changed(mut context: Context, set: &ContextSet) -> Result<Context, Error> {
    if !set.targets.is_empty() {
        context.targets = set.targets.clone();
    }
    let given = &set.secure;
    for (field, flag, value) in [
        (&mut context.ca, "--ca", &given.ca),
        (&mut context.cert, "--cert", &given.cert),
        (&mut context.key, "--key", &given.key),
        (&mut context.token_file, "--token-file", &given.token_file),
    ] {
        if let Some(value) = value {
            *field = Some(absolute(flag, value)?);
        }
    }
    if let Some(name) = &given.server_name {
        context.server_name = Some(name.clone());
    }
    let whole = Secure {
        ca: context.ca.clone(),
        cert: context.cert.clone(),
        key: context.key.clone(),
        server_name: context.server_name.clone(),
        token_file: None,
    };
    whole.tls()?;
    Ok(context)
}

fn absolute(flag: &str, path: &Path) -> Result<PathBuf, Error> {
    let refuse = |why: &str| Error::Usage(format!("{flag}: {why}; give an absolute path"));
    let path = std::path::absolute(path).map_err(|e| refuse(&e.to_string()))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(refuse("the path of the folder is not UTF-8")),
    }
}

fn list(contexts: &Contexts, which: &ContextList, out: &mut impl Write) -> Result<(), Error> {
    if which.output == Output::Text {
        return Ok(write!(out, "{}", show::context_table(contexts))?);
    }
    for (name, context) in &contexts.all {
        let is_current = contexts.current.as_ref() == Some(name);
        writeln!(out, "{}", show::context_json(name, context, is_current))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use structopt::StructOpt;
    use tempfile::TempDir;

    use super::*;

    fn run(folder: &TempDir, line: &str) -> Result<String, String> {
        let words = std::iter::once("context").chain(line.split(' '));
        let command = ContextCommand::from_iter_safe(words).map_err(|e| e.message)?;
        let mut out = Vec::new();
        let path = folder.path().join("z4/config.json");
        at(&path, &command, &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn contexts_come_change_and_go() {
        let folder = TempDir::new().unwrap();
        let said = run(&folder, "set prod -t a:1 -t b:1,c:1 --ca /x/ca.pem").unwrap();
        assert_eq!(
            said,
            "prod set; z4t context use prod makes it the current one\n"
        );
        assert_eq!(
            run(&folder, "use prod").unwrap(),
            "prod is the current context\n"
        );
        assert_eq!(
            run(&folder, "set prod --token-file here").unwrap(),
            "prod set\n"
        );
        let here = std::path::absolute("here").unwrap();
        let line = format!(
            r#"{{"name":"prod","current":true,"targets":["a:1","b:1","c:1"],"ca":"/x/ca.pem","token_file":"{}"}}"#,
            here.display()
        );
        assert_eq!(run(&folder, "list -o json").unwrap(), line + "\n");
        run(&folder, "set dev -t d:1").unwrap();
        assert_eq!(run(&folder, "list").unwrap().lines().count(), 3);
        assert!(run(&folder, "delete dev")
            .unwrap()
            .starts_with("dev deleted"));
        assert!(run(&folder, "delete prod").unwrap().contains("no current"));
        assert_eq!(run(&folder, "list -o json").unwrap(), "");
    }

    #[test]
    fn mistakes_change_nothing() {
        let folder = TempDir::new().unwrap();
        run(&folder, "set prod -t a:1").unwrap();
        let before = run(&folder, "list -o json").unwrap();
        for (line, said) in [
            ("use none", "give one of these: prod"),
            ("delete none", "give one of these: prod"),
            ("set prod --cert c", "give --key"),
            ("set prod --server-name n", "by --ca"),
            ("set a/b -t a:1", "the name of a context"),
            ("set prod -t a", "host:port"),
        ] {
            let error = run(&folder, line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
            assert_eq!(run(&folder, "list -o json").unwrap(), before, "{line}");
        }
    }
}
