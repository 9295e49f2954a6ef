//! Raft for z4: a pure replica and the threads that run it.
