//! Certificates, keys and TLS for z4: what is read from files, checked, and read again
//! when the files change.
//!
//! gRPC speaks TLS itself and is given PEM texts. The lanes between peers and the status
//! port are z4's own, and use the same library, OpenSSL, so that one update of the system
//! mends all ports. Nothing here knows of gRPC, tasks or peers.
//!
//! | module | what lives there |
//! |---|---|
//! | `files` | which files, and the settings that name them |
//! | `pem` | blocks of a PEM file, each with its line |
//! | `material` | a certificate with its key and the CAs, checked |
//! | `names` | the names in a certificate |
//! | `watched` | material that follows its files |
//! | `stream` | TLS on sockets that are z4's own |
//! | `issue` | a small CA, for `z4t certs` and tests |

#![forbid(unsafe_code)]

mod files;
mod issue;
mod material;
mod names;
mod pem;
mod stream;
mod watched;

pub use files::{FileError, Files, NamedFile, Use};
pub use issue::{Authority, IssueError, Issued, Role};
pub use material::{is_over, Expiry, Material, Part};
pub use names::Names;
pub use stream::{ClientAuth, Connector, Server, Stream};
pub use watched::{Looked, Watched};

#[cfg(test)]
mod tests;
