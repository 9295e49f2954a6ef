//! The files of TLS, and the settings that name them.

use std::path::PathBuf;

/// A file, and the setting that names it: errors tell both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedFile {
    /// The setting: `Z4_TLS_CERT`, `--ca`.
    pub setting: &'static str,
    /// Where the file is.
    pub path: PathBuf,
}

impl NamedFile {
    /// The file at `path`, which `setting` names.
    #[must_use]
    pub fn new(setting: &'static str, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { setting, path }
    }

    pub(crate) fn refuse(&self, what: impl std::fmt::Display) -> FileError {
        FileError(format!("{}: {}: {what}", self.setting, self.path.display()))
    }
}

/// The use of certificates, which says what is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// A server shows its own, and may ask its clients for theirs. The CAs are those of
    /// the clients.
    Server,
    /// A peer shows its own to peers that it dials and to those that dial it. The CAs
    /// are those of all peers, its own certificate included.
    Peer,
    /// A client may show its own. The CAs are those of the servers.
    Client,
}

/// The files of one port, or of one client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// The use of the files.
    pub usage: Use,
    /// The certificate that is shown, with those that lead to its CA behind it, and its
    /// key.
    pub own: Option<(NamedFile, NamedFile)>,
    /// The CAs that the other side is measured by.
    pub ca: Option<NamedFile>,
}

/// Says which setting names the file that cannot be used, where the file is, what is
/// wrong with it at which line, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FileError(pub(crate) String);
