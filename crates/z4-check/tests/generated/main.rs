//! Histories made from a life of tasks that is right pass; with one thing
//! changed, most are refused.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod grants;
