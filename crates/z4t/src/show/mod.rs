//! Output, for people and for programs.

mod cluster;
mod task;

pub(crate) use cluster::{info, status_json, status_text};
pub(crate) use task::{task_json, task_line, task_text};
