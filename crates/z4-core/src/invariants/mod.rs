//! What must hold at every index, as code, and a fingerprint of the state.
//!
//! Both read every row: for tests, the simulator and an operator's check, not
//! for the path of a request. The check holds about a kilobyte for each
//! namespace and nothing for a task, so that it can run over a database of any
//! size:
//!
//! 1. Each body is visited; its status, its place and its timer are looked up
//!    and must agree with it. What should be there is counted.
//! 2. The tables of the index are visited; no row may be below its cursor. What
//!    is there is counted. A row that no task accounts for shows as a surplus.
//! 3. Both counts must be the same, and the same as the namespace's counters.
//!
//! | file | what |
//! |---|---|
//! | `tasks` | bodies, and what belongs to each |
//! | `index` | the other tables |
//! | `tally` | the counts of a namespace |
//! | `access` | principals |
//! | `fingerprint` | rows as bytes |

mod access;
mod fingerprint;
mod index;
mod tally;
mod tasks;

use xxhash_rust::xxh3::Xxh3;

use self::tally::Tallies;
use crate::limits;
use crate::state::{MetaRow, Row, RowKey, StateError, View};

/// What a check found.
#[must_use = "a check that nobody looks at finds nothing"]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The number of rows.
    pub rows: u64,
    /// One sentence for each rule that is broken; the first
    /// [`limits::VIOLATIONS_MAX`] of them.
    pub violations: Vec<String>,
    /// How many more there are.
    pub violations_more: u64,
}

impl Report {
    /// Nothing when every rule holds.
    ///
    /// # Errors
    /// The broken rules; the last sentence says how many are left out.
    pub fn verdict(self) -> Result<(), Vec<String>> {
        let mut broken = self.violations;
        if self.violations_more > 0 {
            broken.push(format!("and {} more", self.violations_more));
        }
        if broken.is_empty() {
            Ok(())
        } else {
            Err(broken)
        }
    }

    fn say(&mut self, rule: impl FnOnce() -> String) {
        if self.violations.len() < limits::VIOLATIONS_MAX {
            self.violations.push(rule());
        } else {
            self.violations_more += 1;
        }
    }
}

/// Checks what must hold between entries: conservation and bytes per namespace;
/// every task in exactly one place, and its rows agreeing about it; counts and
/// cursors; timers; the two rows of every request id; principals within their limits, of which
/// no two share a name or a token.
///
/// `view` must stand still meanwhile: a snapshot, or a store that nobody
/// changes.
///
/// # Errors
/// [`StateError`] when the store fails. Broken rules are in the report.
pub fn check(view: &(impl View + ?Sized)) -> Result<Report, StateError> {
    let mut report = Report::default();
    let mut meta = MetaRow::default();
    match view.get(&RowKey::Meta)? {
        Some(Row::Meta(row)) => meta = row,
        Some(_) => report.say(|| "the meta row is of another kind".into()),
        // As the machine sees it; an empty store has none.
        None => {}
    }
    let mut tallies = Tallies::load(view, &meta, &mut report)?;
    tasks::visit(view, &meta, &mut tallies, &mut report)?;
    index::visit(view, &meta, &mut tallies, &mut report)?;
    access::visit(view, &meta, &mut report)?;
    tallies.settle(&mut report);
    Ok(report)
}

/// A fingerprint of all rows, the same for the same rows in any store, process
/// and version.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn state_hash(view: &(impl View + ?Sized)) -> Result<u128, StateError> {
    let mut hash = StateHasher::new();
    view.scan(&RowKey::Meta, &RowKey::End, &mut |key, row| {
        hash.row(&key, &row);
        true
    })?;
    Ok(hash.finish())
}

/// Makes the fingerprint of [`state_hash`] from rows that come one after the other, for
/// whoever has them in a file and in no store.
pub struct StateHasher(fingerprint::Fingerprint);

impl std::fmt::Debug for StateHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateHasher")
    }
}

impl Default for StateHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl StateHasher {
    /// The fingerprint of no row so far.
    #[must_use]
    pub fn new() -> Self {
        Self(fingerprint::Fingerprint(Xxh3::new()))
    }

    /// Takes in the next row. Rows must come in the order of their keys: another order gives
    /// another fingerprint.
    pub fn row(&mut self, key: &RowKey, row: &Row) {
        self.0.row(key, row);
    }

    /// The fingerprint of all rows that were taken in.
    #[must_use]
    pub fn finish(&self) -> u128 {
        self.0 .0.digest128()
    }
}

/// Visits a range with a visitor that may fail.
fn scan(
    view: &(impl View + ?Sized),
    (from, to): (RowKey, RowKey),
    mut visit: impl FnMut(RowKey, Row) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let mut visited = Ok(());
    view.scan(&from, &to, &mut |key, row| {
        visited = visit(key, row);
        visited.is_ok()
    })?;
    visited
}
