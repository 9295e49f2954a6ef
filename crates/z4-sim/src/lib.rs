//! Deterministic simulator of a z4 cluster.
