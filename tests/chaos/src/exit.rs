//! What the exit codes mean. Nothing but [`PASSED`] is a run that passed.

/// Every promise was kept.
pub const PASSED: i32 = 0;
/// A promise was broken.
pub const VIOLATED: i32 = 1;
/// The command line is wrong; also what the argument library uses.
pub const USAGE: i32 = 2;
/// No run can take place here: not root, or a tool is missing.
pub const NOT_HERE: i32 = 3;
/// The run proves nothing: too little load, a fault that did not act, or too many
/// tasks whose calls were not put in an order.
pub const INVALID: i32 = 4;
/// The runner itself failed.
pub const BROKEN: i32 = 5;
/// Somebody stopped the run.
pub const INTERRUPTED: i32 = 130;
