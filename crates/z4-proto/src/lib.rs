//! Messages of z4 on the wire and on disk, and their codec.

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
