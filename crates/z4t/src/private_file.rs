//! Files that nobody else may read: whole or not there, under their name at once.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// A file that is about to be written, beside the place where it will stand. Its mode is
/// 0600.
pub(crate) struct PrivateFile {
    file: NamedTempFile,
    path: PathBuf,
}

/// The fate of a file that has the name already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Existing {
    /// The new one takes its place.
    Replaced,
    /// The old one stays, and nothing is written.
    Kept,
}

impl PrivateFile {
    /// Begins the file that is to stand at `path`: shows beforehand that there is room for it.
    /// Where `path` is a link, the file that it leads to is meant.
    ///
    /// # Errors
    /// `Input` when the folder is not there or takes no files.
    pub(crate) fn begin(path: &Path) -> Result<Self, Error> {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let refuse = |why: String| {
            let place = path.display();
            Error::Input(format!(
                "{place}: the file cannot be written: {why}; give a path in a folder of yours"
            ))
        };
        if path.is_dir() {
            return Err(refuse("it is a folder".to_owned()));
        }
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return Err(refuse("it is a folder".to_owned())),
        };
        let file = NamedTempFile::new_in(folder).map_err(|e| refuse(e.to_string()))?;
        Ok(Self { file, path })
    }

    /// Writes the file, and gives it its name.
    ///
    /// # Errors
    /// `Input`; a file that had the name is as it was.
    pub(crate) fn finish(mut self, bytes: &[u8], existing: Existing) -> Result<(), Error> {
        let path = self.path;
        let refuse = |e: &std::io::Error| {
            let place = path.display();
            Error::Input(match e.kind() {
                std::io::ErrorKind::AlreadyExists => format!(
                    "{place}: there is a file already, which stays as it is; give another path, \
                     or remove it first"
                ),
                _ => format!("{place}: the file cannot be written: {e}; give another path"),
            })
        };
        let written = self.file.write_all(bytes);
        written
            .and_then(|()| self.file.as_file().sync_all())
            .map_err(|e| refuse(&e))?;
        let named = match existing {
            Existing::Replaced => self.file.persist(&path),
            Existing::Kept => self.file.persist_noclobber(&path),
        };
        named.map(|_| ()).map_err(|e| refuse(&e.error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{symlink, PermissionsExt};

    use super::*;

    fn write(path: &Path, text: &str, existing: Existing) -> Result<(), String> {
        let file = PrivateFile::begin(path).map_err(|e| e.to_string())?;
        let done = file.finish(text.as_bytes(), existing);
        done.map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_is_for_its_owner_alone_and_replaces_or_does_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let (path, link) = (folder.path().join("token"), folder.path().join("link"));
        write(&path, "one", Existing::Kept).unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let said = write(&path, "two", Existing::Kept).unwrap_err();
        assert!(said.contains("give another path"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        symlink(&path, &link).unwrap();
        write(&link, "three", Existing::Replaced).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_place_that_takes_no_file_is_told_beforehand() {
        let folder = tempfile::TempDir::new().unwrap();
        for path in [folder.path().join("none/token"), folder.path().to_owned()] {
            let said = PrivateFile::begin(&path).err().unwrap().to_string();
            assert!(said.contains("give a path in a folder"), "{said}");
        }
    }
}
