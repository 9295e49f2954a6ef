//! What is known of the base while nobody writes to it.
//!
//! Between two flushes the base does not change. So what a scan found there first is
//! true of every later scan that begins between the same two places: the next look
//! for due tasks, for timers or for outdated request ids costs no iterator of the base.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use z4_core::planted;
use z4_core::state::{Row, RowKey, StateError, View};

use crate::limits::KNOWN_STRETCHES_MAX;

/// Where a stretch without rows ends, and the row that stands there. Without one, it
/// is not known what comes at the end and behind it.
#[derive(Debug)]
struct Stretch {
    end: RowKey,
    row: Option<Row>,
}

/// Stretches of the base that have no row, by their start. For the one reader that
/// scans the same places again and again, the machine.
#[derive(Debug, Default)]
pub(crate) struct Known {
    generation: Cell<u64>,
    stretches: RefCell<BTreeMap<RowKey, Stretch>>,
}

impl Known {
    /// The base as this generation of writes left it; nobody may be writing to it.
    pub fn over<'a, B: View>(&'a self, base: &'a B, generation: u64) -> KnownBase<'a, B> {
        let before = self.generation.replace(generation);
        if before != generation && !planted!("known-after-flush") {
            self.stretches.borrow_mut().clear();
        }
        KnownBase { base, known: self }
    }

    fn learn(&self, start: &RowKey, end: &RowKey, row: Option<&Row>) {
        // Bodies are not remembered: they may be large, and no scan for the first body is
        // made again and again.
        if matches!(row, Some(Row::Body(_))) {
            return;
        }
        let mut stretches = self.stretches.borrow_mut();
        if stretches.len() >= KNOWN_STRETCHES_MAX {
            stretches.clear();
        }
        let stretch = Stretch {
            end: end.clone(),
            row: row.cloned(),
        };
        stretches.insert(start.clone(), stretch);
    }

    /// The first row that the base has from a key on and where it stands, or a place
    /// before which there is none. `None`: the base must be asked.
    fn first(&self, from: &RowKey) -> Option<(RowKey, Option<Row>)> {
        let stretches = self.stretches.borrow();
        let (_, stretch) = stretches.range(..=from).next_back()?;
        (*from <= stretch.end).then(|| (stretch.end.clone(), stretch.row.clone()))
    }
}

/// A base of which something is known.
pub(crate) struct KnownBase<'a, B> {
    base: &'a B,
    known: &'a Known,
}

impl<B: View> KnownBase<'_, B> {
    /// Asks the base, and remembers what it has first.
    fn ask(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let mut is_first = true;
        self.base.scan(from, to, &mut |key, row| {
            if std::mem::take(&mut is_first) {
                self.known.learn(from, &key, Some(&row));
            }
            visit(key, row)
        })?;
        if is_first {
            self.known.learn(from, to, None);
        }
        Ok(())
    }
}

impl<B: View> View for KnownBase<'_, B> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.base.get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        match self.known.first(from) {
            Some((first, _)) if first >= *to => Ok(()),
            Some((first, Some(row))) => {
                if !visit(first.clone(), row) {
                    return Ok(());
                }
                self.base.scan(&first, to, &mut |key, row| {
                    // It was visited.
                    key == first || visit(key, row)
                })
            }
            Some((end, None)) => self.ask(&end, to, visit),
            None => self.ask(from, to, visit),
        }
    }
}
