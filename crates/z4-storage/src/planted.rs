//! Mistakes that can be put in on purpose: see `z4_core::planted`.

/// Whether a mistake is planted.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($name:literal) => {
        z4_core::planted::is($name)
    };
}

/// No mistake is planted.
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}

pub(crate) use planted;
