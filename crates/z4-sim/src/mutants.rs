//! Mutants: mistakes that can be put in on purpose, each of which the simulator must find.
//!
//! Most are in the code that runs in production, behind the feature `planted` of
//! `z4-core`, `z4-consensus`, `z4-delivery` and `z4-storage`; those marked *shell* are in what
//! the simulator has instead of threads, disks and administrators.
//!
//! A mutant is found when the checker that is there for it says so, in the
//! words that stand beside it: any other failure of the run may be a false alarm.

mod shell;

use crate::options::Options;

/// A mutant, and by which words it is found.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// Words of the violations that it is meant to be found by, one of which
    /// must be told.
    says: &'static [&'static str],
    /// Words of assertions of raft-rs or of z4 that it may run into instead.
    asserts: &'static [&'static str],
    /// Shows when a quorum is lost for good.
    of_loss: bool,
}

impl Mutant {
    const fn new(name: &'static str, what: &'static str, says: &'static [&'static str]) -> Self {
        Self {
            name,
            what,
            says,
            asserts: &[],
            of_loss: false,
        }
    }

    /// The same, shown by an assertion of the code that runs too.
    const fn asserting(self, asserts: &'static [&'static str]) -> Self {
        Self { asserts, ..self }
    }

    /// The same, in runs that end with the loss of a quorum for good.
    const fn at_a_loss(self) -> Self {
        Self {
            of_loss: true,
            ..self
        }
    }

    /// Tells whether it shows only when a quorum is lost for good.
    #[must_use]
    pub fn is_of_loss(&self) -> bool {
        self.of_loss
    }

    /// Whether any build can plant it.
    #[must_use]
    pub fn is_of_shell(&self) -> bool {
        self.what.starts_with("shell: ")
    }

    /// Whether a failure of a run is what this mutant is meant to be found by.
    #[must_use]
    pub fn is_shown_by(&self, failure: &str) -> bool {
        let words = match failure.starts_with(PANIC) {
            true => self.asserts,
            false => self.says,
        };
        words.iter().any(|word| failure.contains(word))
    }
}

/// How the failure of a run begins that ended by a panic.
pub const PANIC: &str = "panic: ";

/// The mutant of this name.
///
/// # Errors
/// That there is none, and which there are; or that this build cannot plant it.
pub fn find(name: &str) -> Result<&'static Mutant, String> {
    let Some(found) = MUTANTS.iter().find(|known| known.name == name) else {
        let names: Vec<_> = MUTANTS.iter().map(|known| known.name).collect();
        let names = names.join(", ");
        return Err(format!("there is no mutant {name}; there are {names}"));
    };
    if !cfg!(feature = "planted") && !found.is_of_shell() {
        return Err(format!(
            "{name} is not of the shell: build with --features planted"
        ));
    }
    Ok(found)
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    Mutant::new(
        "access-too-early",
        "shell: a leader proposes a change of a principal in a cluster of the first level",
        &["of a principal, which needs level 2", "which needs more"],
    ),
    Mutant::new(
        "ack-before-quorum",
        "shell: creates are acknowledged when the leader has appended them",
        &["acknowledged and is not committed"],
    ),
    Mutant::new(
        "ack-only-releases",
        "an ack gives the lease back, and the task comes again",
        &["was leased, and was Done"],
    ),
    Mutant::new(
        "address-demotes-voter",
        "a voter that comes back at another address votes no more",
        &["an address changed who votes"],
    ),
    Mutant::new(
        "address-never-changes",
        "a member keeps the address that it came with; a learner that has reached its leader \
         elsewhere is promoted all the same",
        &["no peer leads: peer"],
    ),
    Mutant::new(
        "address-not-proposed",
        "a leader does not put into the log where members are found",
        &["the members have"],
    ),
    Mutant::new(
        "age-unchecked",
        "tasks are delivered after their time to live",
        &["after its time to live"],
    ),
    Mutant::new(
        "assembly-founder-of-any-order",
        "whichever empty peer sees all others founds a cluster, and not the one of the least address alone",
        &["two clusters have disks"],
    ),
    Mutant::new(
        "assembly-founds-without-all",
        "a cluster is founded when a majority of the empty peers answer",
        &["two clusters have disks"],
    ),
    Mutant::new(
        "attempts-without-end",
        "a task that failed as often as it may comes again",
        &["is tried for the"],
    ),
    Mutant::new(
        "broken-released",
        "the end of a named consumer's connection gives back what it has in hand, and the consumer goes on with it",
        &["was given back while consumer"],
    ),
    Mutant::new(
        "caller-by-the-wall-clock",
        "whether the caller of LeaseTasks still waits is decided by the wall clock",
        &["was given back while consumer"],
    ),
    Mutant::new(
        "change-told-done",
        "shell: a client is told that its change was done, and the task was leased",
        &["no order explains"],
    ),
    Mutant::new(
        "clock-sign-wrong",
        "a peer takes clocks that are behind its own for clocks that are ahead",
        &["ahead of the clocks of a majority"],
    ),
    Mutant::new(
        "clock-step-unseen",
        "what was measured of a clock stays when the clock is set",
        &["ahead of the clocks of a majority", "got no answer"],
    ),
    Mutant::new(
        "clock-unheeded",
        "a leader stamps by a clock that is ahead of all others",
        &["ahead of the clocks of a majority"],
    ),
    Mutant::new(
        "closed-before-released",
        "the client that closes is told so before what it had is given back",
        &["ended in good order, and"],
    ),
    Mutant::new(
        "closed-without-a-fence",
        "a session ends while grants are on their way to it, and its client comes back under its name",
        &["ended in good order, and"],
    ),
    Mutant::new(
        "credit-leaks",
        "the room that a lease command reserved is not given back",
        &["liveness: task"],
    ),
    Mutant::new(
        "cursor-not-lowered",
        "a task put below the cursor of its queue is not seen",
        &[
            "is below the cursor of its queue",
            "holds fewer rows than it counts",
        ],
    ),
    Mutant::new(
        "cut-above-flushed",
        "the log is cut above what the state has flushed",
        &[],
    )
    .asserting(&["is out of range"]),
    Mutant::new(
        "cut-unread",
        "reads do not see what is being flushed",
        &["promise", "a due queue holds"],
    ),
    Mutant::new(
        "dead-letters-kept-too-few",
        "of the dead letters that a namespace keeps two thirds are forgotten",
        &["dead letters that are kept at most"],
    ),
    Mutant::new(
        "deletion-lost",
        "a row that was deleted before a flush is still in the database after it",
        &["promise"],
    ),
    Mutant::new(
        "deliver-early",
        "tasks are delivered a second before they are due",
        &["before it was due"],
    ),
    Mutant::new(
        "dies-one-attempt-early",
        "a task is a dead letter one failure before it may be",
        &["died without a cause"],
    ),
    Mutant::new(
        "disk-loses-synced",
        "shell: a power loss takes entries that were synced",
        &[
            "leader completeness",
            "log matching",
            "promise 1",
            "log was lost",
        ],
    ),
    Mutant::new(
        "due-kept-from-consumers",
        "the sessions are not told of new tasks although somebody waits for them",
        &["liveness: task"],
    ),
    Mutant::new(
        "due-not-told",
        "the dispatcher does not hear of tasks that fall due",
        &["liveness: task"],
    ),
    Mutant::new(
        "due-row-stays",
        "a task that is leased again stays in the due index",
        &["promise 6"],
    ),
    Mutant::new(
        "end-not-counted",
        "a session does not hear that its leases ended",
        &["count", "liveness: task"],
    ),
    Mutant::new(
        "failed-lease-forgotten",
        "what a lost lease command would have taken is not asked for again",
        &["liveness: task"],
    ),
    Mutant::new(
        "failed-report-forgotten",
        "a report that did not reach the leader is not repeated",
        &["have said that they are there"],
    ),
    Mutant::new(
        "flush-is-no-cut",
        "a flush says that it holds what was applied while it was written",
        &["promise"],
    ),
    Mutant::new(
        "flush-not-durable",
        "a flush says it is done and is not",
        &[],
    )
    .asserting(&["is out of range"]),
    Mutant::new(
        "found-not-resumed",
        "what a consumer has from before is handed out without asking the log, which may be about to give it back",
        &["was given back while consumer"],
    ),
    Mutant::new(
        "founded-too-near",
        "a cluster that is founded on an earlier state begins at the next entry",
        &["a token may be given twice"],
    ),
    Mutant::new(
        "given-back-by-anybody",
        "a lease is given back in the name of a session that has it no more",
        &["another consumer holds it", "was given back while consumer"],
    ),
    Mutant::new(
        "gone-told-once",
        "a leader that could not be told that a consumer left is not told again",
        &["have said that they are there"],
    ),
    Mutant::new(
        "half-close-taken-for-a-close",
        "who sends no more is done, and not perhaps gone",
        &["was given back while consumer"],
    ),
    Mutant::new(
        "half-closed-looks",
        "a half-closed session looks at what waits again and again",
        &["never rests"],
    ),
    Mutant::new(
        "held-lease-delivered",
        "a task that was leased ahead goes to its consumer at once",
        &["before it was due by the clock of any leader"],
    ),
    Mutant::new(
        "held-without-a-commit",
        "shell: members are taken back as soon as all were told to hold the level, while a raise \
         may be on its way",
        &["and all members held it"],
    ),
    Mutant::new(
        "jump-not-rebuilt",
        "the sessions of a peer do not look for what they missed when a snapshot jumps over it",
        &["count", "liveness: task"],
    ),
    Mutant::new(
        "known-after-flush",
        "what a scan found in the database is still believed after a flush",
        &["promise", "a due queue holds"],
    ),
    Mutant::new(
        "late-ack-told-done",
        "shell: a consumer is told that its ack was done, and its lease was over",
        &["no order explains"],
    ),
    Mutant::new(
        "late-grant-kept",
        "a grant to a session that is gone is not given back",
        &["was left to"],
    ),
    Mutant::new(
        "later-due-forgotten",
        "a lease in the entry of new tasks hides those that are due later",
        &["liveness: task"],
    ),
    Mutant::new(
        "lease-lasts-from-the-grant",
        "the time of a lease that was granted ahead runs before the task is due",
        &["does not last"],
    ),
    Mutant::new(
        "lease-row-stays",
        "the row of an ended lease stays",
        &["has a lease but is not leased", "promise 6"],
    ),
    Mutant::new(
        "leases-forgotten-at-start",
        "a peer that starts does not know the deadlines of live leases",
        &["promise 7"],
    ),
    Mutant::new(
        "leases-not-in-snapshot",
        "a snapshot lacks the leases",
        &["promise 7"],
    ),
    Mutant::new(
        "level-hold-unheard",
        "a leader raises the level that members hold",
        &["and all members held it"],
    ),
    Mutant::new(
        "level-of-the-silent",
        "a leader raises the level without having heard of all members",
        &["and the binary of member"],
    ),
    Mutant::new(
        "level-written-too-early",
        "a leader writes the forms of the second level in a cluster of the first",
        &["stops: the cluster has level"],
    ),
    Mutant::new(
        "live-lease-refused",
        "a lease that ends within a second is refused to its holder as expired",
        &["promise 3: LiveLeaseRefused"],
    ),
    Mutant::new(
        "local-clock-in-apply",
        "shell: each peer expires leases by a clock of its own",
        &["promise 7"],
    ),
    Mutant::new(
        "lost-reports-kept",
        "a peer whose connection to the leader broke takes its consumers for known there",
        &["have said that they are there"],
    ),
    Mutant::new(
        "members-not-stored",
        "a change of members is not stored with the state",
        &[
            "liveness: members are changing",
            "promise 7",
            "does not know that it was removed",
        ],
    ),
    Mutant::new(
        "newcomer-of-any-level",
        "a newcomer is taken in whatever levels it knows",
        &["and the binary of member"],
    ),
    Mutant::new(
        "one-replica-skips",
        "shell: one peer leaves out some acks",
        &["promise 7"],
    ),
    Mutant::new(
        "opening-of-any-level",
        "a peer that is too old for its cluster is let in, and gets snapshots that it cannot read",
        &["which it does not know"],
    ),
    Mutant::new(
        "overdue-lease-released",
        "a restore gives leases back that have run out, which no command can",
        &["a lease in it belongs to no task that is leased"],
    ),
    Mutant::new(
        "own-address-unconfirmed",
        "a leader puts its own address into the log before anybody has found it there",
        &["has never been at"],
    ),
    Mutant::new(
        "own-clock-for-the-leaders",
        "a peer that follows delivers held tasks by its own clock",
        &["before it was due by the clock of any leader"],
    ),
    Mutant::new(
        "position-not-with-rows",
        "rows are stored without the index they lead to",
        &[
            "holds fewer rows than it counts",
            "holds more rows than it counts",
            "promise 7",
        ],
    ),
    Mutant::new(
        "principals-not-in-snapshot",
        "a snapshot lacks the principals",
        &["promise 7", "access: peer"],
    ),
    Mutant::new(
        "promise-before-sync",
        "votes and acknowledgements leave before the write they rest on is done",
        &["leaves before", "is acknowledged before it is synced"],
    ),
    Mutant::new(
        "pulse-not-repeated",
        "a pulse that was lost with its leader is not proposed again",
        &["liveness: task"],
    ),
    Mutant::new(
        "raft-id-reused",
        "shell: a peer that lost its disk comes back under its old raft id",
        &[
            "leader completeness",
            "both lead in term",
            "log matching",
            "applies another entry",
        ],
    ),
    Mutant::new(
        "read-context-reused",
        "a read that is tried again has the context of an earlier one",
        &["promise 5: peer"],
    ),
    Mutant::new(
        "read-of-another-time",
        "shell: a read that was confirmed is answered from the state of a peer that lags",
        &["no order explains"],
    ),
    Mutant::new(
        "read-without-quorum",
        "a read is answered from what happens to be applied",
        &["promise 5: peer"],
    ),
    Mutant::new(
        "release-as-permanent-nack",
        "a lease that is given back makes its task a dead letter",
        &["died without a cause"],
    ),
    Mutant::new(
        "released-before-its-time",
        "a task that was leased ahead and given back is due at once",
        &["before it was first due"],
    ),
    Mutant::new(
        "removed-goes-on",
        "a removed peer does not stop",
        &["does not know that it was removed"],
    ),
    Mutant::new(
        "repeated-ack-taken-for-done",
        "a repeated ack that finds no lease is told as done",
        &["no order explains"],
    ),
    Mutant::new(
        "reply-by-order",
        "callers are answered in order, not by index and term",
        &[
            "acknowledged and is not committed",
            "was answered by",
            "tasks were asked for and",
        ],
    ),
    Mutant::new(
        "report-answered-before-its-turn",
        "shell: a leader says that it goes by a report while leases that it offered before may still go into the log",
        &["goes by the report of"],
    ),
    Mutant::new(
        "request-forgotten",
        "a repeated request makes new tasks",
        &["promise 4: request"],
    ),
    Mutant::new(
        "requests-not-in-snapshot",
        "a snapshot lacks the request ids",
        &["promise 7", "promise 4: request"],
    ),
    Mutant::new(
        "resumed-beyond-credit",
        "leases of before do not count against what a consumer takes",
        &["and takes"],
    ),
    Mutant::new(
        "resumed-by-an-earlier-session",
        "a session whose consumer has gone on to another takes back what that has resumed",
        &["was taken from a session by"],
    ),
    Mutant::new(
        "revoked-token-stays",
        "a token is told to be revoked, and is there still",
        &["was revoked at"],
    ),
    Mutant::new(
        "skip-sync",
        "the log is written and not synced",
        &["leaves before", "before it is synced", "promise 1: entry"],
    ),
    Mutant::new(
        "stamp-by-clock",
        "entries are stamped with the clock alone, which may go back",
        &["is stamped"],
    ),
    Mutant::new(
        "survivor-by-term-alone",
        "shell: a plan for what is left names a log of the last term, whatever its length",
        &["is claimed to be kept"],
    )
    .at_a_loss(),
    Mutant::new(
        "token-unchecked",
        "an old token ends the lease of another",
        &["promise 3: OldTokenTaken"],
    ),
    Mutant::new(
        "unknown-told-as-certain",
        "shell: a client takes silence for the word that surely nothing was done",
        &[
            "asked again only for what was surely not done",
            "no order explains",
        ],
    ),
    Mutant::new(
        "unwritten-acked",
        "what a stream had not written when it ended is acknowledged",
        &["handed to nobody"],
    ),
    Mutant::new(
        "vote-not-written",
        "the vote is missing from the hard state that is written",
        &["a vote of term", "both lead in term"],
    ),
];

/// Plants the mutant of a run in the crates that have it.
pub(crate) fn plant(options: &Options) {
    #[cfg(feature = "planted")]
    {
        z4_core::planted::plant(options.planted);
        z4_consensus::planted::plant(options.planted);
    }
    // Without the feature only those of the shell can be planted.
    #[cfg(not(feature = "planted"))]
    let _ = options;
}
