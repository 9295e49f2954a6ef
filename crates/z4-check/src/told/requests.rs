//! A create that was sent once, or repeated under one request id, made its tasks
//! once; one whose every try was refused made none; and no task is of two creates.

use super::judge::{labels, seen_with, ByLabel};
use super::part::Part;
use super::End;
use crate::request::Requests;
use crate::Violation;

/// The request ids that made more than one task, or that answered wrongly.
pub(super) fn check(part: &Part<'_>, by_label: &ByLabel) -> Vec<Violation> {
    let mut requests = Requests::default();
    let mut broken = Vec::new();
    for op in &part.ops {
        let labels = labels(&op.call);
        // Labels are never used twice: the first stands for the create.
        let Some(request) = labels.first().copied() else {
            continue;
        };
        match &op.end {
            End::Made(ids) => broken.extend(requests.answered(request, ids).err()),
            // Of a create only where every try was answered with a status that
            // says that nothing was done.
            End::Refused(_) => broken.extend(requests.refused(request).err()),
            _ => {}
        }
        for (place, id) in seen_with(by_label, labels) {
            broken.extend(requests.seen(request, place, id).err());
        }
    }
    broken
}
