//! step(input, now) -> work.

/// The pure replica.
#[derive(Debug)]
pub struct Replica {}
