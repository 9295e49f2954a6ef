//! The metadata of a task, as its command finds it.

use std::io::Write;
use std::process::Command;

use tempfile::NamedTempFile;

use crate::limits::METADATA_ENV_LEN_MAX;

/// The variable that holds it.
const VARIABLE: &str = "Z4_METADATA";
/// The variable that names the file, when it is too large for a variable.
const FILE_VARIABLE: &str = "Z4_METADATA_FILE";

/// Sets one of the two variables, never both. The file, which only its owner may
/// read, is gone when what is returned is dropped.
///
/// # Errors
/// When there is to be a file and it cannot be written.
pub(super) fn give(
    command: &mut Command,
    json: &str,
    by_file: bool,
) -> std::io::Result<Option<NamedTempFile>> {
    command.env_remove(VARIABLE).env_remove(FILE_VARIABLE);
    if !by_file && json.len() <= METADATA_ENV_LEN_MAX {
        command.env(VARIABLE, json);
        return Ok(None);
    }
    let mut file = NamedTempFile::with_prefix("z4-metadata-")?;
    file.write_all(json.as_bytes())?;
    command.env(FILE_VARIABLE, file.path());
    Ok(Some(file))
}
