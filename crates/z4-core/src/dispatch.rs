//! Who gets due tasks and when to wake, as pure decisions.
