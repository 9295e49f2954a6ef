//! Reading through layers: the newest change of a row wins, and what no layer has
//! changed is read from below.

use std::cmp::Ordering;
use std::iter::Peekable;

use z4_core::state::{Row, RowKey, StateError, View};

use super::layer::{Change, Layer};

/// Visits the rows with `from <= key < to` of `layers` over `base`, in key order,
/// until `visit` returns `false`; the newest layer comes first.
///
/// # Errors
/// Those of the base.
pub(crate) fn scan(
    layers: &[&Layer],
    base: &impl View,
    from: &RowKey,
    to: &RowKey,
    visit: &mut dyn FnMut(RowKey, Row) -> bool,
) -> Result<(), StateError> {
    if from >= to {
        return Ok(());
    }
    let ranges = layers.iter().map(|layer| layer.range(from, to).peekable());
    let mut changes = Newest(ranges.collect());
    let mut goes_on = true;
    base.scan(from, to, &mut |key, row| {
        goes_on = changes.visit_below(&key, visit)
            && match changes.take(&key) {
                Some(change) => visit_changed(&key, change, visit),
                None => visit(key, row),
            };
        goes_on
    })?;
    if goes_on {
        changes.visit_below(to, visit);
    }
    Ok(())
}

/// Whether the visitor goes on.
fn visit_changed(
    key: &RowKey,
    change: &Change,
    visit: &mut dyn FnMut(RowKey, Row) -> bool,
) -> bool {
    match &change.row {
        Some(row) => visit(key.clone(), Row::clone(row)),
        None => true,
    }
}

/// The changes of all layers in key order, the newest of each key.
struct Newest<I: Iterator>(Vec<Peekable<I>>);

impl<'a, I: Iterator<Item = (&'a RowKey, &'a Change)>> Newest<I> {
    /// The change of this key, if it is the next.
    fn take(&mut self, key: &RowKey) -> Option<&'a Change> {
        let mut newest = None;
        for layer in &mut self.0 {
            if layer.peek().is_some_and(|(next, _)| *next == key) {
                let (_, change) = layer.next()?;
                newest = newest.or(Some(change));
            }
        }
        newest
    }

    /// Visits all rows below a key. Whether the visitor goes on.
    fn visit_below(&mut self, end: &RowKey, visit: &mut dyn FnMut(RowKey, Row) -> bool) -> bool {
        loop {
            let next = self.0.iter_mut().filter_map(|layer| layer.peek());
            let next = next.map(|(key, _)| *key).min();
            let Some(key) = next.filter(|key| key.cmp(&end) == Ordering::Less) else {
                return true;
            };
            let goes_on = self
                .take(key)
                .is_none_or(|change| visit_changed(key, change, visit));
            if !goes_on {
                return false;
            }
        }
    }
}
