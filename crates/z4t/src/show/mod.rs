//! Output, for people and for programs.

mod access;
mod backup;
mod certs;
mod cluster;
mod context;
mod doctor;
mod explain;
mod figures;
mod lease;
mod namespace;
mod plain;
mod recover;
mod table;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod top;
mod upgrade;

pub(crate) use access::{
    identity_json, identity_text, new_token_json, new_token_text, principal_json, principal_table,
    principal_text,
};
pub(crate) use backup::{backup_json, backup_text};
pub(crate) use certs::{made_json, made_text, Made, MadeFor};
pub(crate) use cluster::{info, status_json, status_text, verification_json, verification_text};
pub(crate) use context::{context_json, context_table};
pub(crate) use doctor::{doctor_json, doctor_text};
pub(crate) use explain::{explanation_json, explanation_text};
pub(crate) use figures::bytes;
pub(crate) use lease::{
    delivery_json, delivery_line, name, next_try, outcome, result_json, result_line, DeliveryTable,
};
pub(crate) use namespace::{
    namespace_json, namespace_table, namespace_text, stats_json, stats_text,
};
pub(crate) use plain::{escape, Plain};
pub(crate) use recover::{recover_json, recover_text};
pub(crate) use task::{
    dead_table, import_line, metadata_json, task_json, task_line, task_table, task_text, Body,
};
pub(crate) use top::{namespaces_that_fit, top_frame, Full, Look};
pub(crate) use upgrade::{upgrade_json, upgrade_text};
