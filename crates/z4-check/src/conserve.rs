//! Tasks are conserved: created = pending + leased + done + dead + cancelled +
//! purged, and the number is one that the clients can explain.
//!
//! Source: promise 6 of z4; the total-queue checker of Jepsen.

use z4_core::state::NamespaceCounts;

use crate::violation::{Rule, Violation};

/// What the clients know of a namespace. An operation without an answer counts
/// in `unknown` only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Known {
    /// Tasks whose create was acknowledged; a repeated request counts once.
    pub created: u64,
    /// Tasks that creates without an answer may have made, at most.
    pub created_unknown: u64,
    /// Acks that were acknowledged.
    pub done: u64,
    /// Acks without an answer, and what is acknowledged without a client
    /// (GetTaskStream).
    pub done_unknown: u64,
    /// Cancels that were acknowledged.
    pub cancelled: u64,
    /// Cancels without an answer.
    pub cancelled_unknown: u64,
}

/// Checks that the counts of a namespace add up.
///
/// # Errors
///
/// [`Rule::CountsDiffer`].
pub fn balance(namespace: &str, counts: &NamespaceCounts) -> Result<(), Violation> {
    let parts = [
        counts.pending,
        counts.leased,
        counts.done,
        counts.dead,
        counts.cancelled,
        counts.purged,
    ];
    let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
    if sum == u128::from(counts.created) {
        return Ok(());
    }
    Err(Violation::new(
        Rule::CountsDiffer,
        format!("namespace {namespace}: the parts make {sum}: {counts:?}"),
    ))
}

/// Checks the counts of a namespace, and that each lies between what the clients
/// know and what they cannot exclude.
///
/// # Errors
///
/// [`Rule::CountsDiffer`], [`Rule::CountsUnknown`].
pub fn check(namespace: &str, counts: &NamespaceCounts, known: &Known) -> Result<(), Violation> {
    balance(namespace, counts)?;
    let bounds = [
        (
            "created",
            counts.created,
            known.created,
            known.created_unknown,
        ),
        ("done", counts.done, known.done, known.done_unknown),
        (
            "cancelled",
            counts.cancelled,
            known.cancelled,
            known.cancelled_unknown,
        ),
    ];
    for (what, count, least, unknown) in bounds {
        let most = least.saturating_add(unknown);
        if count < least || count > most {
            return Err(Violation::new(
                Rule::CountsUnknown,
                format!(
                    "namespace {namespace}: {count} {what}, the clients know of {least} to {most}"
                ),
            ));
        }
    }
    Ok(())
}
