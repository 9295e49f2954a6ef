//! Mistakes that can be put in on purpose, to see that the simulator finds them.
//!
//! Only the feature `planted`, which nothing but the simulator's hunt for
//! mistakes asks for, makes them possible; in any other build `planted!` is the
//! constant `false` and nothing of this is left. What each mistake is stands in
//! the list of `z4-sim`.
//!
//! This file is also a module of `z4-consensus`, which knows no other crate of ours
//! and has a switch of its own; storage uses that of the core.

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    std::thread_local! {
        static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Plants one mistake in this thread, or none.
    pub fn plant(name: Option<&'static str>) {
        PLANTED.with(|planted| planted.set(name));
    }

    /// Whether this mistake is planted in this thread.
    #[must_use]
    pub fn is(name: &str) -> bool {
        PLANTED.with(Cell::get) == Some(name)
    }
}

#[cfg(feature = "planted")]
pub use switch::{is, plant};

/// Whether a mistake is planted.
#[cfg(feature = "planted")]
#[macro_export]
#[doc(hidden)]
macro_rules! planted {
    ($name:literal) => {
        $crate::planted::is($name)
    };
}

/// No mistake is planted.
#[cfg(not(feature = "planted"))]
#[macro_export]
#[doc(hidden)]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}

pub(crate) use planted;
