//! The fingerprint of a run: equal for equal options, whatever the process.

use std::fmt::Write as _;

use xxhash_rust::xxh3::Xxh3;

/// Takes in what happens, in order.
pub(crate) struct Trace {
    hash: Xxh3,
    line: String,
    /// Print each event, to follow a run.
    print: bool,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self {
            hash: Xxh3::new(),
            line: String::new(),
            print,
        }
    }

    pub(crate) fn note(&mut self, at_ns: u64, what: std::fmt::Arguments<'_>) {
        self.line.clear();
        let _ = self.line.write_fmt(what);
        if self.print {
            println!("{:>12.6} {}", at_ns as f64 / 1e9, self.line);
        }
        self.hash.update(&at_ns.to_le_bytes());
        self.hash.update(self.line.as_bytes());
    }

    pub(crate) fn digest(&self) -> u64 {
        self.hash.digest()
    }
}
