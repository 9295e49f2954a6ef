//! The fingerprint of a run: equal for equal options, whatever the process.

use xxhash_rust::xxh3::Xxh3;

/// Takes in what happens, in order.
pub(crate) struct Trace {
    hash: Xxh3,
    /// Print each event, to follow a run.
    print: bool,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            hash: Xxh3::new(),
            print: std::env::var_os("TRACE").is_some(),
        }
    }

    pub(crate) fn note(&mut self, at_ns: u64, what: std::fmt::Arguments<'_>) {
        let line = what.to_string();
        if self.print {
            println!("{:>12.6} {line}", at_ns as f64 / 1e9);
        }
        self.hash.update(&at_ns.to_le_bytes());
        self.hash.update(line.as_bytes());
    }

    pub(crate) fn digest(&self) -> u64 {
        self.hash.digest()
    }
}
