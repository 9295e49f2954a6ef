//! What is simulated.

/// One run of the simulation: the same options give the same run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Draws everything.
    pub seed: u64,
    /// Peers at the beginning, all voters.
    pub peers: u64,
    /// Whether a peer is added and another removed on the way.
    pub members_change: bool,
    /// Whether peers crash, networks split and clocks jump.
    pub chaos: bool,
    /// How long clients work, in milliseconds of virtual time.
    pub work_ms: u64,
    /// How long the cluster may take to settle afterwards, in milliseconds of
    /// virtual time.
    pub settle_ms: u64,
    /// Log entries kept for peers that lag.
    pub log_keep_entries: u64,
    /// A mistake put in on purpose, to see that it is found.
    pub bug: Option<Bug>,
}

impl Options {
    /// The run of a seed: size of the cluster and change of members follow
    /// from it.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            peers: [3, 3, 5, 3, 1, 3][(seed % 6) as usize],
            members_change: seed.is_multiple_of(2),
            chaos: true,
            work_ms: 8_000,
            settle_ms: 30_000,
            log_keep_entries: if seed.is_multiple_of(3) { 1_000 } else { 50 },
            bug: None,
        }
    }
}

/// Mistakes that the checkers must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The disk loses entries that it said were synced.
    DiskLosesSynced,
    /// Promises go out before the write they rest on is synced.
    SendsBeforeSync,
    /// Tasks are leased three seconds before they are due.
    LeasesEarly,
    /// Repeated requests make new tasks.
    ForgetsRequests,
    /// Reads are answered from what happens to be applied.
    ReadsWithoutQuorum,
    /// One peer does not apply some of the acks.
    OnePeerSkipsAcks,
    /// Creates are acknowledged when the leader has appended them.
    AcksBeforeCommit,
    /// An ack only gives the lease back.
    AcksOnlyRelease,
}
