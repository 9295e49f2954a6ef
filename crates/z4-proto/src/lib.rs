//! Messages of z4 on the wire and on disk, and their codec.
//!
//! | module | what lives there |
//! |---|---|
//! | [`command`] | commands as they stand in the log |
//! | [`outcome`] | what commands did, between peers |
//! | [`row`] | rows of the task state on disk |
//! | [`keys`] | their keys as bytes, in the order of keys |
//! | [`error`] | why bytes are not a message |
//! | [`level`] | the levels that this release knows, and what each of them brought |
//! | [`collection`], [`admin`], [`access`], [`health`], [`reflection_v1`], [`reflection_v1alpha`] | messages of the services for clients |
//! | [`peer`] | messages between peers |
//! | [`log`] | messages of the log and the disk; use the codec instead |
//! | [`backup`] | messages of backup files |
//!
//! The service stubs (`*_grpc`) come with the feature `services`.
//!
//! What the codec writes never changes: golden bytes in the tests hold it. A
//! field that is new to the log or to a row gets a new number. Commands and rows
//! with fields or kinds that this version does not know do not decode: a replica
//! that skipped them would go another way than its peers, so it must stop.

/// Generated from `proto/`: one module per file, and `*_grpc` for its services.
#[allow(
    missing_docs,
    warnings,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used
)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/protos/mod.rs"));
    /// Where the generated stubs look for `google.protobuf.Empty`.
    mod empty {
        pub use protobuf::well_known_types::Empty;
    }
}

pub mod command;
pub mod error;
pub mod keys;
pub mod level;
pub mod outcome;
mod parts;
mod principal;
pub mod row;
#[cfg(test)]
mod tests;

pub use command::{decode_command, encode_command, encode_create};
pub use error::DecodeError;
pub use generated::{
    access, admin, backup, collection, health, log, peer, reflection_v1, reflection_v1alpha,
};
#[cfg(feature = "services")]
pub use generated::{
    access_grpc, admin_grpc, collection_grpc, health_grpc, peer_grpc, reflection_v1_grpc,
    reflection_v1alpha_grpc,
};
pub use outcome::{decode_outcome, encode_outcome};
pub use row::{decode_row, encode_row};
