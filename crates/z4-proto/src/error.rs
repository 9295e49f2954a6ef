//! Why bytes are not a message.

use z4_core::Refusal;

/// Bytes that are not what they should be. In the log or in a store: what is
/// there is damaged or written by a newer version, and the process must stop.
/// From a peer: close the stream.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not a protobuf message.
    #[error("{what}: not a message: {source}")]
    Wire {
        /// Which message.
        what: &'static str,
        /// What the parser says.
        source: protobuf::ProtobufError,
    },
    /// None of the kinds that this version knows.
    #[error("{what}: no kind that this version knows")]
    Kind {
        /// Which message.
        what: &'static str,
    },
    /// A field that this version does not know.
    #[error("{what}: field {number} is not known to this version")]
    UnknownField {
        /// Which message.
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// A field of a fixed length has another one.
    #[error("{what}: is {len} long, must be {want}")]
    Length {
        /// Which field.
        what: &'static str,
        /// Bytes, or elements, that are there.
        len: usize,
        /// Bytes, or elements, that should be there.
        want: usize,
    },
    /// A number out of range.
    #[error("{what}: {value} is out of range")]
    Range {
        /// Which field.
        what: &'static str,
        /// What it says.
        value: u64,
    },
    /// Fields that contradict each other.
    #[error("{what}: {rule}")]
    Contradiction {
        /// Which message.
        what: &'static str,
        /// What should hold.
        rule: &'static str,
    },
    /// A text that the core does not take for what it should be.
    #[error("{what}: {refusal}")]
    Refused {
        /// The field.
        what: &'static str,
        /// The reason that the core gives.
        #[source]
        refusal: Refusal,
    },
    /// A name that is not a namespace.
    #[error("namespace: {0}")]
    Namespace(#[source] Refusal),
}
