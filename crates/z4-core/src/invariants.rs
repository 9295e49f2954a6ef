//! What must hold at every index, as code.
