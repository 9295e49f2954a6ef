//! The entry envelope: stamp and commands; replies by (term, index).

pub mod wire;
