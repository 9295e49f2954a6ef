//! The file of contexts: where it is, reading and writing it.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Contexts;
use crate::error::Error;
use crate::limits;
use crate::private_file::{Existing, PrivateFile};

/// Where the file is, by `XDG_CONFIG_HOME` or `HOME`; `None`: neither says it.
pub(crate) fn path() -> Option<PathBuf> {
    let folder = |name| {
        let folder = PathBuf::from(std::env::var_os(name)?);
        // A relative one is as none: so says the specification of the variable.
        folder.is_absolute().then_some(folder)
    };
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    Some(config?.join("z4").join("config.json"))
}

impl Contexts {
    /// Reads the file at `path`; one that is not there holds no contexts.
    ///
    /// # Errors
    /// `Input` with the path, the line and what to do.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let refuse = |why: String| Error::Input(format!("{}: {why}", path.display()));
        let max = limits::CONFIG_LEN_MAX;
        let mut text = Vec::new();
        let read = File::open(path).and_then(|f| f.take(max + 1).read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => {
                return Err(refuse(format!(
                    "the contexts cannot be read: {e}; make the file readable for you, or remove it"
                )))
            }
        }
        if text.len() as u64 > max {
            return Err(refuse(format!(
                "the file is longer than {max} bytes; remove contexts, or the file"
            )));
        }
        serde_json::from_slice(&text).map_err(|e| {
            let place = format!(" at line {} column {}", e.line(), e.column());
            let said = e.to_string();
            let why = said.strip_suffix(&place).unwrap_or(&said);
            refuse(format!(
                "line {}: {why}; mend the line, or remove the file and set the contexts anew",
                e.line()
            ))
        })
    }

    /// Writes the file at `path`, for its owner alone.
    ///
    /// # Errors
    /// `Input`; the file is as it was.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        let text = format!("{:#}\n", self.json());
        let max = limits::CONFIG_LEN_MAX;
        if text.len() as u64 > max {
            return Err(Error::Input(format!(
                "{}: the file would be longer than {max} bytes; delete contexts first",
                path.display()
            )));
        }
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|e| {
                Error::Input(format!(
                    "{}: the folder cannot be made: {e}; set XDG_CONFIG_HOME to one of yours",
                    folder.display()
                ))
            })?;
        }
        PrivateFile::begin(path)?.finish(text.as_bytes(), Existing::Replaced)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::super::Context;
    use super::*;

    fn load(text: &str) -> Result<Contexts, String> {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Contexts::load(&path).map_err(|error| {
            assert_eq!(error.exit_code(), 1);
            let said = error.to_string();
            assert!(said.starts_with(&format!("{}: ", path.display())), "{said}");
            assert!(said.contains("remove"), "{said}");
            said
        })
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("new/z4/config.json");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let full = Context {
            targets: vec!["10.0.0.1:6355".into(), "[::1]:6355".into()],
            ca: Some("/a/ca.pem".into()),
            cert: Some("/a/cert.pem".into()),
            key: Some("/a/key.pem".into()),
            server_name: Some("peer1".into()),
            token_file: Some("/a/\"token\"".into()),
        };
        let mut contexts = Contexts::default();
        contexts.all.insert("prod".into(), full);
        contexts.all.insert("dev".into(), Context::default());
        for current in [Some("prod".to_owned()), None] {
            contexts.current = current;
            contexts.save(&path).unwrap();
            assert_eq!(Contexts::load(&path).unwrap(), contexts);
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, line, said) in [
            ("", 1, "EOF"),
            ("{\n", 2, "EOF"),
            ("[]", 1, "invalid type"),
            ("{\n\"contexts\": {\n\"a\": 5}}", 3, "invalid type"),
            ("{\n\"other\": 1}", 2, "\"other\" is no key of it"),
            (
                "{\"contexts\":\n{\"a\": {\n\"token\": \"x\"}}}",
                3,
                "\"token\" is no key of it",
            ),
            ("{\"contexts\":\n{\"a b\": {}}}", 2, "the name of a context"),
            (
                "{\"contexts\": {\"a\": {},\n\"a\": {}}}",
                2,
                "\"a\" stands twice",
            ),
            ("{\"contexts\": {\"a\":\n{\"ca\": \"\"}}}", 2, "ca is empty"),
            (
                "{\"contexts\": {\"a\":\n{\"targets\": [\"x\"]}}}",
                2,
                "host:port",
            ),
            (
                "{\"current\": \"b\",\n\"contexts\": {\"a\": {}}}",
                2,
                "current is \"b\"",
            ),
            ("{\"contexts\": {}}\nx", 2, "trailing"),
        ] {
            let error = load(text).unwrap_err();
            assert!(
                error.contains(&format!(": line {line}: ")),
                "{text}: {error}"
            );
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let long = " ".repeat(limits::CONFIG_LEN_MAX as usize + 1);
        assert!(load(&long).unwrap_err().contains("longer than"));
        assert_eq!(load("{}").unwrap(), Contexts::default());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let error = Contexts::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("the contexts cannot be read"), "{error}");
    }
}
