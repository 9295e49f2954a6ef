//! Which peer messages are let in.
