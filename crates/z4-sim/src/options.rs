//! What is simulated.

use crate::faults::Faults;

/// One seed in so many has clocks that jump by an hour. Simulated time is cheap
/// when little happens in it, but not free.
const HOURS_ONE_IN: u64 = 20;

/// Most peers at the beginning.
pub const PEERS_MAX: u64 = 7;
/// Clients of a run, all of which may think of requests.
pub const CLIENTS_MAX: u64 = 6;
/// Most consumers of a namespace: of some methods two, of GetTaskStream none in
/// namespaces of which the history is to say all.
pub const CONSUMERS_MAX: u64 = 5;
/// Longest time of work, in seconds.
pub const SECONDS_MAX: u64 = 1_000_000;

/// One run of the simulation: the same options give the same run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Draws everything.
    pub seed: u64,
    /// Peers at the beginning, all voters: 1 to 7.
    pub peers: u64,
    /// Clients that think of requests: 1 to [`CLIENTS_MAX`]. The others change settings
    /// of namespaces when the simulator has them do so.
    pub clients: u64,
    /// Consumers of each namespace, in the order of their methods: 1 to
    /// [`CONSUMERS_MAX`].
    pub consumers: u64,
    /// What may go wrong.
    pub faults: Faults,
    /// How long clients work and things go wrong, in milliseconds of simulated
    /// time.
    pub work_ms: u64,
    /// How long the cluster may take to settle afterwards, in milliseconds of
    /// simulated time, beyond the lead of machine time over the clocks. In it go
    /// an election, a task's time to come (4 s), leases of 1.5 s that nobody ends
    /// and backoffs of up to 3 s after them, one behind the other. Of 200 runs
    /// the longest took 8 s, half of them 3.2 s; a consumer that is gone and gets
    /// a task again and again was once seen to make it 17 s.
    pub settle_ms: u64,
    /// Log entries kept for peers that lag.
    pub log_keep_entries: u64,
    /// Clocks jump by up to an hour too.
    pub hours: bool,
    /// The run ends with the loss of a quorum for good, and not with a rest.
    pub lost: bool,
    /// A mutant: a mistake put in on purpose, to see that it is found: a name of
    /// [`MUTANTS`](crate::mutants::MUTANTS).
    pub planted: Option<&'static str>,
    /// Print what happens.
    pub print: bool,
}

impl Options {
    /// The run of a seed, with all faults, for so many seconds of simulated time
    /// before it has to settle.
    #[must_use]
    pub fn of_seed(seed: u64, seconds: u64) -> Self {
        Self {
            seed,
            peers: [3, 5, 3, 1, 3, 4, 3, 7, 3, 2, 5, 6][(seed % 12) as usize],
            clients: CLIENTS_MAX,
            consumers: CONSUMERS_MAX,
            faults: Faults::all(),
            work_ms: seconds * 1_000,
            settle_ms: 30_000,
            log_keep_entries: [40, 40, 400][(seed % 3) as usize],
            hours: seed.is_multiple_of(HOURS_ONE_IN),
            lost: false,
            planted: None,
            print: false,
        }
    }

    /// Whether this mutant is put in.
    pub(crate) fn planted(&self, name: &str) -> bool {
        self.planted == Some(name)
    }
}
