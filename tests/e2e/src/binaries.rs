//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The path of the program `name`: in the folder that `Z4_BIN_DIR` names, else
/// beside the running program (a test runs in `deps`, one folder below).
///
/// # Panics
/// When it is not there; the message says how to build it.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let folder = match std::env::var_os("Z4_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => beside_this_program(),
    };
    find_in(&folder, name)
}

/// The folder with the programs of the last release: the one that `Z4_RELEASE_DIR` names,
/// and `scripts/last_release` fills.
///
/// # Panics
/// When it is not set.
#[must_use]
pub fn last_release() -> PathBuf {
    let folder = std::env::var_os("Z4_RELEASE_DIR");
    folder
        .map(PathBuf::from)
        .expect("set Z4_RELEASE_DIR to the folder that scripts/last_release prints")
}

/// The path of the program `name` in a folder.
///
/// # Panics
/// When it is not there; the message says how to build it.
#[must_use]
pub fn find_in(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `cargo build -p z4-server -p z4t` with the profile of this program, \
         or set Z4_BIN_DIR to the folder that has it",
        path.display()
    );
    path
}

fn beside_this_program() -> PathBuf {
    let own = std::env::current_exe().expect("the system knows this program's path");
    let folder = own.parent().expect("a program lies in a folder");
    if folder.ends_with("deps") {
        folder.parent().expect("deps lies in a folder").to_owned()
    } else {
        folder.to_owned()
    }
}
