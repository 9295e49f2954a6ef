//! Beginnings and ends of operations in the order of their times, as a linked
//! list in which an operation is lifted out and put back in constant time
//! (Lowe 2017, section 4.1).

use super::Timed;

/// No entry: the end of the list.
pub(super) const NONE: u32 = u32::MAX;
/// What stands before the first entry.
const HEAD: u32 = 0;

pub(super) struct List {
    next: Vec<u32>,
    previous: Vec<u32>,
    /// Of each entry: its operation, and whether it is the beginning.
    what: Vec<(u32, bool)>,
    /// Of each operation: the entries of its beginning and of its end.
    entries: Vec<(u32, u32)>,
}

impl List {
    pub(super) fn new<C, R>(operations: &[Timed<C, R>]) -> Self {
        let mut events = Vec::with_capacity(operations.len() * 2);
        for (op, operation) in operations.iter().enumerate() {
            let op = op as u32;
            events.push((operation.invoked_ns, 0_u8, op));
            if let Some((at_ns, _)) = &operation.end {
                events.push(((*at_ns).max(operation.invoked_ns), 1, op));
            }
        }
        events.sort_unstable();
        let count = events.len() as u32;
        let mut list = Self {
            next: (1..=count).chain([NONE]).collect(),
            previous: [NONE].into_iter().chain(0..count).collect(),
            what: vec![(NONE, false)],
            entries: vec![(NONE, NONE); operations.len()],
        };
        for (_, kind, op) in events {
            let entry = list.what.len() as u32;
            let both = &mut list.entries[op as usize];
            if kind == 0 {
                both.0 = entry;
            } else {
                both.1 = entry;
            }
            list.what.push((op, kind == 0));
        }
        list
    }

    pub(super) fn first(&self) -> u32 {
        self.next[HEAD as usize]
    }

    pub(super) fn after(&self, entry: u32) -> u32 {
        self.next[entry as usize]
    }

    pub(super) fn after_call(&self, op: u32) -> u32 {
        self.after(self.entries[op as usize].0)
    }

    /// The operation that begins at this entry, if one does.
    pub(super) fn call(&self, entry: u32) -> Option<u32> {
        match self.what.get(entry as usize) {
            Some((op, true)) => Some(*op),
            _ => None,
        }
    }

    /// The operation of this entry.
    pub(super) fn operation(&self, entry: u32) -> Option<u32> {
        let (op, _) = self.what.get(entry as usize)?;
        (*op != NONE).then_some(*op)
    }

    /// The entry at which an operation begins.
    pub(super) fn begins(&self, op: u32) -> u32 {
        self.entries[op as usize].0
    }

    /// Takes both entries of an operation out.
    pub(super) fn lift(&mut self, op: u32) {
        let (begin, end) = self.entries[op as usize];
        for entry in [begin, end] {
            if entry != NONE {
                let (next, previous) = self.around(entry);
                self.next[previous as usize] = next;
                if next != NONE {
                    self.previous[next as usize] = previous;
                }
            }
        }
    }

    /// Puts both back; undoes the latest lift that is not undone.
    pub(super) fn unlift(&mut self, op: u32) {
        let (begin, end) = self.entries[op as usize];
        for entry in [end, begin] {
            if entry != NONE {
                let (next, previous) = self.around(entry);
                self.next[previous as usize] = entry;
                if next != NONE {
                    self.previous[next as usize] = entry;
                }
            }
        }
    }

    fn around(&self, entry: u32) -> (u32, u32) {
        (self.next[entry as usize], self.previous[entry as usize])
    }
}
