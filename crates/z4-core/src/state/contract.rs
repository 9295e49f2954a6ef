//! What every [`State`](super::State) must do, as one suite run on each
//! implementation.
