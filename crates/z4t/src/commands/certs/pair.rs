//! A certificate and its key, written as two new files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use z4_tls::Issued;

use crate::error::Error;

/// A file to be made: its path, its text and its mode.
type New<'a> = (&'a Path, &'a [u8], u32);

/// Writes DIR/STEM.pem and DIR/STEM-key.pem, and gives their paths. Both are there
/// afterwards, on stable storage, or neither is. The key is never readable by others, and
/// nothing is overwritten.
pub(super) fn write(dir: &Path, stem: &str, issued: &Issued) -> Result<(PathBuf, PathBuf), Error> {
    let cert = dir.join(format!("{stem}.pem"));
    let key = dir.join(format!("{stem}-key.pem"));
    let taken = [&cert, &key].into_iter().find(|path| is_there(path));
    if let Some(path) = taken {
        return Err(Error::Input(format!(
            "{} is there already, and stays as it is; give another folder by --out, or move the \
             file away first",
            path.display()
        )));
    }
    let files: [New<'_>; 2] = [
        (&key, &issued.key_pem, 0o600),
        (&cert, &issued.cert_pem, 0o644),
    ];
    match write_all(dir, &files) {
        Ok(()) => Ok((cert, key)),
        Err((path, e)) => Err(Error::Input(format!(
            "{}: {e}; give a folder by --out that can be written",
            path.display()
        ))),
    }
}

/// Tells whether something has the name, a link that leads nowhere included.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Makes the folder and all files, or none of the files: a half of a pair is of no use, and
/// would stand in the way of the next try.
fn write_all(dir: &Path, files: &[New<'_>]) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |e: io::Error| (path, e)
    };
    let is_new = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let new_dirs: Vec<&Path> = dir.ancestors().take_while(is_new).collect();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(at(dir))?;
    let mut written = Vec::new();
    let write = |file: &New<'_>| create(file, &mut written).map_err(at(file.0));
    let result = files.iter().try_for_each(write);
    let result = result.and_then(|()| sync_names(dir, &new_dirs).map_err(at(dir)));
    if result.is_err() {
        for path in written {
            let _ = fs::remove_file(path);
        }
    }
    result
}

fn create(file: &New<'_>, written: &mut Vec<PathBuf>) -> io::Result<()> {
    let (path, text, mode) = *file;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path)?;
    written.push(path.to_owned());
    file.write_all(text)?;
    file.sync_all()
}

/// Makes the names of the files durable, and those of the folders that are new.
fn sync_names(dir: &Path, new_dirs: &[&Path]) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    for new in new_dirs {
        let parent = new.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_pair_that_cannot_be_written_whole_is_not_written() {
        let root = TempDir::new().unwrap();
        let (good, bad) = (root.path().join("a"), root.path().join("none/b"));
        let files: [New<'_>; 2] = [(&good, b"a", 0o600), (&bad, b"b", 0o644)];
        let (path, _) = write_all(root.path(), &files).unwrap_err();
        assert_eq!(path, bad);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        // A file that somebody else made meanwhile stays.
        fs::write(root.path().join("b"), "theirs").unwrap();
        let bad = root.path().join("b");
        let files: [New<'_>; 2] = [(&good, b"a", 0o600), (&bad, b"b", 0o644)];
        write_all(root.path(), &files).unwrap_err();
        assert_eq!(fs::read(&bad).unwrap(), b"theirs");
        assert!(!good.exists());
    }
}
