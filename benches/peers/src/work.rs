//! The works that every system is given, and their names on the command line.

use std::fmt;
use std::str::FromStr;

/// Tasks of a batch.
pub const BATCH: usize = 100;

/// How creates reach a system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lanes {
    /// All on one stream, or pipelined on one connection.
    One,
    /// Callers with one create in flight each, as the clients of the system do it:
    /// on connections or channels of their own, or by single calls of one connection.
    Callers(usize),
}

/// What is done with a task until it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It is created, and the create is acknowledged.
    Created,
    /// So many at once are, by one request.
    Batches,
    /// It is created, delivered and acknowledged by its consumer.
    Whole,
}

/// When the next one starts.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As soon as one ends: so many are in flight at any time.
    Closed(usize),
    /// At times that are set beforehand, so many a second, whatever the system does.
    Open(f64),
}

/// One work.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Work {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// How creates reach the system.
    pub lanes: Lanes,
    /// What is done with a task until it counts.
    pub life: Life,
    /// When the next one starts.
    pub pace: Pace,
}

/// Every work that there is, in the order in which they are done.
const ALL: [Work; 9] = [
    Work::new("create-1", Lanes::One, Life::Created, Pace::Closed(1)),
    Work::new("create-64", Lanes::One, Life::Created, Pace::Closed(64)),
    Work::new("create-1024", Lanes::One, Life::Created, Pace::Closed(1024)),
    Work::new(
        "callers-64",
        Lanes::Callers(64),
        Life::Created,
        Pace::Closed(64),
    ),
    Work::new("batch-100", Lanes::One, Life::Batches, Pace::Closed(1)),
    Work::new("cycle-64", Lanes::One, Life::Whole, Pace::Closed(64)),
    Work::new("cycle-1024", Lanes::One, Life::Whole, Pace::Closed(1024)),
    Work::new("open-create", Lanes::One, Life::Created, Pace::Open(0.0)),
    Work::new("open-cycle", Lanes::One, Life::Whole, Pace::Open(0.0)),
];

impl Work {
    const fn new(name: &'static str, lanes: Lanes, life: Life, pace: Pace) -> Self {
        Self {
            name,
            lanes,
            life,
            pace,
        }
    }

    /// Every work, those of an open loop at `rate` a second.
    #[must_use]
    pub fn all(rate: f64) -> Vec<Self> {
        ALL.iter().map(|work| work.at(rate)).collect()
    }

    /// The same work; one of an open loop at `rate` a second.
    #[must_use]
    pub fn at(mut self, rate: f64) -> Self {
        if let Pace::Open(_) = self.pace {
            self.pace = Pace::Open(rate);
        }
        self
    }

    /// Tasks that one operation makes.
    #[must_use]
    pub fn tasks_per_operation(&self) -> usize {
        match self.life {
            Life::Batches => BATCH,
            _ => 1,
        }
    }

    /// How many tasks may be inside at a time.
    #[must_use]
    pub fn inside(&self) -> usize {
        match self.pace {
            Pace::Closed(inside) => inside,
            // As many as the widest closed loop has: an open loop bounds nothing.
            Pace::Open(_) => 1024,
        }
    }

    /// Whether starts are set beforehand: then the latency is the result, not the rate.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open(_))
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = ALL.iter().find(|work| work.name == name);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|work| work.name).collect();
            format!("no work is called {name}; there are {}", names.join(", "))
        })
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
